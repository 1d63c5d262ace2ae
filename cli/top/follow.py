"""Whose lines of the history are shown: an AI's, a session's or a unit's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile

from cli.top.tables import AIS, SESSIONS, Table
from coordinator.history import Line
from coordinator.stored import dig


@dataclass(frozen=True)
class Followed:
    """Something in a table that is followed."""

    table: Table
    id: str

    @property
    def title(self) -> str:
        return f"{self.table.name.removesuffix('s')} {self.id}"

    def history(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Of ``lines`` those that concern it, from the first that is its own: what was lost before
        is nothing that it had a part in."""
        return dropwhile(_concerns_all, filter(self.is_in, lines))

    def is_in(self, line: Line) -> bool:
        """Whether a line concerns it; gaps and epochs concern all."""
        if _concerns_all(line):
            return True
        message = line.envelope
        if self.table is AIS:
            ais = {line.data["ai"]} if line.kind == "event" else set()
            if message is not None:
                ais |= {message["sender_id"], message["target_ai"]}
            return self.id in ais
        named = [dig(line.data, "data"), dig(message, "payload")]
        keys = ("session_id", "request_id") if self.table is SESSIONS else ("unit_id",)
        return any(dig(one, key) == self.id for one in named for key in keys)


def _concerns_all(line: Line) -> bool:
    return line.kind in ("gap", "epoch")
