"""What an AI has received and not yet looked at."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from coordinator.errors import CoordError, IdTaken, Refused
from coordinator.feed import StreamName

MAX_BUFFERED = 1000


@dataclass(frozen=True)
class Message:
    """A message as an AI receives it.

    ``stream`` and ``n`` say where it was read. Messages of type ``gap`` are the client's own, in
    the hub's name: payload ``{stream, first, last, reason}`` says which numbers will not come.
    """

    message_id: str
    sender_id: str
    message_type: str
    timestamp: str
    payload: dict[str, Any]
    target_ai: str | None
    stream: StreamName
    n: int


class Mailbox:
    """Messages in the order they came. Until somebody takes the first, only the last are kept;
    from then on none is dropped, and ``is_full`` asks for no more of the log for now."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._is_read = False
        self._end: CoordError | None = None
        self._is_closed = False
        self.taken: dict[StreamName, int] = {}

    @property
    def is_full(self) -> bool:
        return self._is_read and len(self._messages) >= MAX_BUFFERED

    def put(self, message: Message) -> None:
        self._messages.append(message)
        if not self._is_read and len(self._messages) > MAX_BUFFERED:
            self._messages.popleft()
        self._changed.set()

    def close(self, reason: CoordError | None = None) -> None:
        """No more will come; ``take`` raises ``reason`` once all is taken."""
        self._end = self._end or reason
        self._is_closed = True
        self._changed.set()

    async def take(self) -> Message | None:
        """The next message, or None when the mailbox is closed and empty."""
        self._is_read = True
        while not self._messages:
            if self._end:
                raise self._end
            if self._is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self.taken[message.stream] = message.n
        return message


def refusal(payload: dict[str, Any]) -> Refused | IdTaken:
    """The exception that an ``error`` message stands for."""
    if payload["code"] == "id_taken":
        return IdTaken(
            payload["detail"],
            payload["holder"],
            payload["lease_ends_ms"],
            payload["last_heartbeat_ms"],
        )
    return Refused(
        payload["code"], payload["detail"], payload.get("in_reply_to"), payload.get("field", "")
    )
