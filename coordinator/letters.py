"""Dead letters: messages that broke their handler, as people see them."""

from __future__ import annotations

import json
from typing import Any, cast

import redis

from coordinator.clock import iso
from coordinator.keys import Keys
from coordinator.reads import Item

BODY_SHOWN = 2000


def read_letters(
    connection: redis.Redis, keys: Keys, limit: int | None = None, cursor: str | None = None
) -> list[Item]:
    """The newest dead letters, newest first; all of them if there is no limit. ``cursor`` is the id
    to go on after."""
    newest = "+" if cursor is None else f"({cursor}"
    entries = cast("list[Any]", connection.xrevrange(keys.dead, newest, count=limit))
    return [_letter(entry_id.decode(), fields) for entry_id, fields in entries]


def _letter(letter_id: str, fields: dict[bytes, bytes]) -> Item:
    body = fields[b"body"].decode("utf-8", "replace")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    return {
        "id": letter_id,
        "at": iso(int(fields[b"ms"])),
        "owner": fields[b"owner"].decode("utf-8", "replace"),
        "door": fields[b"door"].decode("utf-8", "replace"),
        "message_type": message.get("message_type") if isinstance(message, dict) else None,
        "error": fields[b"error"].decode("utf-8", "replace"),
        "body": body[:BODY_SHOWN],
    }
