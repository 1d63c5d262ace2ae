"""Reading a fleet's history as it grows: the log and the events, with what is missing named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import redis

from coordinator.fleet import decode_begins
from coordinator.keys import Keys
from coordinator.messages import to_json

Source = Literal["log", "events"]
AT_ONCE = 500
Item = dict[str, Any]


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
        self._keys: dict[Source, str] = {"log": keys.log, "events": keys.events}
        self._fleet = keys.fleet
        self._epoch = self._read_epoch()
        self._last: dict[Source, int] = {
            source: _last_number(connection, key) for source, key in self._keys.items()
        }
        self._held: list[Line] = []

    def begin_at(self, log_number: int) -> None:
        """Go on from that number of the log, and from the events of that time."""
        self._last["log"] = min(max(0, log_number - 1), self._last["log"])
        first = self._entries("log", self._last["log"], 1)
        if log_number <= 1:
            self._last["events"] = 0
        elif first:
            self._last["events"] = self._event_before(int(first[0][1][b"ms"]))

    def read(self, block_ms: int) -> list[Line]:
        """What is new, in order; waits up to ``block_ms`` if nothing is."""
        lines = self._notice_epoch()
        streams = {key: f"{self._last[source]}-0" for source, key in self._keys.items()}
        wait_ms = None if lines or block_ms <= 0 else block_ms
        reply = cast(Any, self._redis.xread(cast(Any, streams), AT_ONCE, wait_ms)) or []
        horizon_ms = float("inf")
        for key, entries in reply:
            source: Source = "log" if key.decode() == self._keys["log"] else "events"
            for entry_id, fields in entries:
                self._held += self._take(source, int(entry_id.split(b"-")[0]), fields)
            if len(entries) == AT_ONCE:
                horizon_ms = min(horizon_ms, self._held[-1].ms)
        self._held.sort(key=lambda line: line.ms)  # stable: the order within a stream is kept
        ready = [line for line in self._held if line.ms <= horizon_ms]
        self._held = self._held[len(ready) :]
        return lines + ready

    def _take(self, source: Source, n: int, fields: dict[bytes, bytes]) -> list[Line]:
        ms, epoch = int(fields[b"ms"]), fields[b"epoch"].decode("utf-8", "replace")
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
        before, self._epoch = self._epoch, epoch
        begins = decode_begins(cast("bytes | None", self._redis.hget(self._fleet, "epochs")))
        known = [i for i, begin in enumerate(begins) if begin.epoch == before]
        later = {begin.epoch for begin in (begins[known[-1] + 1 :] if known else begins)}
        lines = []
        for source, key in self._keys.items():
            resumed = min(self._last[source], self._last_before(key, later))
            forgot = {"forgot": self._last[source] - resumed} if before else {}
            self._last[source] = resumed
            if source == "log":
                lines.append(Line("epoch", source, resumed, resumed, 0, epoch, forgot))
        return lines

    def _last_before(self, key: str, epochs: set[str]) -> int:
        """The number of the last entry that was written before any of ``epochs`` began."""
        oldest: int | None = None
        while True:
            end = "+" if oldest is None else f"({oldest}-0"
            entries = cast("list[Any]", self._redis.xrevrange(key, end, "-", count=100))
            for entry_id, fields in entries:
                if fields[b"epoch"].decode("utf-8", "replace") not in epochs:
                    return int(entry_id.split(b"-")[0])
                oldest = int(entry_id.split(b"-")[0])
            if not entries:
                return _last_number(self._redis, key) if oldest is None else oldest - 1

    def _event_before(self, ms: int) -> int:
        """The number of the last event before that time, by bisection: times grow."""
        low, high = 0, self._last["events"] + 1
        while high - low > 1:
            middle = (low + high) // 2
            entries = self._entries("events", middle - 1, 1)
            if entries and int(entries[0][1][b"ms"]) < ms:
                low = middle
            else:
                high = middle
        return low

    def _entries(self, source: Source, after: int, count: int) -> list[Any]:
        return cast("list[Any]", self._redis.xrange(self._keys[source], f"({after}-0", "+", count))

    def _read_epoch(self) -> str:
        epoch = cast("bytes | None", self._redis.hget(self._fleet, "epoch"))
        return (epoch or b"").decode("utf-8", "replace")


def _last_number(connection: redis.Redis, key: str) -> int:
    try:
        info = connection.xinfo_stream(key)
    except redis.ResponseError:
        return 0
    return int(info["last-generated-id"].split(b"-")[0])


def summary(message: Item) -> str:
    """What a message carries, in a few words."""
    payload = message.get("payload")
    if not isinstance(payload, dict):
        return ""
    for name in ("pattern", "code", "component"):
        record = payload.get(name)
        if isinstance(record, dict):
            return f"{name} {record.get('id')}"
    if "component_id" in payload:
        return f"on {payload['component_id']}"
    return to_json(payload) if payload else ""
