"""Who was let in, what was refused, and what operators did: the events that tell of it."""

from __future__ import annotations

import json
from typing import Any, Literal, cast, get_args

import redis

from coordinator.clock import iso
from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.reads import Item

AuditKind = Literal[
    "enrolled",
    "rotated",
    "revoked",
    "kicked",
    "refused",
    "login_refused",
    "dead_retried",
    "dead_dropped",
]
AT_ONCE = 500


def read_audit(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    ai: str | None = None,
    kind: AuditKind | None = None,
) -> list[Item]:
    """The newest ``limit`` of those events, newest first; of one AI or one kind if it is named.

    Goes as far back as events are kept.
    """
    wanted = {kind} if kind else set(get_args(AuditKind))
    found: list[Item] = []
    before = "+"
    while len(found) < limit:
        entries = cast("list[Any]", connection.xrevrange(keys.events, before, count=AT_ONCE))
        events = (_event(stream_number(entry_id), fields) for entry_id, fields in entries)
        found += [e for e in events if e["kind"] in wanted and (ai is None or _concerns(e, ai))]
        if len(entries) < AT_ONCE:
            break
        before = f"({entries[-1][0].decode()}"
    return found[:limit]


def _concerns(event: Item, ai: str) -> bool:
    return ai in (event["ai"], event["data"].get("ai"), event["data"].get("ai_id"))


def _event(n: int, fields: dict[bytes, bytes]) -> Item:
    text = {
        name: fields[name.encode()].decode("utf-8", "replace") for name in ("kind", "ai", "text")
    }
    return {"n": n, "at": iso(int(fields[b"ms"])), **text, "data": json.loads(fields[b"data"])}
