"""Who was let in, what was refused, and what operators did: the events that tell of it."""

from __future__ import annotations

from typing import Literal, get_args

import redis

from coordinator.clock import LAST_MS, iso
from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.reads import Item, Page
from coordinator.stored import json_of, read_one, text_of, whole_number

AuditKind = Literal[
    "enrolled",
    "rotated",
    "revoked",
    "login_refused",
    "refused",
    "kicked",
    "draining",
    "retracted",
    "dead_retried",
    "dead_dropped",
    "unit_retried",
    "archive_left_behind",
]
"""Those events, which an archive keeps in its table audit, too."""
AUDIT_KINDS = frozenset(get_args(AuditKind))
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
    return read_audit_page(connection, keys, limit, ai, kind).items


def read_audit_page(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    ai: str | None = None,
    kind: AuditKind | None = None,
    cursor: int | None = None,
    look_max: int | None = None,
) -> Page:
    """The same from before the event with the number ``cursor`` on. After about ``look_max`` events
    that were looked at the page ends, whatever was found. ``total`` is the number of those that
    this page has, for all are not counted."""
    wanted = {kind} if kind else AUDIT_KINDS
    found: list[Item] = []
    looked = 0
    while len(found) < limit and (look_max is None or looked < look_max):
        newest = "+" if cursor is None else f"({cursor}-0"
        given = (keys.events, newest, "-", "COUNT", AT_ONCE)
        entries = read_one(connection, "XREVRANGE", *given) or []
        for entry_id, fields in entries:
            looked += 1
            cursor = stream_number(entry_id)
            if text_of(fields.get(b"kind")) not in wanted:
                continue
            event = _event(cursor, fields)
            if event and (ai is None or _concerns(event, ai)):
                found.append(event)
                if len(found) == limit:
                    break
        else:
            if len(entries) < AT_ONCE:
                return Page(found, None, len(found))
    return Page(found, str(cursor), len(found))


def _concerns(event: Item, ai: str) -> bool:
    return ai in (event["ai"], event["data"].get("ai"), event["data"].get("ai_id"))


def _event(n: int, fields: dict[bytes, bytes]) -> Item | None:
    """None for an entry of strangers."""
    data, ms = json_of(fields.get(b"data")), whole_number(fields.get(b"ms"))
    if not isinstance(data, dict) or ms > LAST_MS:
        return None
    text = {name: text_of(fields.get(name.encode())) for name in ("kind", "ai", "text")}
    return {"n": n, "at": iso(ms), **text, "data": data}
