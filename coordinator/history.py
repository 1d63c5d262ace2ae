"""Reading a fleet's history as it grows: the log and the events, with what is missing named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple, cast

import redis

from coordinator.clock import LAST_MS
from coordinator.epochs import Begin, decode_begins, resume_after
from coordinator.keys import Keys
from coordinator.messages import Envelope, stream_number
from coordinator.reads import Item
from coordinator.stored import json_of, read_one, replies_of, text_of, whole_number
from coordinator.streams import Source, last_number

AT_ONCE = 500
LOOKED_AT = 10
"""So many entries of strangers are passed over where one of ours is looked for."""
ENVELOPE = frozenset(Envelope.model_fields)
Fields = dict[bytes, bytes]


class Cursor(NamedTuple):
    """How far a history was read: the epoch, and the last numbers of the log and the events.

    The epoch is "" where nothing was read yet.
    """

    epoch: str = ""
    log: int = 0
    events: int = 0

    def after(self, line: Line) -> Cursor:
        """How far it is read once ``line`` is, too."""
        if line.kind == "epoch":
            return Cursor(line.epoch, line.n, line.data["events_n"])
        if line.source == "log":
            return self._replace(log=line.n)
        return self._replace(events=line.n)


@dataclass(frozen=True, slots=True)
class Line:
    """Something to tell: a message, an event, or that the history has a gap or a new epoch.

    ``first`` and ``n`` are the numbers it covers, the same except for a gap. ``data`` is the
    envelope of a message; of an event ``event`` (its kind), ``ai``, ``text`` and ``data``; of an
    epoch, which goes on after ``n`` of the log, ``events_n``, after which it does among the events,
    and ``forgot``, how many of the log that were read the server has forgotten; of a gap
    ``unreadable``, if the entry is there, but none of the coordinator's.
    """

    kind: Literal["message", "event", "gap", "epoch"]
    source: Source
    first: int
    n: int
    ms: int
    epoch: str
    data: Item = field(default_factory=dict)

    @property
    def envelope(self) -> Item | None:
        """The message that it tells of, to all or to one AI; None if it tells of none, or of one
        that cannot be read."""
        if self.kind == "message":
            return self.data
        if self.kind != "event" or self.data["event"] != "message":
            return None
        told = self.data["data"]
        encoded = told.get("message") if isinstance(told, dict) else None
        return _envelope(encoded) if isinstance(encoded, str) else None

    def as_json(self) -> Item:
        head: Item = {"kind": self.kind, "source": self.source, "n": self.n, "epoch": self.epoch}
        if self.kind == "gap":
            head["first"] = self.first
        return head | ({"ms": self.ms} if self.ms else {}) | self.data


class Follower:
    """Reads both streams from a point on, merged by time; the streams are the truth, not the push.

    Begins at the end of both, unless ``begin_at`` is called.
    """

    def __init__(self, connection: redis.Redis, keys: Keys, at_once: int = AT_ONCE) -> None:
        """Read ``at_once`` entries of each stream at a time. While one is ahead of the other, twice
        as many of it are held at most."""
        self._redis = connection
        self._keys = keys
        self._at_once = at_once
        self._streams: dict[Source, str] = {"log": keys.log, "events": keys.events}
        self._epoch = self._read_epoch()
        self._read_begins: list[Cursor] = []
        self._last: dict[Source, int] = {
            source: last_number(connection, keys, source) for source in self._streams
        }
        self._held: dict[Source, deque[Line]] = {source: deque() for source in self._streams}
        self._unread: set[Source] = set()

    def begin_at(self, log_number: int) -> None:
        """Go on from that number of the log, and from the events of that time."""
        self._last["log"] = min(max(0, log_number - 1), self._last["log"])
        first = self._readable("log", self._last["log"])
        if log_number <= 1:
            self._last["events"] = 0
        elif first is not None:
            begin_ms = _ms_of(first)
            self._last["events"] = self._last_early(
                "events", lambda fields: _ms_of(fields) < begin_ms
            )

    def begin_since(self, since_ms: int) -> int:
        """Go on from what is kept of that moment on; from when on (ms) nothing of it was cut."""
        complete_ms = since_ms
        for source in self._streams:
            first = self._readable(source, 0)
            if first is not None and self._first_number(source) > 1:
                complete_ms = max(complete_ms, _ms_of(first))
            self._last[source] = self._last_early(source, lambda fields: _ms_of(fields) < since_ms)
        return complete_ms

    def resume(self, cursor: Cursor, begins: Sequence[Cursor] = ()) -> None:
        """Go on after what ``cursor`` says was read, perhaps by another process and long ago. What
        has become of it since is told: the epochs that began, and what was cut.

        ``begins`` are where the epochs began that were read, the oldest first. By them it goes on
        where it was also if the server has forgotten the epoch of ``cursor``.
        """
        self._read_begins = list(begins)
        self._epoch = cursor.epoch
        self._last = {"log": cursor.log, "events": cursor.events}
        self._unread.clear()
        for held in self._held.values():
            held.clear()

    @property
    def cursor(self) -> Cursor:
        """How far both streams were read; what of that is still to be told lies before it."""
        return Cursor(self._epoch, self._last["log"], self._last["events"])

    def read(self, block_ms: int) -> list[Line]:
        """What is new, in order; waits up to ``block_ms`` if nothing is."""
        if lines := self._notice_epoch():
            return lines
        wanted = [source for source in self._streams if len(self._held[source]) < self._at_once]
        streams = {self._streams[source]: f"{self._last[source]}-0" for source in wanted}
        is_waiting = block_ms > 0 and not any(self._held.values())
        wait_ms = block_ms if is_waiting else None
        reply = cast(Any, self._redis.xread(cast(Any, streams), self._at_once, wait_ms)) or []
        if self._read_epoch() != self._epoch:
            return []  # it began meanwhile: what was read may not follow on what is known
        self._unread -= set(wanted)
        for key, entries in reply:
            source: Source = "log" if key.decode() == self._keys.log else "events"
            for entry_id, fields in entries:
                self._held[source] += self._take(source, stream_number(entry_id), fields)
            if len(entries) == self._at_once:
                self._unread.add(source)
        return self._merged()

    def _merged(self) -> list[Line]:
        """What is held, by time, as far as nothing that is still unread may come before it; each
        stream in its own order, whatever the clock did meanwhile."""
        ready = []
        log, events = self._held["log"], self._held["events"]
        while (log or events) and all(self._held[source] for source in self._unread):
            is_log_first = log and not (events and events[0].ms < log[0].ms)
            ready.append((log if is_log_first else events).popleft())
        return ready

    def _take(self, source: Source, n: int, fields: Fields) -> list[Line]:
        """The lines of an entry; one that cannot be read counts as a gap."""
        expected = self._last[source] + 1
        if n < expected:
            return []  # no entry of ours: numbers grow
        self._last[source] = n
        line = _line_or_gap(source, n, fields, self._epoch)
        gap = [Line("gap", source, expected, n - 1, line.ms, line.epoch)] if n > expected else []
        return [*gap, line]

    def _notice_epoch(self) -> list[Line]:
        """After a restart the server may have forgotten what was read: go on where it knows."""
        epoch = self._read_epoch()
        if epoch in ("", self._epoch):
            return []
        begins = decode_begins(cast("bytes | None", self._redis.hget(self._keys.fleet, "epochs")))
        read = self._still_known(begins)
        log_n, events_n = self._resume_log(read, begins), self._resume_events(read, begins)
        data = {"events_n": events_n}
        if self._epoch:
            data["forgot"] = self._last["log"] - log_n
        self._epoch = epoch
        self._read_begins.append(Cursor(epoch, log_n, events_n))
        self._last = {"log": log_n, "events": events_n}
        self._unread.clear()
        for source, held in self._held.items():
            self._held[source] = deque(line for line in held if line.n <= self._last[source])
        return [*self._merged(), Line("epoch", "log", log_n, log_n, 0, epoch, data)]

    def _still_known(self, begins: list[Begin]) -> Cursor:
        """How far what was read is of epochs that the server knows, too: where those ended that it
        has forgotten. Nothing is known of that if it knows none of them."""
        known, read = {begin.epoch for begin in begins}, self.cursor
        for begin, before in zip(self._read_begins[::-1], self._read_begins[-2::-1], strict=False):
            if read.epoch in known:
                break
            if begin.epoch == read.epoch:
                read = begin._replace(epoch=before.epoch)
        return read if read.epoch in known else self.cursor

    def _resume_log(self, read: Cursor, begins: list[Begin]) -> int:
        last_n = last_number(self._redis, self._keys, "log")
        return resume_after(read.epoch, read.log, begins, last_n)

    def _resume_events(self, read: Cursor, begins: list[Begin]) -> int:
        """By the same rule, in two steps, for ``begins`` tells of the log alone: which epoch was
        the first after what was seen, then which event was the last before it."""
        order = {begin.epoch: i for i, begin in enumerate(begins)}
        places = [Begin(epoch, i) for epoch, i in order.items()]
        first = resume_after(read.epoch, len(places), places, len(places))
        last_n = self._last_early("events", lambda fields: order.get(_epoch_of(fields), -1) < first)
        return min(read.events, last_n)

    def _last_early(self, source: Source, is_early: Callable[[Fields], bool]) -> int:
        """The number of the last entry that is early, by bisection: after one that is not, none is.

        If none is kept that is, the number before the first that is kept.
        """
        high = last_number(self._redis, self._keys, source) + 1
        low = (self._first_number(source) or high) - 1
        while high - low > 1:
            middle = (low + high) // 2
            fields = self._readable(source, middle - 1)
            if fields is not None and is_early(fields):
                low = middle
            else:
                high = middle
        return low

    def _first_number(self, source: Source) -> int:
        """Of the first entry that is kept; 0 if none is."""
        first = self._entries(source, 0, 1)
        return stream_number(first[0][0]) if first else 0

    def _readable(self, source: Source, after: int) -> Fields | None:
        """The next entry that is one of ours, if it is not far."""
        for _, fields in self._entries(source, after, LOOKED_AT):
            with suppress(KeyError, ValueError):
                _ms_of(fields), _epoch_of(fields)
                return cast(Fields, fields)
        return None

    def _entries(self, source: Source, after: int, count: int) -> list[Any]:
        return cast(
            "list[Any]", self._redis.xrange(self._streams[source], f"({after}-0", "+", count)
        )

    def _read_epoch(self) -> str:
        epoch = cast("bytes | None", self._redis.hget(self._keys.fleet, "epoch"))
        return (epoch or b"").decode("utf-8", "replace")


def _line_or_gap(source: Source, n: int, fields: Fields, epoch: str) -> Line:
    """An entry as a line; as a gap of that ``epoch`` if it is none of ours."""
    try:
        return _line(source, n, fields)
    except (KeyError, ValueError):
        return Line("gap", source, n, n, 0, epoch, {"unreadable": True})


def _line(source: Source, n: int, fields: Fields) -> Line:
    """An entry as a line. KeyError or ValueError for what is none of ours."""
    ms, epoch = _ms_of(fields), _epoch_of(fields)
    if source == "log":
        message = _envelope(fields[b"message"])
        if message is None:
            raise ValueError("no envelope")
        return Line("message", source, n, n, ms, epoch, message)
    event = {name: fields[name.encode()].decode() for name in ("kind", "ai", "text")}
    data = json_of(fields[b"data"])
    if not isinstance(data, dict):
        raise ValueError("no event")
    told = {"event": event["kind"], "ai": event["ai"], "text": event["text"], "data": data}
    return Line("event", source, n, n, ms, epoch, told)


def _envelope(encoded: bytes | str) -> Item | None:
    """A message as it was sent; None for what is none."""
    message = json_of(encoded)
    return message if isinstance(message, dict) and message.keys() >= ENVELOPE else None


def _ms_of(fields: Fields) -> int:
    ms = int(fields[b"ms"])
    if not 0 <= ms <= LAST_MS:
        raise ValueError("no time")
    return ms


def _epoch_of(fields: Fields) -> str:
    return fields[b"epoch"].decode("utf-8", "replace")


class Recent(NamedTuple):
    """What is kept of a history since a moment, in order; ``complete_ms`` is from when on nothing
    of it is missing."""

    lines: Iterator[Line]
    complete_ms: int


def read_end(connection: redis.Redis, keys: Keys) -> Cursor:
    """How far the history goes, in one round trip: its epoch, and the numbers that were given
    last."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.fleet, "epoch", "log_n", "events_n")
        pipe.xinfo_stream(keys.log)
        pipe.xinfo_stream(keys.events)
        numbers, *streams = replies_of(pipe)
    epoch, *given = numbers or (None, None, None)
    generated = [stream_number(stream["last-generated-id"]) if stream else 0 for stream in streams]
    return Cursor(text_of(epoch), *map(max, map(whole_number, given), generated))


def read_line(connection: redis.Redis, keys: Keys, source: Source, n: int) -> Line | None:
    """Entry ``n`` as it is now, a gap if it is none of ours; None if it is not kept, or never
    was."""
    key = keys.log if source == "log" else keys.events
    entries = read_one(connection, "XRANGE", key, f"{n}-0", f"{n}-0")
    return _line_or_gap(source, n, entries[0][1], "") if entries else None


def recent_lines(connection: redis.Redis, keys: Keys, since_ms: int) -> Recent:
    """The log and the events since then, up to now, read by pages as they are taken."""
    follower = Follower(connection, keys)
    complete_ms = follower.begin_since(since_ms)
    pages = iter(lambda: follower.read(0), [])
    return Recent(chain.from_iterable(pages), complete_ms)
