"""The problems trainers train on, by specialization, alone or two together."""

from __future__ import annotations

from workers.problems.audio.problem import PlayoutDelay
from workers.problems.evaluator import evaluator_version
from workers.problems.file_system.problem import BufferCache
from workers.problems.graphics.problem import TextureWalk
from workers.problems.networking.problem import CongestionControl
from workers.problems.pairs.cache_and_allocator import CacheAndAllocator
from workers.problems.pairs.cache_and_scheduler import CacheAndScheduler
from workers.problems.pairs.congestion_and_playout import CongestionAndPlayout
from workers.problems.pairs.firewall_and_congestion import FirewallAndCongestion
from workers.problems.pairs.tiling_and_damage import TilingAndDamage
from workers.problems.performance.problem import MemoryAllocator
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
from workers.problems.process_manager.problem import CpuScheduler
from workers.problems.security.problem import FirewallOrder
from workers.problems.window_manager.problem import DamageMerging

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
