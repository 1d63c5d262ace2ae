"""Dead letters: messages that broke their handler, as people see them."""

from __future__ import annotations

import json

import redis

from coordinator.clock import LAST_MS, iso
from coordinator.keys import Keys
from coordinator.reads import Item, read_dead_letter
from coordinator.stored import read_one, text_of, whole_number

BODY_SHOWN = 2000


def read_letters(
    connection: redis.Redis, keys: Keys, limit: int | None = None, cursor: str | None = None
) -> list[Item]:
    """The newest dead letters, newest first; all of them if there is no limit. ``cursor`` is the id
    to go on after."""
    newest = "+" if cursor is None else f"({cursor}"
    most = () if limit is None else ("COUNT", limit)
    entries = read_one(connection, "XREVRANGE", keys.dead, newest, "-", *most) or []
    return [_letter(entry_id.decode(), fields) for entry_id, fields in entries]


def read_letter(connection: redis.Redis, keys: Keys, letter_id: str) -> Item | None:
    """The dead letter of that id; None if it is not kept (any more)."""
    fields = read_dead_letter(connection, keys, letter_id)
    return _letter(letter_id, fields) if fields is not None else None


def _letter(letter_id: str, fields: dict[bytes, bytes]) -> Item:
    body = text_of(fields.get(b"body"))
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    return {
        "id": letter_id,
        "at": iso(min(whole_number(fields.get(b"ms")), LAST_MS)),
        "owner": text_of(fields.get(b"owner")),
        "door": text_of(fields.get(b"door")),
        "message_type": message.get("message_type") if isinstance(message, dict) else None,
        "error": text_of(fields.get(b"error")),
        "body": body[:BODY_SHOWN],
    }
