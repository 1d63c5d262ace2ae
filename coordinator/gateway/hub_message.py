"""The hub's own messages to one AI: the only ones that a gateway looks into."""

from __future__ import annotations

import json
from typing import Any

from coordinator.messages import HUB, to_json

_HEAD_BYTES = 500
_FROM_HUB = b'"sender_id":"hub"'


def read_hub_message(line: bytes) -> dict[str, Any] | None:
    """The message on a line, if it is one of the hub's; others' are not parsed."""
    if _FROM_HUB not in line[:_HEAD_BYTES]:
        return None
    message: dict[str, Any] = json.loads(line)
    return message if message["sender_id"] == HUB else None


def answering(line: bytes, asked: str | None) -> bytes:
    """The same message, as the answer to a message that the client knows of."""
    message = json.loads(line)
    if message["payload"]["in_reply_to"] == asked:
        return line
    message["payload"]["in_reply_to"] = asked
    return to_json(message).encode() + b"\n"
