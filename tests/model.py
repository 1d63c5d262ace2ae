"""What a fleet's state must be, told again without the coordinator: a fold over what was sent.

The model knows three types of message. The log orders the broadcasts of different senders; each
sender's own order, and everything else, follows from what was sent.
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
    patterns: dict[str, tuple[str, int, set[int]]]
    """Contributor, revision, and the values that the last share may have left."""
    loads: dict[str, float]
    last_numbers: dict[str, int]
    totals: dict[str, int]
    left_over: int = 0
    """Messages that are still in an ingress."""
    numbers_are_whole: bool = True
    """Whether every stream is numbered 1, 2, 3 and so on."""


def expected(sent: Iterable[Sent]) -> Outcome:
    """The outcome if every message takes effect once.

    A pattern may have several sharers only if it is shared by broadcast alone; its contributor is
    then the first in the log, which ``observed`` checks by itself, and here is "".
    """
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
            pattern: (_only({m.sender for m in those}), len(those), _last_values(those))
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
        patterns=_patterns(reader, namespace, shared),
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


def _patterns(
    reader: Any, namespace: str, shared: list[dict[str, Any]]
) -> dict[str, tuple[str, int, set[int]]]:
    first: dict[str, str] = {}
    last: dict[str, int] = {}
    sharers: dict[str, set[str]] = {}
    for message in shared:
        pattern = message["payload"]["pattern"]
        first.setdefault(pattern["id"], message["sender_id"])
        last[pattern["id"]] = pattern["value"]
        sharers.setdefault(pattern["id"], set()).add(message["sender_id"])
    patterns = {}
    for key in reader.keys(f"{namespace}:pattern:*"):
        pattern_id = key.decode().rsplit(":", 1)[1]
        fields = reader.hgetall(key)
        contributor = fields[b"contributor"].decode()
        value = json.loads(fields[b"record"])["value"]
        several = len(sharers.get(pattern_id, set())) > 1
        if several:
            assert contributor == first[pattern_id], f"{pattern_id}: {contributor}"
            assert value == last[pattern_id], f"{pattern_id}: {value}"
        patterns[pattern_id] = ("" if several else contributor, int(fields[b"revision"]), {value})
    index = {member.decode() for member in reader.zrange(f"{namespace}:patterns", 0, -1)}
    assert index == patterns.keys(), index ^ patterns.keys()
    return patterns


def _stream(reader: Any, key: str) -> list[Any]:
    return cast("list[Any]", reader.xrange(key))


def _only(senders: set[str]) -> str:
    return next(iter(senders)) if len(senders) == 1 else ""


def _last_values(shares: list[Sent]) -> set[int]:
    """The last value of each sharer: which of them came last, only the log says."""
    return set({share.sender: share.value for share in shares}.values())


def agrees(seen: Outcome, wanted: Outcome) -> bool:
    """Whether the one is the other, as far as the order of different senders leaves no choice."""
    for pattern_id, (contributor, revision, values) in wanted.patterns.items():
        found = seen.patterns.get(pattern_id)
        if found is None or found[:2] != (contributor, revision) or not found[2] <= values:
            return False
    seen_rest = {**vars(seen), "patterns": seen.patterns.keys()}
    wanted_rest = {**vars(wanted), "patterns": wanted.patterns.keys()}
    return seen_rest == wanted_rest
