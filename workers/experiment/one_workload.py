"""A problem of which only one training workload is seen, and what was evaluated on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.problems import Problem, Score


class OneWorkload:
    """`problem` with a single training workload and the held-out one that belongs to it, as a
    `Problem`. `tried` has what was evaluated on the first: the values and the gap they closed."""

    def __init__(self, problem: Problem, place: int) -> None:
        self._problem = problem
        self.training_workloads = (problem.training_workloads[place],)
        self.held_out_workloads = (problem.held_out_workloads[place],)
        self.tried: list[tuple[dict[str, float], float]] = []

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        score = self._problem.evaluate(values, workload)
        if workload in self.training_workloads:
            self.tried.append((dict(values), score.gap_closed))
        return score

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)
