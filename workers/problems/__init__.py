"""The problems trainers train on, by specialization, alone or two together."""

from __future__ import annotations

from collections.abc import Callable

from workers.problems.evaluator import evaluator_version
from workers.problems.file_system import BufferCache
from workers.problems.joint import CacheAndScheduler
from workers.problems.policies import Interface, Maker, ProblemError, Remote
from workers.problems.problem import (
    Evaluator,
    JointProblem,
    Measured,
    Parameter,
    Problem,
    Scenarios,
    ScenarioScore,
    Score,
)
from workers.problems.process_manager import CpuScheduler

__all__ = [
    "Evaluator",
    "Interface",
    "JointProblem",
    "Maker",
    "Measured",
    "Parameter",
    "Problem",
    "ProblemError",
    "Remote",
    "ScenarioScore",
    "Scenarios",
    "Score",
    "evaluator_version",
    "find_joint_problem",
    "find_problem",
]

_PROBLEMS: dict[str, Callable[[], Problem]] = {
    "file_system": BufferCache,
    "process_manager": CpuScheduler,
}
_JOINT_PROBLEMS: dict[frozenset[str], Callable[[], JointProblem]] = {
    frozenset(CacheAndScheduler.specializations): CacheAndScheduler,
}


def find_problem(specialization: str) -> Problem | None:
    """The problem of a specialization, or None if there is nothing to train for it yet."""
    constructor = _PROBLEMS.get(specialization)
    return constructor() if constructor else None


def find_joint_problem(one: str, other: str) -> JointProblem | None:
    """The problem of two specializations in either order, or None if they have none together."""
    constructor = _JOINT_PROBLEMS.get(frozenset((one, other)))
    return constructor() if constructor else None
