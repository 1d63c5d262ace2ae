"""How long does one evaluation take?

    python -m bench.evaluations --rounds 15

Of every problem, and of each of its workloads, with the default values, in one process. What counts
is CPU time, and all are measured in turns, so that whatever else the machine does falls on all
alike. Prints Markdown, a row for each problem: the median over its workloads of each one's median,
the workload that takes longest, and how long it took until the slowest was loaded, with its
baseline and bound.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from itertools import chain
from statistics import median
from typing import NamedTuple

from bench.machine import describe_machine
from bench.search import row
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem
from workers.problems.problem import defaults

SINGLE_LIMIT_MS, JOINT_LIMIT_MS = 20, 40


class Subject(NamedTuple):
    """A workload of a problem."""

    problem: Problem | JointProblem
    workload: str

    def evaluate(self) -> object:
        return self.problem.evaluate(defaults(self.problem.parameters), self.workload)

    def load(self) -> object:
        return self.problem.recorded(self.workload)


def took_ms(what: Callable[[], object]) -> float:
    began_s = time.process_time()
    what()
    return (time.process_time() - began_s) * 1_000


def subjects() -> list[Subject]:
    problems: tuple[Problem | JointProblem, ...] = (*PROBLEMS, *JOINT_PROBLEMS)
    return [
        Subject(problem, workload)
        for problem in problems
        for workload in chain(
            problem.training_workloads, problem.development_workloads, problem.held_out_workloads
        )
    ]


def print_problem(
    problem: Problem | JointProblem,
    evaluation_ms: dict[Subject, float],
    load_ms: dict[Subject, float],
) -> None:
    """A row: medians of evaluations, and the longest of what was loaded."""
    of_problem = [one for one in evaluation_ms if one.problem is problem]
    slowest = max(of_problem, key=evaluation_ms.__getitem__)
    limit_ms = SINGLE_LIMIT_MS if isinstance(problem, Problem) else JOINT_LIMIT_MS
    cells = (
        problem.name,
        len(of_problem),
        f"{median(evaluation_ms[one] for one in of_problem):.1f}",
        f"{evaluation_ms[slowest]:.1f} ({slowest.workload})",
        limit_ms,
        f"{max(load_ms[one] for one in of_problem) / 1_000:.2f}",
    )
    print(row(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"Machine: {describe_machine()}. Medians of {rounds} rounds.\n")
    every = subjects()
    load_ms = {one: took_ms(one.load) for one in every}
    gc.freeze()  # what was loaded is no part of what an evaluation leaves behind
    all_ms: dict[Subject, list[float]] = {one: [] for one in every}
    for _ in range(rounds):
        for one in every:
            all_ms[one].append(took_ms(one.evaluate))
    evaluation_ms = {one: median(times) for one, times in all_ms.items()}
    heads = (
        "problem",
        "workloads",
        "ms an evaluation",
        "the slowest",
        "limit",
        "s to load, at most",
    )
    print(row(heads))
    print(row("---" for _ in heads))
    for problem in dict.fromkeys(one.problem for one in every):
        print_problem(problem, evaluation_ms, load_ms)


if __name__ == "__main__":
    main()
