"""What validators found of a fleet's components, summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cli.output import percent
from coordinator.reads import Item
from coordinator.validation.models import shown_word


def sum_up(items: Iterable[Item]) -> dict[str, Any]:
    """How many components stand at which verdict, and the best that passed, by problem.

    ``items`` are components and features as ``coordinator.reads`` gives them.
    """
    judged = [item for item in items if item["validation"]]
    best: dict[str, Item] = {}
    for item in judged:
        verdict, score = item["validation"], item["quality_score"]
        if score is None:
            continue
        problem = verdict["problem"]
        if problem not in best or score > best[problem]["quality_score"]:
            fields = ("evaluator", "workload", "validator", "sandbox")
            best[problem] = {
                "component_id": item["id"],
                "contributor": item["contributor"],
                "quality_score": score,
                **{name: verdict.get(name) for name in fields},
            }
    counts = Counter(item["validation"]["verdict"] for item in judged)
    return {"verdicts": dict(counts.most_common()), "validated": dict(sorted(best.items()))}


def counts_row(verdicts: dict[str, int]) -> tuple[str, str]:
    told = (f"{count} {shown_word(name)}" for name, count in verdicts.items())
    return "components", ", ".join(told) or "none was shared"


def best_row(problem: str, best: Item | None) -> tuple[str, str]:
    """The best component of a problem that passed, and who says so."""
    if best is None:
        return "", "no component of it has passed a validation yet"
    text = (
        f"{best['component_id']} of {best['contributor']}: the best component that was validated,"
        f" {percent(best['quality_score'])} of the gap closed on a workload that only"
        f" {best['validator']} has"
    )
    return f"validated {problem}", text


def sandbox_rows(validated: dict[str, Item]) -> list[tuple[str, str]]:
    """In what the best components were run, each sandbox once."""
    told = dict.fromkeys(str(best["sandbox"]) for best in validated.values() if best["sandbox"])
    return [("sandbox" if n == 0 else "", text) for n, text in enumerate(told)]
