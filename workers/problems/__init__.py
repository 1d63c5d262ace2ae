"""The problems trainers train on, by specialization."""

from __future__ import annotations

from collections.abc import Callable

from workers.problems.file_system import BufferCache
from workers.problems.problem import Parameter, Problem, ProblemError, ScenarioScore, Score

__all__ = ["Parameter", "Problem", "ProblemError", "ScenarioScore", "Score", "find_problem"]

_PROBLEMS: dict[str, Callable[[], Problem]] = {"file_system": BufferCache}


def find_problem(specialization: str) -> Problem | None:
    """The problem of a specialization, or None if there is nothing to train for it yet."""
    constructor = _PROBLEMS.get(specialization)
    return constructor() if constructor else None
