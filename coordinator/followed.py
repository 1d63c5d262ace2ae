"""What a client asked the fleet for and follows: what the hub says of it, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from coordinator.clock import Clock
from coordinator.errors import NotAnswered, refusal
from coordinator.mailbox import Message
from coordinator.transport import REPLY_WAIT_S, Transport
from coordinator.work import OPEN_STATES

OPENED_LIMIT_S = 30.0


class SessionUpdate(NamedTuple):
    """How a feature request or a collaboration stands: a session's state, and who takes part.

    Once it is completed, ``component`` is what came of it and ``result`` what is told of that, if
    there is any; else ``reason`` says why it is not, or what it waits for.
    """

    session_id: str
    status: str
    participants: list[str]
    reason: str
    component: dict[str, Any] | None
    result: dict[str, Any] | None

    @property
    def is_over(self) -> bool:
        return self.status not in OPEN_STATES


def session_update(update: dict[str, Any], component: dict[str, Any] | None) -> SessionUpdate:
    """From the payload of a ``feature_update`` or ``collaboration_update``, and what came of it."""
    return SessionUpdate(
        update.get("session_id") or update["request_id"],
        update["status"],
        update["assignees"] if "assignees" in update else update["participants"],
        update["reason"],
        component,
        update.get("result"),
    )


class Followed:
    """The messages of one client that are followed: what the hub says in reply to them."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._replies: dict[str, asyncio.Queue[Message]] = {}

    def take(self, message: Message) -> bool:
        """Keep it for whoever follows what it replies to; False if nobody does."""
        replies = self._replies.get(message.payload.get("in_reply_to", ""))
        if replies is None:
            return False
        replies.put_nowait(message)
        return True

    @contextmanager
    def replies_to(self, message_id: str) -> Iterator[asyncio.Queue[Message]]:
        """Follow that message of ours; what is said in reply comes into the queue."""
        replies = self._replies[message_id] = asyncio.Queue()
        try:
            yield replies
        finally:
            del self._replies[message_id]

    async def open_session(
        self, message_id: str, message_type: str, payload: dict[str, Any], wait_s: float
    ) -> dict[str, Any]:
        """Ask for a session, and follow it for ``wait_s`` or to its end: how it stands then.

        Raises Refused, NotAnswered, and what ended the client.
        """
        with self.replies_to(message_id) as updates:
            await self._transport.send(message_id, message_type, payload, None)
            try:
                update = await self._next_update(updates, OPENED_LIMIT_S)
            except TimeoutError:
                raise NotAnswered(
                    f"no coordinator took the {message_type} within {OPENED_LIMIT_S:g} s"
                ) from None
            ends_s = self._clock.elapsed_s() + wait_s
            with suppress(TimeoutError):
                while update["status"] in OPEN_STATES:
                    left_s = ends_s - self._clock.elapsed_s()
                    update = await self._next_update(updates, left_s)
        return update

    async def _next_update(self, updates: asyncio.Queue[Message], limit_s: float) -> dict[str, Any]:
        """The payload of what the hub says next of a session. Raises TimeoutError, Refused, and
        what ended the client."""
        async with asyncio.timeout(limit_s):
            while True:
                self._transport.life.check()
                with suppress(TimeoutError):
                    async with asyncio.timeout(REPLY_WAIT_S):
                        message = await updates.get()
                        break
        if message.message_type == "error":
            raise refusal(message.payload)
        return message.payload
