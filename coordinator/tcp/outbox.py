"""What an AI sends by a gateway: in its order, and again until it is confirmed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import Any

from coordinator.identity import Identity
from coordinator.replies import Replies, answer_in
from coordinator.tcp.current_link import CurrentLink
from coordinator.tcp.link import Link
from coordinator.tcp.unconfirmed import Unconfirmed
from coordinator.transport import REPLY_WAIT_S

CONFIRM_EVERY = 100
RATE_PAUSE_S = 1.0
COUNTS = {"what": "counts", "filter": {}, "limit": 1, "cursor": None}


class TcpOutbox:
    """What is sent and not confirmed is sent again on another connection, where the coordinator
    drops by its message_id what it knows."""

    def __init__(self, me: Identity, current: CurrentLink, replies: Replies) -> None:
        self._me = me
        self._current = current
        self._replies = replies
        self._unsent: OrderedDict[str, bytes] = OrderedDict()
        self._is_too_fast = False
        self._sending = asyncio.Lock()
        self.unconfirmed = Unconfirmed()

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        """Send what is kept until it is confirmed; waits while too much is not."""
        body = self._me.encode(message_id, message_type, payload, target_ai)
        while self.unconfirmed.is_full:
            await self.have_confirmed()
        async with self._sending:
            await self._current.when_joined()
            self._unsent[message_id] = body
            await self._send_unsent()
            if len(self.unconfirmed) % CONFIRM_EVERY == 0:
                await self._question(*self._new_query())

    async def beat(self, status: dict[str, Any]) -> None:
        """A heartbeat tells how we are, an open connection that we are; nothing needs to be sent
        again. What was sent lately is confirmed by the way."""
        async with self._sending:
            link = await self._current.when_joined()
            with contextlib.suppress(OSError):
                await link.write(self._me.encode(self._me.ids.new(), "heartbeat", status))
            if self.unconfirmed or self._unsent:
                await self._send_unsent()
                await self._question(*self._new_query())

    async def ask(
        self, message_id: str, message_type: str, payload: dict[str, Any]
    ) -> dict[str, Any]:
        """The payload of the answer. Raises Refused, IdTaken, and TimeoutError after
        REPLY_WAIT_S."""
        body = self._me.encode(message_id, message_type, payload)
        with self._replies.expected(message_id) as reply:
            async with self._sending:
                await self._question(message_id, body)
            async with asyncio.timeout(REPLY_WAIT_S):
                return answer_in(await reply)

    async def write(self, link: Link, body: bytes) -> None:
        """Send what is kept by the caller, on this connection alone. Raises ConnectionError."""
        async with self._sending:
            await link.write(body)

    async def send_again(self, link: Link) -> None:
        """On a new connection, before anything else is: what nobody has confirmed."""
        for body in self.unconfirmed.bodies:
            await link.write(body)

    async def confirm(self) -> None:
        """Wait until all that was sent before is confirmed."""
        waited_for = self._ids()
        while not waited_for.isdisjoint(self._ids()):
            await self.have_confirmed()

    def _ids(self) -> set[str]:
        return self.unconfirmed.ids | set(self._unsent)

    async def have_confirmed(self) -> bool:
        """Have a query answered, or REPLY_WAIT_S pass; whether it was answered."""
        message_id, body = self._new_query()
        with self._replies.expected(message_id) as reply:
            async with self._sending:
                await self._send_unsent()
                await self._question(message_id, body)
            await asyncio.wait([reply], timeout=REPLY_WAIT_S)
            return reply.done()

    def note_too_fast(self, message_id: str) -> None:
        """The gateway has refused this message for the rate: it is sent again, after a pause."""
        self._is_too_fast = True
        if body := self.unconfirmed.take_out(message_id):
            self._unsent[message_id] = body

    def _new_query(self) -> tuple[str, bytes]:
        message_id = self._me.ids.new()
        return message_id, self._me.encode(message_id, "query", COUNTS)

    # what follows is for who holds the lock

    async def _send_unsent(self) -> None:
        """Send what is to be sent, and keep it until it is confirmed."""
        while self._unsent:
            link = await self._current.when_joined()
            if self._is_too_fast:
                self._is_too_fast = False
                await asyncio.sleep(RATE_PAUSE_S)
                continue
            message_id, body = self._unsent.popitem(last=False)
            self.unconfirmed.add(message_id, body)
            with contextlib.suppress(OSError):  # it is sent again on the next connection
                await link.write(body)

    async def _question(self, message_id: str, body: bytes) -> None:
        """Send what will be answered."""
        link = await self._current.when_joined()
        self.unconfirmed.note_query(message_id)
        with contextlib.suppress(OSError):
            await link.write(body)
