"""Who joined and left lately."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coordinator.history import Line
from coordinator.messages import one_line
from reports import formats
from web.live.told import NAME_MAX

CHANGES_KEPT = 100


class Change(NamedTuple):
    """``text`` says why one left, or of what specialization one joined; ``n`` is the number of the
    event."""

    n: int
    ms: int
    ai: str
    has_joined: bool
    text: str

    @staticmethod
    def of(line: Line) -> Change:
        has_joined = line.data["event"] == "joined"
        told = line.data["data"]
        text = told.get("specialization" if has_joined else "reason") if told else ""
        ai = one_line(str(line.data["ai"]), NAME_MAX)
        return Change(line.n, line.ms, ai, has_joined, formats.text(text or ""))


class Churn:
    """A listener of a Feed, which keeps the last CHANGES_KEPT changes."""

    def __init__(self) -> None:
        self._newest: tuple[Change, ...] = ()

    @property
    def newest(self) -> Sequence[Change]:
        """The newest first."""
        return self._newest

    def take(self, lines: Sequence[Line]) -> None:
        found = [Change.of(line) for line in lines if _is_change(line)]
        self._newest = (*reversed(found), *self._newest)[:CHANGES_KEPT]


def _is_change(line: Line) -> bool:
    return line.kind == "event" and line.data["event"] in ("joined", "left")
