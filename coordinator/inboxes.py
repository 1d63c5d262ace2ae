"""Reads of what was sent to one AI alone, as people see it."""

from __future__ import annotations

import redis

from coordinator.history import ENVELOPE
from coordinator.keys import Keys
from coordinator.reads import Item
from coordinator.stored import json_of, replies_of, whole_number

LOOKED_AT = 100
"""So many of the newest messages to each AI are looked at."""


def read_messages_between(connection: redis.Redis, keys: Keys, a: str, b: str) -> list[Item]:
    """What ``a`` and ``b`` sent each other lately, the newest first: envelopes, with ``ms``."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in (a, b):
            pipe.xrevrange(keys.inbox(ai), count=LOOKED_AT)
        inboxes = replies_of(pipe)
    found = [
        message | {"ms": whole_number(fields.get(b"ms"))}
        for sender, entries in zip((b, a), inboxes, strict=True)
        for _, fields in entries or ()
        for message in [json_of(fields.get(b"message"))]
        if isinstance(message, dict) and message.keys() >= ENVELOPE
        if message["sender_id"] == sender
    ]
    return sorted(found, key=lambda message: -message["ms"])
