"""What a fleet's patterns are worth, evaluated here again: nobody's word is taken for it."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Any

from coordinator.reads import Item
from coordinator.stored import dig
from workers.problems import Problem, ProblemError, Score, find_problem


def measure(patterns: list[Item]) -> dict[str, Any]:
    """The best pattern of each contributor and of each specialization, evaluated again.

    ``patterns`` are items as ``coordinator.reads`` gives them. A contributor's own claims choose
    which of its patterns is looked at. The best of a specialization is the best over the training
    workloads: chosen by the held-out scores, those would be no measure of it any more.
    """
    by_contributor: defaultdict[str, list[Item]] = defaultdict(list)
    for item in sorted(patterns, key=lambda item: str(item["timestamp"])):
        by_contributor[item["contributor"]].append(item)
    trainers = {ai: _trainer(ai, items) for ai, items in sorted(by_contributor.items())}
    best: dict[str, Item] = {}
    for ai, trainer in trainers.items():
        found = trainer["best"]
        if found and _trained(found) > _trained(best.get(found["specialization"])):
            best[found["specialization"]] = found | {"contributor": ai}
    for found in best.values():
        found |= _on_all_held_out(next(p for p in patterns if p["id"] == found["pattern_id"]))
    return {"trainers": trainers, "best": dict(sorted(best.items()))}


def _trained(found: Item | None) -> float:
    return float(found["trained_gap_closed"]) if found else float("-inf")


def _trainer(ai: str, items: list[Item]) -> dict[str, Any]:
    origins = [(item["id"], dig(item, "pattern", "derived_from")) for item in items]
    built_on = [
        origin | {"for": name}
        for name, origin in origins
        if isinstance(origin, dict) and origin.get("contributor") != ai
    ]
    best = max(items, key=claimed_gap)
    return {"patterns": len(items), "built_on": built_on, "best": _again(best)}


def claimed_gap(item: Item) -> float:
    gap = dig(item, "pattern", "data", "gap_closed")
    return float(gap) if isinstance(gap, int | float) else float("-inf")


def _again(item: Item) -> dict[str, Any] | None:
    """The pattern evaluated on the workload it names; None if that cannot be done."""
    workload = dig(item, "pattern", "data", "held_out", "workload")
    problem = find_problem(item["specialization"])
    score = _score(problem, item, workload) if problem else None
    if problem is None or score is None:
        return None
    trained = [_score(problem, item, workload) for workload in problem.training_workloads]
    return {
        "pattern_id": item["id"],
        "specialization": item["specialization"],
        "problem": problem.name,
        "cost_unit": problem.cost_unit,
        "workload": workload,
        "claimed_gap_closed": claimed_gap(item),
        "trained_gap_closed": fmean(one.gap_closed for one in trained if one),
        "measured": _numbers(score),
    }


def _on_all_held_out(item: Item) -> dict[str, Any]:
    problem = find_problem(item["specialization"])
    workloads = problem.held_out_workloads if problem else ()
    scores = {workload: _score(problem, item, workload) for workload in workloads if problem}
    return {"held_out": {name: _numbers(score) for name, score in scores.items() if score}}


def _score(problem: Problem, item: Item, workload: object) -> Score | None:
    parameters = dig(item, "pattern", "data", "parameters")
    if not isinstance(parameters, dict) or not isinstance(workload, str):
        return None
    try:
        return problem.evaluate(parameters, workload)
    except ProblemError:
        return None


def _numbers(score: Score) -> dict[str, float]:
    return {
        "gap_closed": score.gap_closed,
        "achieved": score.achieved,
        "baseline": score.baseline,
        "bound": score.bound,
    }
