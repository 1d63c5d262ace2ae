"""What the demo achieved, measured, for people."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.output import counted, percent, plain, table
from cli.verdicts import COLUMNS, counts_row, sandbox_rows, validated_rows
from coordinator.reads import Item
from reports.sessions import kind_of, outcome_of, workers_of

TOGETHER_SHOWN = 6
LONGEST_OUTCOME = 260
WHAT_IS_SHOWN = (
    "validated is the share of the gap between baseline and bound that was closed on a"
    " workload that only the validator has; built on says from whose records it was begun"
)


def print_summary(shown: Console, summary: dict[str, Any]) -> None:
    """The measured results, for people."""
    types = ", ".join(f"{name} {count}" for name, count in summary["messages_by_type"].items())
    patterns = counted(summary["patterns_shared"], "pattern")
    components = counted(summary["components_shared"], "component")
    rows = [
        ("shared", f"{patterns}, {components}"),
        ("messages routed", f"{summary['messages_routed']} ({types})"),
        *((ai, _trainer_text(summary["trainers"].get(ai))) for ai in summary["trainer_ids"]),
        *together_rows(summary["sessions"]),
        counts_row(summary["verdicts"]),
        *sandbox_rows(summary["validated"]),
        held_out_row(summary["best"]),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, text in rows:
        grid.add_row(Text("  " + plain(name)), Text(plain(text)))
    shown.print(Text("\nWhat the fleet achieved, measured", style="bold"))
    shown.print(grid)
    shown.print(Text())
    best = validated_rows(summary["validated"], summary["specializations"])
    shown.print(table("", COLUMNS, best))
    shown.print(Text(WHAT_IS_SHOWN))


def together_rows(sessions: list[Item]) -> list[tuple[str, str]]:
    """Who worked with whom on what, and what those who did it say came out; first what two
    specializations did, for that says what each gave up and gained."""
    states = Counter(item["state"] for item in sessions)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    rows = [("worked together", f"{told} when time was up" if told else "nobody")]
    completed = [item for item in sessions if item["state"] == "completed"]
    completed.sort(key=lambda item: item["type"] != "cross_specialization")
    if completed:
        rows.append(("", "what came out, as those who did it measured it:"))
    for item in completed[:TOGETHER_SHOWN]:
        text = f"{workers_of(item)} on {kind_of(item)}: {outcome_of(item)}"
        rows.append(("", plain(text, LONGEST_OUTCOME)))
    if len(completed) > TOGETHER_SHOWN:
        rows.append(("", f"and {len(completed) - TOGETHER_SHOWN} more: --json has them all"))
    return rows


def held_out_row(best: dict[str, Item]) -> tuple[str, str]:
    """How good the best pattern of each problem is where nobody trained; the gaps of two problems
    cannot be compared."""
    told = [f"{found['problem']} {percent(_held_out(found))}" for found in best.values()]
    if not told:
        return "best patterns", "none was shared in this time: give it more --seconds"
    where = "of the gap closed on average on what nobody trained on, evaluated here again"
    return "best patterns", f"{', '.join(told)} {where}"


def _held_out(best: Item) -> float:
    return fmean(score["gap_closed"] for score in best["held_out"].values())


def _trainer_text(found: dict[str, Any] | None) -> str:
    if found is None:
        return "shared no pattern"
    text = f"{counted(found['patterns'], 'pattern')}, "
    built_on = found["built_on"]
    if not built_on:
        return f"{text}none of them begun from another's"
    first = built_on[0]
    text += f"{len(built_on)} of them begun from others' patterns, the first from"
    text += f" {first.get('id')} of {first.get('contributor')}"
    measured = first.get("measured_gap_closed")
    if isinstance(measured, int | float):
        text += f" (measured again: {percent(measured)} of the gap)"
    return text
