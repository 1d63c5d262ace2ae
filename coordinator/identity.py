"""One instance of an AI: who it is, and how it writes messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coordinator.clock import Clock, Ids, iso
from coordinator.errors import BadMessage
from coordinator.messages import encode_body, encode_message


@dataclass(frozen=True)
class Identity:
    """``instance`` is one start of the AI; its messages have ``max_bytes`` at most."""

    ai_id: str
    instance: str
    clock: Clock
    ids: Ids
    max_bytes: int

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
