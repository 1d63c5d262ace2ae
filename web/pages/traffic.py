"""What is said and what happens in a fleet: how much of it, and the newest lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from coordinator.history import read_line
from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.messages import one_line
from coordinator.reads import Item
from web.answers import ApiError
from web.live.feed import LINES_KEPT
from web.live.told import NAME_MAX, Told
from web.pages.look import Look
from web.parameters import LinesQuery, Query, place_text

LINES_SHOWN = 100
TYPES_MAX = 100
"""So many types of messages, and as many kinds of events, can be chosen from."""

SHARED_AS: dict[str, Kind] = {
    "pattern": "pattern",
    "code": "component",
    "component": "component",
}
"""What kind of record the parts of a message are."""


class EntryQuery(Query):
    """Which entry of the history."""

    source: Literal["log", "events"] = Field(description="Of which stream.")
    n: int = Field(ge=1, description="Its number there.")
    epoch: str | None = Field(
        None, max_length=NAME_MAX, description="Only if it is of this epoch, as a line tells it."
    )


def read_traffic(look: Look, query: LinesQuery) -> Item:
    """``lines`` are the newest, None for who may not see them; after ``place`` the stream goes
    on."""
    if not look.visitor.sees_all:
        return {"query": query, "lines": None}
    kept = look.feed.last(LINES_KEPT)
    shown = look.feed.last(LINES_SHOWN, query.filter.passes)
    return {
        "query": query,
        "lines": shown.lines[::-1],
        "place": place_text(shown.cursor),
        "types": {kind: _types(kept.lines, kind) for kind in ("message", "event")},
    }


def _types(lines: Iterable[Told], kind: str) -> list[str]:
    """The most frequent ones, by name."""
    counted = Counter(line.type for line in lines if line.kind == kind)
    return sorted(name for name, _ in counted.most_common(TYPES_MAX))


def read_entry(look: Look, query: EntryQuery) -> Item:
    """One line with all that it carries."""
    reader = look.reader
    line = read_line(reader.connection, reader.keys, query.source, query.n)
    name = f"entry {query.n} of {'the log' if query.source == 'log' else 'the events'}"
    if line is None:
        raise ApiError("not_found", f"{name} is not kept, or is still to come", "n")
    if query.epoch is not None and one_line(line.epoch, NAME_MAX) != query.epoch:
        asked = one_line(query.epoch, NAME_MAX)
        detail = f"{name} is another one now: the server has forgotten that of epoch {asked}"
        raise ApiError("not_found", detail, "epoch")
    envelope = line.envelope
    content = envelope or {key: line.data[key] for key in ("text", "data") if key in line.data}
    about = content.get("payload" if envelope else "data")
    return {
        "line": line,
        "envelope": envelope,
        "content": content,
        "record": _record(about) if isinstance(about, dict) else None,
        "title": name,
    }


def _record(about: Item) -> RecordKey | None:
    """The record that a message shares, or that an event tells of."""
    for name, kind_shared in SHARED_AS.items():
        shared = about.get(name)
        if isinstance(shared, dict) and isinstance(shared.get("id"), str):
            return RecordKey(kind_shared, shared["id"])
    kind, record_id = about.get("kind"), about.get("id") or about.get("component_id")
    if kind in KINDS and isinstance(record_id, str):
        return RecordKey(kind, record_id)
    return None
