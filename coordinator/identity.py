"""One instance of an AI: who it is, and how it writes messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coordinator.clock import Clock, Ids, iso
from coordinator.errors import BadMessage
from coordinator.messages import ID_RULE, RESERVED_IDS, encode_body, encode_message, is_ai_id


@dataclass(frozen=True)
class Identity:
    """``instance`` is one start of the AI; its messages have ``max_bytes`` at most. BadMessage for
    what cannot be an AI's id."""

    ai_id: str
    instance: str
    clock: Clock
    ids: Ids
    max_bytes: int

    def __post_init__(self) -> None:
        if not is_ai_id(self.ai_id):
            reserved = ", ".join(sorted(RESERVED_IDS))
            raise BadMessage(
                "bad_envelope",
                f"{self.ai_id!r} cannot be an AI's id: {ID_RULE}; {reserved} are reserved",
                "sender_id",
            )

    def encode(
        self,
        message_id: str,
        message_type: str,
        payload: dict[str, Any],
        target_ai: str | None = None,
    ) -> bytes:
        """A message as it travels. Raises BadMessage."""
        timestamp = iso(self.clock.now_ms())
        text = encode_message(message_id, self.ai_id, message_type, timestamp, payload, target_ai)
        body = encode_body(text)
        if len(body) > self.max_bytes:
            raise BadMessage(
                "too_large",
                f"the message has {len(body)} bytes; at most {self.max_bytes} are allowed",
            )
        return body
