"""A line of a history as it is kept for who looks: little, whatever the message carried."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.history import Cursor, Line
from coordinator.messages import one_line
from coordinator.reads import Item
from coordinator.telling import summary_of
from web.live.areas import Area, areas_of

NAME_MAX = 128


class Told(NamedTuple):
    """``seq`` counts what this process was told, ``cursor`` is how far the history is read with it.
    ``ai`` sent it, or it happened to it, "" for nobody; ``to`` is "" for all. ``type`` is that of
    the message, or the kind of event."""

    seq: int
    cursor: Cursor
    kind: str
    source: str
    n: int
    ms: int
    ai: str
    to: str
    type: str
    text: str
    areas: frozenset[Area]

    @staticmethod
    def of(line: Line, seq: int, cursor: Cursor) -> Told:
        ai, to, kind = (one_line(name, NAME_MAX) for name in _who(line))
        place = (line.kind, line.source, line.n, line.ms)
        return Told(seq, cursor, *place, ai, to, kind, summary_of(line), areas_of(line))

    def concerns(self, ai: str | None, kind: str | None) -> bool:
        """Whether it passes these filters; gaps and epochs always do."""
        if self.kind in ("gap", "epoch"):
            return True
        return (ai is None or ai in (self.ai, self.to)) and (kind is None or kind == self.type)

    def as_json(self) -> Item:
        shown = ("kind", "source", "n", "ms", "ai", "to", "type", "text")
        return {name: getattr(self, name) for name in shown}


def _who(line: Line) -> tuple[str, str, str]:
    """Whose line it is, whom it is for, and what it is called."""
    data = line.data
    if line.kind == "message":
        return str(data["sender_id"]), str(data["target_ai"] or ""), str(data["message_type"])
    if line.kind == "event":
        envelope = line.envelope
        if envelope is not None:
            ais = (str(envelope["sender_id"]), str(envelope["target_ai"] or ""))
            return *ais, str(envelope["message_type"])
        return str(data["ai"]), "", str(data["event"])
    return "", "", line.kind
