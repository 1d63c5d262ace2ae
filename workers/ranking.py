"""The problems as people see them: the best that validators found of each, and whom its makers
built on."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from coordinator.keys import Keys, RecordKey
from coordinator.lineage_reads import read_lineage
from coordinator.reads import Item, read_record
from coordinator.validation.state import read_best
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem

EVERY_PROBLEM: Sequence[Problem | JointProblem] = (*PROBLEMS, *JOINT_PROBLEMS)
"""Those of one specialization first."""
LINEAGE_DEPTH, LINEAGE_RECORDS = 8, 128
TOLD_OF_THE_BEST = ("kind", "id", "contributor", "quality_score", "validation")


def specializations_of(problem: Problem | JointProblem) -> tuple[str, ...]:
    """Whose problem it is: of one, or of two."""
    return tuple(problem.interfaces)


def problem_item(problem: Problem | JointProblem, best: Item | None) -> Item:
    """A problem, with the ``best`` that passed, None if nothing has."""
    about = problem.about
    return {
        "name": problem.name,
        "specializations": list(specializations_of(problem)),
        "decides": about.decides,
        "workload": about.workload,
        "cost_unit": problem.cost_unit,
        "baseline": about.baseline,
        "bound": about.bound,
        "best": best and {name: best[name] for name in TOLD_OF_THE_BEST},
    }


def read_ranking(connection: redis.Redis, keys: Keys, problem: str, limit: int) -> list[Item]:
    """The ``limit`` best components and features that passed, the best first, each with its kind.

    Otherwise they are as ``coordinator.reads`` gives them.
    """
    found = [
        {"kind": key.kind, **item}
        for key in read_best(connection, keys, problem, limit)
        for item in read_record(connection, keys, *key).items
        if item["quality_score"] is not None
    ]
    return sorted(found, key=lambda item: float(item["quality_score"]), reverse=True)[:limit]


def read_bests(connection: redis.Redis, keys: Keys) -> dict[str, Item]:
    """By problem, the best that passed, of those that have any."""
    names = [problem.name for problem in EVERY_PROBLEM]
    ranked = {name: read_ranking(connection, keys, name, limit=1) for name in names}
    return {name: best for name, found in ranked.items() for best in found}


def read_built_on(connection: redis.Redis, keys: Keys, item: Item) -> list[str]:
    """From whose records it was begun: the makers of the nearest ones that are not its own."""
    root = RecordKey(item["kind"], item["id"])
    found = read_lineage(connection, keys, root.id, LINEAGE_DEPTH, LINEAGE_RECORDS)
    own, makers = item["contributor"], set()
    waiting, seen = [root], {root}
    while waiting:
        child = waiting.pop()
        parents = {edge.parent for edge in found.ancestry if edge.child == child} - seen
        seen |= parents
        for parent in parents:
            maker = found.nodes[parent]["contributor"]
            if maker == own:
                waiting.append(parent)
            elif maker:
                makers.add(maker)
    return sorted(makers)
