"""A line of a history as it is kept for who looks: little, whatever the message carried."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.history import Cursor, Line
from coordinator.jobs import session_id_of
from coordinator.messages import one_line
from coordinator.reads import Item
from coordinator.telling import summary_of
from web.live.areas import Area, areas_of

NAME_MAX = 128


class Filter(NamedTuple):
    """Which lines are looked for; None for any. ``ai`` sent it or gets it, ``type`` is that of a
    message or a kind of event, ``kind`` is message or event."""

    ai: str | None = None
    type: str | None = None
    kind: str | None = None

    def passes(self, line: Told) -> bool:
        """Gaps and epochs always pass."""
        if line.kind in ("gap", "epoch"):
            return True
        return (
            (self.ai is None or self.ai in (line.ai, line.to))
            and (self.type is None or self.type == line.type)
            and (self.kind is None or self.kind == line.kind)
        )


class Told(NamedTuple):
    """``seq`` counts what this process was told, ``cursor`` is how far the history is read with it.

    ``epoch``, ``source`` and ``n`` say where it lies. An event that tells of a message to one AI
    is of kind message, too. ``ai`` sent it, or it happened to it, "" for nobody; ``to`` is "" for
    all. ``type`` is that of the message, or the kind of event; ``session_id`` is that of the
    session it happened in, "" for none.
    """

    seq: int
    cursor: Cursor
    kind: str
    epoch: str
    source: str
    n: int
    ms: int
    ai: str
    to: str
    type: str
    text: str
    session_id: str
    areas: frozenset[Area]

    @staticmethod
    def of(line: Line, seq: int, cursor: Cursor) -> Told:
        envelope = line.envelope
        ai, to, kind = (one_line(name, NAME_MAX) for name in _who(line, envelope))
        return Told(
            seq,
            cursor,
            line.kind if envelope is None else "message",
            one_line(line.epoch, NAME_MAX),
            line.source,
            line.n,
            line.ms,
            ai,
            to,
            kind,
            summary_of(line),
            _session_of(line),
            areas_of(line),
        )

    def as_json(self) -> Item:
        return {
            "kind": self.kind,
            "epoch": self.epoch,
            "source": self.source,
            "n": self.n,
            "ms": self.ms,
            "ai": self.ai,
            "to": self.to,
            "type": self.type,
            "text": self.text,
        }


def _who(line: Line, envelope: Item | None) -> tuple[str, str, str]:
    """Whose line it is, whom it is for, and what it is called."""
    if envelope is not None:
        to = line.data["ai"] if line.kind == "event" else envelope["target_ai"] or ""
        return str(envelope["sender_id"]), str(to), str(envelope["message_type"])
    if line.kind == "event":
        return str(line.data["ai"]), "", str(line.data["event"])
    return "", "", line.kind


def _session_of(line: Line) -> str:
    told = line.data.get("data") if line.kind == "event" else None
    if not isinstance(told, dict):
        return ""
    session_id = told.get("session_id") or session_id_of(str(told.get("unit_id", "")))
    return one_line(str(session_id), NAME_MAX)
