"""The problems trainers train on, by specialization, alone or two together."""

from __future__ import annotations

from workers.problems.audio import PlayoutDelay
from workers.problems.cache_and_allocator import CacheAndAllocator
from workers.problems.cache_and_scheduler import CacheAndScheduler
from workers.problems.congestion_and_playout import CongestionAndPlayout
from workers.problems.evaluator import evaluator_version
from workers.problems.file_system import BufferCache
from workers.problems.firewall_and_congestion import FirewallAndCongestion
from workers.problems.graphics import TextureWalk
from workers.problems.networking import CongestionControl
from workers.problems.performance import MemoryAllocator
from workers.problems.policies import Interface, Maker, ProblemError, Remote
from workers.problems.problem import (
    About,
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
from workers.problems.security import FirewallOrder
from workers.problems.tiling_and_damage import TilingAndDamage
from workers.problems.window_manager import DamageMerging

__all__ = [
    "JOINT_PROBLEMS",
    "PROBLEMS",
    "About",
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

PROBLEMS: tuple[Problem, ...] = (
    BufferCache(),
    CpuScheduler(),
    MemoryAllocator(),
    PlayoutDelay(),
    CongestionControl(),
    FirewallOrder(),
    TextureWalk(),
    DamageMerging(),
)
"""One for each specialization that something is trained for."""
JOINT_PROBLEMS: tuple[JointProblem, ...] = (
    CacheAndScheduler(),
    CacheAndAllocator(),
    CongestionAndPlayout(),
    FirewallAndCongestion(),
    TilingAndDamage(),
)
"""Those of two specializations together."""

_SINGLE = {one.specialization: one for one in PROBLEMS}
_JOINT = {frozenset(one.specializations): one for one in JOINT_PROBLEMS}


def find_problem(specialization: str) -> Problem | None:
    """The problem of a specialization, or None if there is nothing to train for it yet."""
    return _SINGLE.get(specialization)


def find_joint_problem(one: str, other: str) -> JointProblem | None:
    """The problem of two specializations in either order, or None if they have none together."""
    return _JOINT.get(frozenset((one, other)))
