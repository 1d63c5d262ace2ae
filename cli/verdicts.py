"""What validators found of a fleet's components, summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cli.options import OpenFleet
from cli.output import cell, percent
from coordinator.reads import Item
from coordinator.stored import dig
from coordinator.validation.models import shown_word
from workers.problems import JointProblem, Problem
from workers.ranking import EVERY_PROBLEM, read_bests, read_built_on, specializations_of

VERDICT_FIELDS = ("costs", "evaluator", "workload", "validator", "sandbox")
WHOLE_FROM = 1000
"""Larger costs are shown without decimals."""
COLUMNS = (
    *("specialization", "problem", "cost in", "baseline", "bound", "validated", "by"),
    "built on",
)


def count_verdicts(items: Iterable[Item]) -> dict[str, int]:
    """How many components and features, as ``coordinator.reads`` gives them, stand at which
    verdict, the most frequent first."""
    judged = (item["validation"]["verdict"] for item in items if item["validation"])
    return dict(Counter(judged).most_common())


def read_validated(fleet: OpenFleet) -> dict[str, Item]:
    """By problem, the best that passed, with what was found of it and whom it was built on."""
    bests = read_bests(fleet.connection, fleet.keys)
    named = {problem.name: problem for problem in EVERY_PROBLEM}
    return {name: _told(fleet, named[name], best) for name, best in bests.items()}


def _told(fleet: OpenFleet, problem: Problem | JointProblem, best: Item) -> dict[str, Any]:
    return {
        "specializations": list(specializations_of(problem)),
        "component_id": best["id"],
        "contributor": best["contributor"],
        "quality_score": best["quality_score"],
        "built_on": read_built_on(fleet.connection, fleet.keys, best),
        **{name: best["validation"].get(name) for name in VERDICT_FIELDS},
    }


def counts_row(verdicts: dict[str, int]) -> tuple[str, str]:
    told = (f"{count} {shown_word(name)}" for name, count in verdicts.items())
    return "components", ", ".join(told) or "none was shared"


def sandbox_rows(validated: dict[str, Item]) -> list[tuple[str, str]]:
    """In what the best components were run, each sandbox once."""
    told = dict.fromkeys(str(best["sandbox"]) for best in validated.values() if best["sandbox"])
    return [("sandbox" if n == 0 else "", text) for n, text in enumerate(told)]


def validated_rows(validated: dict[str, Item], trained: Iterable[str]) -> list[tuple[str, ...]]:
    """A row below COLUMNS for each problem of the specializations that ``trained``, and for each
    joint one of which something passed."""
    alone = {(specialization,) for specialization in trained}
    return [
        _row(problem, validated.get(problem.name))
        for problem in EVERY_PROBLEM
        if problem.name in validated or specializations_of(problem) in alone
    ]


def _row(problem: Problem | JointProblem, best: Item | None) -> tuple[str, ...]:
    head = (", ".join(specializations_of(problem)), problem.name, problem.cost_unit)
    if best is None:
        return (*head, "", "", "none yet")
    costs = (_cost(dig(best, "costs", name)) for name in ("baseline", "bound"))
    quality = percent(best["quality_score"])
    return (*head, *costs, quality, best["contributor"], ", ".join(best["built_on"]))


def _cost(cost: object) -> str:
    is_large = isinstance(cost, float) and cost >= WHOLE_FROM
    return f"{cost:,.0f}" if is_large else cell(cost)
