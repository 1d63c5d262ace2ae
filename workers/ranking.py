"""The problems as people see them: the best that validators found of each, and whom its makers
built on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

import redis

from coordinator.keys import Keys, RecordKey
from coordinator.lineage_reads import read_lineage
from coordinator.reads import Item, read_record
from coordinator.validation.state import read_best
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem

EVERY_PROBLEM: Sequence[Problem | JointProblem] = (*PROBLEMS, *JOINT_PROBLEMS)
"""Those of one specialization first."""
PROBLEM_BY_NAME = {problem.name: problem for problem in EVERY_PROBLEM}
_PLACES = {name: place for place, name in enumerate(PROBLEM_BY_NAME)}
LINEAGE_DEPTH, LINEAGE_RECORDS = 8, 128
WALKED_MAX = 200
"""So many records are gone through on the way to those of others."""
TOLD_OF_THE_BEST = ("kind", "id", "contributor", "quality_score", "validation")

Record = TypeVar("Record")


def specializations_of(problem: Problem | JointProblem) -> tuple[str, ...]:
    """Whose problem it is: of one, or of two."""
    return tuple(problem.interfaces)


def problems_in_order(names: Iterable[str]) -> list[str]:
    """Those that come with coord first, in their order; then people's own, by name."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))


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
    makers = {key: {node["contributor"]} - {None} for key, node in found.nodes.items()}

    def parents_of(child: RecordKey) -> set[RecordKey]:
        return {edge.parent for edge in found.ancestry if edge.child == child}

    nearest = nearest_of_others(root, {item["contributor"]}, parents_of, makers.__getitem__)
    return sorted(set().union(*(makers[key] for key in nearest)))


def nearest_of_others(
    root: Record,
    own: Collection[str],
    parents_of: Callable[[Record], Iterable[Record]],
    makers_of: Callable[[Record], Collection[str]],
) -> list[Record]:
    """The nearest records of others that ``root`` was begun from: the ways there lead through those
    that the AIs ``own`` made, and through those whose makers nobody knows."""
    found: list[Record] = []
    waiting, seen = [root], {root}
    while waiting and len(seen) <= WALKED_MAX:
        for parent in parents_of(waiting.pop()):
            if parent in seen:
                continue
            seen.add(parent)
            makers = makers_of(parent)
            is_of_others = bool(makers) and set(own).isdisjoint(makers)
            (found if is_of_others else waiting).append(parent)
    return found
