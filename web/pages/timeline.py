"""Who ran what when: the attempts at a session's units as bars on an axis of time.

Places and widths are in percent of the axis, so that a picture of any width can be made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from coordinator.reads import Item
from reports.charts import Scale, Tick, time_ticks
from reports.formats import duration, name, text
from web.pages.attempts import Attempt

BARS_MAX = 24
"""Of so many attempts at a unit the last are drawn; those lost with their AIs know no end."""
THINNEST = 0.4
LABEL_WIDTH = 14
MARKS = {
    "completed": "\u2713",
    "failed": "\u2715",
    "lost": "?",
    "cancelled": "\u2013",
    "running": "\u25b8",
    "queued": "\u2026",
}
"""What an attempt came to, or how it stands; what tells them apart besides colour."""


class Bar(NamedTuple):
    """An attempt; ``outcome`` is one of MARKS, ``about`` a sentence. The label of a narrow one
    stands behind it if there is room."""

    x: float
    width: float
    outcome: str
    label: str
    label_at: float | None
    about: str


class Row(NamedTuple):
    """A unit; ``waits_for`` are the names of the units whose outputs it waits for."""

    unit: Item
    bars: list[Bar]
    waits_for: list[str]


class Timeline(NamedTuple):
    begin_ms: int
    end_ms: int
    ticks: Sequence[Tick]
    rows: list[Row]


def timeline(units: Sequence[Item], by_id: Mapping[str, Item]) -> Timeline | None:
    """That of these ``units``; None if nobody was given any. ``by_id`` are all of the session."""
    drawn: list[Attempt] = [attempt for unit in units for attempt in unit["attempts"][-BARS_MAX:]]
    if not drawn:
        return None
    begin_ms = min(attempt.began_ms for attempt in drawn)
    end_ms = max(begin_ms + 1, *(attempt.end_ms for attempt in drawn))
    axis = Scale(0, end_ms - begin_ms, 0, 100)
    rows = [Row(unit, _bars_of(unit, begin_ms, axis), _waits_for(unit, by_id)) for unit in units]
    return Timeline(begin_ms, end_ms, time_ticks(axis), rows)


def _bars_of(unit: Item, begin_ms: int, axis: Scale) -> list[Bar]:
    bars = [_bar(attempt, begin_ms, axis) for attempt in unit["attempts"][-BARS_MAX:]]
    if bars:
        end = bars[-1].x + bars[-1].width
        is_beside = bars[-1].width < LABEL_WIDTH <= 100 - end
        bars[-1] = bars[-1]._replace(label_at=round(end, 1) if is_beside else None)
    return bars


def _bar(attempt: Attempt, begin_ms: int, axis: Scale) -> Bar:
    x = min(axis.at(attempt.began_ms - begin_ms), 100 - THINNEST)
    width = max(THINNEST, round(axis.at(attempt.end_ms - begin_ms) - x, 1))
    who, outcome = name(attempt.ai), name(attempt.outcome)
    about = f"attempt {attempt.n} by {who}: {outcome}, {duration(attempt.took_ms)}"
    if attempt.reason:
        about += f": {text(attempt.reason)}"
    return Bar(x, width, outcome, f"{MARKS.get(outcome, '')} {who}", None, about)


def _waits_for(unit: Item, by_id: Mapping[str, Item]) -> list[str]:
    if unit["state"] != "waiting":
        return []
    needs = [by_id.get(need, {"name": need, "state": "waiting"}) for need in unit["needs"]]
    return [str(need["name"]) for need in needs if need["state"] != "completed"]
