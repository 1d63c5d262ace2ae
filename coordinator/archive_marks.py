"""Archives of the history: how far each has stored it. What one has not is kept for it, within
bounds; beyond them it is left behind."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import redis
from pydantic import BaseModel, ConfigDict, Field

from coordinator.clock import LAST_MS
from coordinator.context import Context, Incoming
from coordinator.effects import Effect, Event, Note, Write
from coordinator.fleet import ArchiveMark, Fleet
from coordinator.history import Cursor, read_end
from coordinator.keys import Keys
from coordinator.messages import ID_PATTERN, OPERATOR
from coordinator.orders import Archived
from coordinator.payloads import parse_payload
from coordinator.reads import Item
from coordinator.stored import read_hashes, remove_spoiled, text_of

log = logging.getLogger("coord")

MAX_ARCHIVES = 64
"""So many are waited for; one more, and the one that was silent for the longest is not."""
_NAME = re.compile(ID_PATTERN)


class Behind(NamedTuple):
    """How much of the history an archive has still to store. Of another epoch than the present one
    it has told nothing yet: all of it, for the server may have forgotten some.

    ``cursor`` is how far it has come, ``silent_ms`` for how long nothing was heard of it.
    """

    archive: str
    cursor: Cursor
    unread_log: int
    unread_events: int
    silent_ms: int

    def as_json(self) -> Item:
        return {
            "id": self.archive,
            "log": self.cursor.log,
            "events": self.cursor.events,
            "behind": self.unread_log + self.unread_events,
            "seen_age_ms": self.silent_ms,
        }


class _Stored(BaseModel):
    """What is kept of an ArchiveMark."""

    model_config = ConfigDict(strict=True)

    epoch: str = Field(max_length=64)
    log: int = Field(ge=0)
    events: int = Field(ge=0)
    ms: int = Field(ge=0, le=LAST_MS)


def archived(message: Incoming, context: Context) -> list[Effect]:
    """An archive says how far it has come. That goes into no history, or there would always be
    something more to store.

    Numbers of another epoch say nothing of this one: the archive tells those of this one next.
    """
    told = parse_payload(Archived, message.envelope.payload)
    fleet, archive = context.fleet, told.archive
    if told.epoch != fleet.epoch:
        return [Note(f"archive {archive} has not noticed yet that another epoch began")]
    cursor = _stored(Cursor(told.epoch, told.log, told.events), _end(fleet))
    fleet.archives[archive] = ArchiveMark(cursor, context.now_ms, waits_since_s=context.elapsed_s)
    stored = _Stored(**cursor._asdict(), ms=context.now_ms)
    written = Write(("HSET", context.keys.archives, archive, stored.model_dump_json()))
    return [written, *_leave_surplus(context)]


def stored_by_all(fleet: Fleet) -> Cursor | None:
    """Up to where every archive has stored the history; None if there is no archive."""
    end = _end(fleet)
    stored = [_stored(mark.cursor, end) for mark in fleet.archives.values()]
    if not stored:
        return None
    return Cursor(end.epoch, min(one.log for one in stored), min(one.events for one in stored))


def leave_silent(context: Context) -> list[Effect]:
    """Those that were silent for too long while there was something to store are left behind."""
    end, wait_s = _end(context.fleet), context.settings.archive_wait_s
    for mark in context.fleet.archives.values():
        if _stored(mark.cursor, end) == end:
            mark.waits_since_s = context.elapsed_s

    def is_silent(mark: ArchiveMark) -> bool:
        return context.elapsed_s - mark.waits_since_s >= wait_s

    return _leave(is_silent, f"nothing was heard of it for {wait_s:g} s", context)


def leave_overrun(cut: Cursor, context: Context) -> list[Effect]:
    """Those that have not stored all up to where the history is ``cut`` are left behind."""
    end = _end(context.fleet)

    def is_overrun(mark: ArchiveMark) -> bool:
        stored = _stored(mark.cursor, end)
        return stored.log < cut.log or stored.events < cut.events

    most = context.settings.archive_max_bytes
    why = f"more than {most} bytes waited for it (COORD_ARCHIVE_MAX_BYTES)"
    return _leave(is_overrun, why, context)


def _leave_surplus(context: Context) -> list[Effect]:
    marks = context.fleet.archives.values()
    if len(marks) <= MAX_ARCHIVES:
        return []
    longest = min(marks, key=lambda mark: mark.waits_since_s)
    return _leave(lambda mark: mark is longest, f"there are {MAX_ARCHIVES} others", context)


def _leave(is_left: Callable[[ArchiveMark], bool], why: str, context: Context) -> list[Effect]:
    """The history is kept no longer for those; what they miss by that will be gaps in them."""
    fleet, end = context.fleet, _end(context.fleet)
    effects: list[Effect] = []
    for archive, mark in list(fleet.archives.items()):
        if not is_left(mark):
            continue
        del fleet.archives[archive]
        unread_log, unread_events = unread(mark.cursor, end)
        data: Item = {"archive": archive, "unread_log": unread_log}
        data |= {"unread_events": unread_events, "why": why}
        text = f"history is kept no longer for archive {archive}, which may miss some of it: {why}"
        log.warning("%s", text)
        effects.append(Write(("HDEL", context.keys.archives, archive)))
        effects.append(Event("archive_left_behind", OPERATOR, text, data))
    return effects


def _end(fleet: Fleet) -> Cursor:
    return Cursor(fleet.epoch, fleet.log.n, fleet.events.n)


def _stored(cursor: Cursor, end: Cursor) -> Cursor:
    """What of the history up to ``end`` an archive has that has come to ``cursor``: nothing, as
    long as it has not told so in this epoch, for the server may have forgotten some."""
    if cursor.epoch != end.epoch:
        return Cursor(end.epoch)
    return Cursor(end.epoch, min(cursor.log, end.log), min(cursor.events, end.events))


def read_behind(connection: redis.Redis, keys: Keys, now_ms: int) -> list[Behind]:
    """The archives that the history is kept for, by name, and how far each is behind its end."""
    marks, end = read_archives(connection, keys), read_end(connection, keys)
    return [
        Behind(archive, mark.cursor, *unread(mark.cursor, end), max(0, now_ms - mark.heard_ms))
        for archive, mark in sorted(marks.items())
    ]


def unread(cursor: Cursor, end: Cursor) -> tuple[int, int]:
    """How much of the log and of the events, which go up to ``end``, an archive has still to store
    that has come to ``cursor``."""
    stored = _stored(cursor, end)
    return end.log - stored.log, end.events - stored.events


def load_archives(connection: redis.Redis, keys: Keys) -> dict[str, ArchiveMark]:
    """As ``read_archives``, for the coordinator, which writes there: what is no list goes."""
    if connection.type(keys.archives) not in (b"hash", b"none"):
        remove_spoiled(connection, [keys.archives])
    return read_archives(connection, keys)


def read_archives(connection: redis.Redis, keys: Keys) -> dict[str, ArchiveMark]:
    """The archives that the history is kept for, MAX_ARCHIVES of them: those heard of last. One
    that cannot be read is left out, until it tells of itself again."""
    found = {}
    for name, text in read_hashes(connection, [keys.archives])[0].items():
        with suppress(ValueError):
            one = _Stored.model_validate_json(text)
            if _NAME.fullmatch(text_of(name)):
                cursor = Cursor(one.epoch, one.log, one.events)
                found[text_of(name)] = ArchiveMark(cursor, one.ms)
    latest = sorted(found, key=lambda name: found[name].heard_ms)[-MAX_ARCHIVES:]
    return {name: found[name] for name in latest}
