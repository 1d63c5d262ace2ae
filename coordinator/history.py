"""Reading a fleet's history as it grows: the log and the events, with what is missing named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import redis

from coordinator.fleet import Begin, decode_begins, resume_after
from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.reads import Item
from coordinator.streams import Source, last_number

AT_ONCE = 500
Fields = dict[bytes, bytes]


@dataclass(frozen=True)
class Line:
    """Something to tell: a message, an event, or that the history has a gap or a new epoch.

    ``first`` and ``n`` are the numbers it covers, the same except for a gap.
    """

    kind: Literal["message", "event", "gap", "epoch"]
    source: Source
    first: int
    n: int
    ms: int
    epoch: str
    data: Item = field(default_factory=dict)

    def as_json(self) -> Item:
        head: Item = {"kind": self.kind, "source": self.source, "n": self.n, "epoch": self.epoch}
        if self.kind == "gap":
            head["first"] = self.first
        return head | ({"ms": self.ms} if self.ms else {}) | self.data


class Follower:
    """Reads both streams from a point on, merged by time; the streams are the truth, not the push.

    Begins at the end of both, unless ``begin_at`` is called.
    """

    def __init__(self, connection: redis.Redis, keys: Keys) -> None:
        self._redis = connection
        self._keys = keys
        self._streams: dict[Source, str] = {"log": keys.log, "events": keys.events}
        self._epoch = self._read_epoch()
        self._last: dict[Source, int] = {
            source: last_number(connection, keys, source) for source in self._streams
        }
        self._held: list[Line] = []

    def begin_at(self, log_number: int) -> None:
        """Go on from that number of the log, and from the events of that time."""
        self._last["log"] = min(max(0, log_number - 1), self._last["log"])
        first = self._entries("log", self._last["log"], 1)
        if log_number <= 1:
            self._last["events"] = 0
        elif first:
            begin_ms = int(first[0][1][b"ms"])
            self._last["events"] = self._last_event(lambda fields: int(fields[b"ms"]) < begin_ms)

    def read(self, block_ms: int) -> list[Line]:
        """What is new, in order; waits up to ``block_ms`` if nothing is."""
        lines = self._notice_epoch()
        streams = {key: f"{self._last[source]}-0" for source, key in self._streams.items()}
        wait_ms = None if lines or block_ms <= 0 else block_ms
        reply = cast(Any, self._redis.xread(cast(Any, streams), AT_ONCE, wait_ms)) or []
        if self._read_epoch() != self._epoch:
            return lines  # it began meanwhile: what was read may not follow on what is known
        horizon_ms = float("inf")
        for key, entries in reply:
            source: Source = "log" if key.decode() == self._keys.log else "events"
            for entry_id, fields in entries:
                self._held += self._take(source, stream_number(entry_id), fields)
            if len(entries) == AT_ONCE:
                horizon_ms = min(horizon_ms, self._held[-1].ms)
        self._held.sort(key=lambda line: line.ms)  # stable: the order within a stream is kept
        ready = [line for line in self._held if line.ms <= horizon_ms]
        self._held = self._held[len(ready) :]
        return lines + ready

    def _take(self, source: Source, n: int, fields: Fields) -> list[Line]:
        ms, epoch = int(fields[b"ms"]), _epoch_of(fields)
        lines = []
        expected = self._last[source] + 1
        if n > expected:
            lines.append(Line("gap", source, expected, n - 1, ms, epoch))
        self._last[source] = n
        if source == "log":
            lines.append(Line("message", source, n, n, ms, epoch, json.loads(fields[b"message"])))
        else:
            event = {name: fields[name.encode()].decode() for name in ("kind", "ai", "text")}
            data = {"event": event["kind"], "ai": event["ai"], "text": event["text"]}
            data |= {"data": json.loads(fields[b"data"])}
            lines.append(Line("event", source, n, n, ms, epoch, data))
        return lines

    def _notice_epoch(self) -> list[Line]:
        """After a restart the server may have forgotten what was read: go on where it knows."""
        epoch = self._read_epoch()
        if epoch == self._epoch:
            return []
        begins = decode_begins(cast("bytes | None", self._redis.hget(self._keys.fleet, "epochs")))
        resumed = {"log": self._resume_log(begins), "events": self._resume_events(begins)}
        forgot = {"forgot": self._last["log"] - resumed["log"]} if self._epoch else {}
        self._epoch = epoch
        self._last = {source: resumed[source] for source in self._streams}
        self._held = [line for line in self._held if line.n <= self._last[line.source]]
        return [Line("epoch", "log", resumed["log"], resumed["log"], 0, epoch, forgot)]

    def _resume_log(self, begins: list[Begin]) -> int:
        last_n = last_number(self._redis, self._keys, "log")
        return resume_after(self._epoch, self._last["log"], begins, last_n)

    def _resume_events(self, begins: list[Begin]) -> int:
        """By the same rule, in two steps, for ``begins`` tells of the log alone: which epoch was
        the first after what was seen, then which event was the last before it."""
        order = {begin.epoch: i for i, begin in enumerate(begins)}
        places = [Begin(epoch, i) for epoch, i in order.items()]
        first = resume_after(self._epoch, len(places), places, len(places))
        last_n = self._last_event(lambda fields: order.get(_epoch_of(fields), -1) < first)
        return min(self._last["events"], last_n)

    def _last_event(self, is_early: Callable[[Fields], bool]) -> int:
        """The number of the last event that is early, by bisection: after one that is not, none is.

        If none is kept that is, the number before the first that is kept.
        """
        high = last_number(self._redis, self._keys, "events") + 1
        first = self._entries("events", 0, 1)
        low = stream_number(first[0][0]) - 1 if first else high - 1
        while high - low > 1:
            middle = (low + high) // 2
            entries = self._entries("events", middle - 1, 1)
            if entries and is_early(entries[0][1]):
                low = middle
            else:
                high = middle
        return low

    def _entries(self, source: Source, after: int, count: int) -> list[Any]:
        return cast(
            "list[Any]", self._redis.xrange(self._streams[source], f"({after}-0", "+", count)
        )

    def _read_epoch(self) -> str:
        epoch = cast("bytes | None", self._redis.hget(self._keys.fleet, "epoch"))
        return (epoch or b"").decode("utf-8", "replace")


def _epoch_of(fields: Fields) -> str:
    return fields[b"epoch"].decode("utf-8", "replace")
