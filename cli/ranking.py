"""The best that validators found of each problem, and whom their makers built on."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from cli.options import OpenFleet
from coordinator.keys import RecordKey
from coordinator.lineage_reads import read_lineage
from coordinator.reads import Item, read_record
from coordinator.validation.state import read_best
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem

EVERY_PROBLEM: Sequence[Problem | JointProblem] = (*PROBLEMS, *JOINT_PROBLEMS)
"""Those of one specialization first."""
LINEAGE_DEPTH, LINEAGE_RECORDS = 8, 128


def specializations_of(problem: Problem | JointProblem) -> tuple[str, ...]:
    """Whose problem it is: of one, or of two."""
    return tuple(problem.interfaces)


def problems_of(specialization: str) -> list[str]:
    """The names of the problems that it has a part in, its own first; a usage error if it has
    none."""
    named = {problem.name: specializations_of(problem) for problem in EVERY_PROBLEM}
    found = [name for name, words in named.items() if specialization in words]
    if not found:
        known = ", ".join(dict.fromkeys(word for words in named.values() for word in words))
        raise typer.BadParameter(f"nothing is measured for {specialization!r}: there are {known}")
    return found


def read_ranking(fleet: OpenFleet, problem: str, limit: int) -> list[Item]:
    """The ``limit`` best components and features that passed, the best first, each with its kind.

    Otherwise they are as ``coordinator.reads`` gives them.
    """
    read = (fleet.connection, fleet.keys)
    found = [
        {"kind": key.kind, **item}
        for key in read_best(*read, problem, limit)
        for item in read_record(*read, *key).items
        if item["quality_score"] is not None
    ]
    return sorted(found, key=lambda item: float(item["quality_score"]), reverse=True)[:limit]


def read_bests(fleet: OpenFleet) -> dict[str, Item]:
    """By problem, the best that passed, of those that have any."""
    ranked = {problem.name: read_ranking(fleet, problem.name, limit=1) for problem in EVERY_PROBLEM}
    return {name: best for name, found in ranked.items() for best in found}


def read_built_on(fleet: OpenFleet, item: Item) -> list[str]:
    """From whose records it was begun: the makers of the nearest ones that are not its own."""
    root = RecordKey(item["kind"], item["id"])
    found = read_lineage(fleet.connection, fleet.keys, root.id, LINEAGE_DEPTH, LINEAGE_RECORDS)
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
