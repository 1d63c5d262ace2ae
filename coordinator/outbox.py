"""What an AI sends: numbered, kept for a while, and handed to the server."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from redis.asyncio import Redis

from coordinator.doors import add_entry
from coordinator.identity import Identity
from coordinator.keys import Keys
from coordinator.outages import Persist

MAX_REMEMBERED = 1000


class Outbox:
    """The messages of one instance of an AI, in the order of their numbers.

    ``persist`` runs an action again and again until no outage hinders it. ``n`` is the number that
    was given last.
    """

    def __init__(self, me: Identity, connection: Redis, keys: Keys, persist: Persist) -> None:
        self._me = me
        self._redis = connection
        self._keys = keys
        self._persist = persist
        self._sent: OrderedDict[str, bytes] = OrderedDict()
        self._to_resend: list[str] = []
        self._sending = asyncio.Lock()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.n = 0

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        """Send what ``send_again`` may have to send again; waits while the outbox is held."""
        await self._is_open.wait()
        body = self._me.encode(message_id, message_type, payload, target_ai)
        self._sent[message_id] = body
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        await self.transmit(body)

    async def transmit(self, body: bytes) -> None:
        """Number the message and hand it to the server, again and again under the same number."""
        async with self._sending:
            self.n += 1

            async def add() -> None:
                async with self._redis.pipeline(transaction=False) as pipe:
                    add_entry(pipe, self._keys, self._me.ai_id, body, self._me.instance, self.n)
                    replies = await pipe.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply

            await self._persist(add)

    def hold(self) -> None:
        """Let ``send`` wait until ``release``."""
        self._is_open.clear()

    def release(self) -> None:
        self._is_open.set()

    def note_unheeded(self, message_id: str) -> None:
        """It had no effect, for we were not registered: ``send_again`` is to send it."""
        if message_id in self._sent:
            self._to_resend.append(message_id)

    async def send_again(self) -> None:
        while self._to_resend:
            await self.transmit(self._sent[self._to_resend.pop(0)])
