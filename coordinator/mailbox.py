"""What an AI has received and not yet looked at."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal

from coordinator.errors import CoordError

StreamName = Literal["log", "inbox"]

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
    """Messages in the order they came, up to MAX_BUFFERED.

    ``taken`` is the number of each stream that was taken last. ``missed`` tells of the streams for
    which there was no room: the last number that found some, after which they must be read again.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._end: CoordError | None = None
        self._is_closed = False
        self.taken: dict[StreamName, int] = {}
        self.missed: dict[StreamName, int] = {}

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        return len(self._messages) >= MAX_BUFFERED

    @property
    def has_room(self) -> bool:
        """Whether it is worth while to read again what was missed."""
        return len(self._messages) <= MAX_BUFFERED // 2

    def put(self, message: Message, after: int | None) -> None:
        """``after`` is the number to read on from to get it again, None if that cannot be done."""
        if after is not None:
            if self.is_full:
                self.missed.setdefault(message.stream, after)
            if message.stream in self.missed:
                return
        self._messages.append(message)
        self._changed.set()

    def rewind(self, stream: StreamName, n: int) -> None:
        """Numbers beyond ``n`` are forgotten: what has them counts as ``n``, here as elsewhere."""
        for numbers in (self.taken, self.missed):
            numbers[stream] = min(numbers.get(stream, n), n)
        if self.missed[stream] == n:
            del self.missed[stream]
        self._messages = deque(
            replace(message, n=min(message.n, n)) if message.stream == stream else message
            for message in self._messages
        )

    def close(self, reason: CoordError | None = None) -> None:
        """No more will come; ``take`` raises ``reason`` once all is taken."""
        self._end = self._end or reason
        self._is_closed = True
        self._changed.set()

    async def take(self) -> Message | None:
        """The next message, or None when the mailbox is closed and empty."""
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
