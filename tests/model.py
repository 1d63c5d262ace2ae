"""What a fleet's state must be, told again without the coordinator: a fold over what was sent.

The model knows two types of message besides hello. The log orders the broadcasts of different
senders; each sender's own order, and everything else, follows from what was sent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import redis


class Sent(NamedTuple):
    """A message of ``sender``, its ``n``-th: a share (broadcast, or to ``target``) or a heartbeat.

    Without a pattern it is a heartbeat that tells ``load``.
    """

    sender: str
    n: int
    pattern: str | None = None
    value: int = 0
    target: str | None = None
    load: float = 0.0

    @property
    def message_id(self) -> str:
        return f"{self.sender}-{self.n}"

    @property
    def message_type(self) -> str:
        return "heartbeat" if self.pattern is None else "pattern_share"

    @property
    def payload(self) -> dict[str, Any]:
        if self.pattern is None:
            return {"load": self.load}
        return {"pattern": {"id": self.pattern, "value": self.value}}


@dataclass
class Outcome:
    """The state of a fleet, as far as shares and heartbeats make it."""

    broadcasts: dict[str, list[str]]
    """By sender, the message_ids of its broadcasts in their order."""
    mail: dict[tuple[str, str], list[str]]
    """By sender and target, the same of what was sent to one AI."""
    patterns: dict[str, tuple[str, int, int]]
    """Contributor, revision, and the value that the last share has left."""
    loads: dict[str, float]
    last_numbers: dict[str, int]
    totals: dict[str, int]
    left_over: int = 0
    """Messages that are still in an ingress."""
    numbers_are_whole: bool = True
    """Whether every stream is numbered 1, 2, 3 and so on."""


def expected(sent: Iterable[Sent]) -> Outcome:
    """The outcome if every message takes effect once. Each pattern is one sender's."""
    messages = list(sent)
    broadcasts: dict[str, list[str]] = {}
    mail: dict[tuple[str, str], list[str]] = {}
    shares: dict[str, list[Sent]] = {}
    for message in messages:
        if message.pattern is None:
            continue
        shares.setdefault(message.pattern, []).append(message)
        if message.target is None:
            broadcasts.setdefault(message.sender, []).append(message.message_id)
        else:
            mail.setdefault((message.sender, message.target), []).append(message.message_id)
    return Outcome(
        broadcasts=broadcasts,
        mail=mail,
        patterns={
            pattern: (those[0].sender, len(those), those[-1].value)
            for pattern, those in shares.items()
        },
        loads={m.sender: m.load for m in messages if m.pattern is None},
        last_numbers={m.sender: m.n for m in messages},
        totals=dict(Counter(m.message_type for m in messages)),
    )


def observed(connection: redis.Redis, senders: Iterable[str], namespace: str = "coord") -> Outcome:
    """The outcome as the server has it; AssertionError if it contradicts itself."""
    reader = cast(Any, connection)
    people = sorted(senders)
    streams = {name: _stream(reader, f"{namespace}:{name}") for name in ("log", "events")}
    log = [json.loads(fields[b"message"]) for _, fields in streams["log"]]
    shared = [m for m in log if m["message_type"] == "pattern_share"]
    broadcasts: dict[str, list[str]] = {}
    for message in shared:
        broadcasts.setdefault(message["sender_id"], []).append(message["message_id"])
    mail: dict[tuple[str, str], list[str]] = {}
    for target in people:
        streams[target] = _stream(reader, f"{namespace}:inbox:{target}")
        for _, fields in streams[target]:
            message = json.loads(fields[b"message"])
            if message["message_type"] == "pattern_share":
                pair = (message["sender_id"], target)
                mail.setdefault(pair, []).append(message["message_id"])
    totals = {name.decode(): int(n) for name, n in reader.hgetall(f"{namespace}:totals").items()}
    totals.pop("hello", None)
    return Outcome(
        broadcasts=broadcasts,
        mail=mail,
        patterns=_patterns(reader, namespace),
        loads={
            ai: float(load)
            for ai in people
            if (load := reader.hget(f"{namespace}:ai:{ai}", "load")) is not None and float(load)
        },
        last_numbers={
            ai: sum(int(reader.get(key)) for key in reader.keys(f"{namespace}:instance:{ai}/*"))
            for ai in people
        },
        totals=totals,
        left_over=sum(reader.xlen(key) for key in reader.keys(f"{namespace}:ingress:*")),
        numbers_are_whole=all(
            [entry_id for entry_id, _ in stream]
            == [f"{n}-0".encode() for n in range(1, len(stream) + 1)]
            for stream in streams.values()
        ),
    )


def _patterns(reader: Any, namespace: str) -> dict[str, tuple[str, int, int]]:
    patterns = {}
    for key in reader.keys(f"{namespace}:pattern:*"):
        fields = reader.hgetall(key)
        value = json.loads(fields[b"record"])["value"]
        told = fields[b"contributor"].decode(), int(fields[b"revision"]), value
        patterns[key.decode().rsplit(":", 1)[1]] = told
    index = {member.decode() for member in reader.zrange(f"{namespace}:patterns", 0, -1)}
    assert index == patterns.keys(), index ^ patterns.keys()
    return patterns


def _stream(reader: Any, key: str) -> list[Any]:
    return cast("list[Any]", reader.xrange(key))
