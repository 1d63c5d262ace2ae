"""What an AI sends: encoded, numbered, kept for a while, and handed to the server."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from coordinator.clock import Clock, iso
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import encode_body, encode_message

MAX_REMEMBERED = 1000

Persist = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class Outbox:
    """The messages of one instance of an AI, in the order of their numbers.

    ``persist`` runs an action again and again until no outage hinders it. ``n`` is the number that
    was given last.
    """

    def __init__(
        self,
        ai_id: str,
        instance: str,
        connection: Redis,
        keys: Keys,
        clock: Clock,
        max_bytes: int,
        persist: Persist,
    ) -> None:
        self._ai_id = ai_id
        self._instance = instance
        self._redis = connection
        self._keys = keys
        self._clock = clock
        self._max_bytes = max_bytes
        self._persist = persist
        self._sent: OrderedDict[str, bytes] = OrderedDict()
        self._to_resend: list[str] = []
        self._sending = asyncio.Lock()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.n = 0

    def encode(
        self,
        message_id: str,
        message_type: str,
        payload: dict[str, Any],
        target_ai: str | None = None,
    ) -> bytes:
        """The message as it travels. Raises BadMessage."""
        timestamp = iso(self._clock.now_ms())
        text = encode_message(message_id, self._ai_id, message_type, timestamp, payload, target_ai)
        body = encode_body(text)
        if len(body) > self._max_bytes:
            raise BadMessage(
                "too_large",
                f"the message has {len(body)} bytes; at most {self._max_bytes} are allowed",
            )
        return body

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        """Send what ``send_again`` may have to send again; waits while the outbox is held."""
        await self._is_open.wait()
        body = self.encode(message_id, message_type, payload, target_ai)
        self._sent[message_id] = body
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        await self.transmit(body)

    async def transmit(self, body: bytes) -> None:
        """Number the message and hand it to the server, again and again under the same number."""
        async with self._sending:
            self.n += 1
            entry = {"body": body, "instance": self._instance, "n": self.n}

            async def add() -> None:
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.xadd(self._keys.ingress(self._ai_id), entry)  # type: ignore[arg-type]
                    pipe.sadd(self._keys.doors, self._ai_id)
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
