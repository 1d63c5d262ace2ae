"""A subscription to channels of the server, which outlives every outage."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from typing import cast

from redis import RedisError
from redis.asyncio import Connection, Redis
from redis.asyncio.client import PubSub

from coordinator.outages import Persist
from coordinator.server_errors import OUTAGES
from coordinator.tasks import Spawn

log = logging.getLogger("coord.client")

PING_EVERY_S = 5.0
CONFIRM_LIMIT_S = 5.0

Subscribed = tuple[PubSub, set[str]]
"""A subscribed connection, and the channels that it was asked for at once."""


class Subscription:
    """Hears what is published in its channels, over one connection after another.

    ``persist`` tries until the server takes it. ``take`` is awaited with the channel and the data
    of each message, ``catch_up`` whenever all channels are subscribed again: what was published
    before was not heard. ``is_complete`` says whether they are.
    """

    def __init__(
        self,
        redis: Redis,
        channels: tuple[str, ...],
        persist: Persist,
        take: Callable[[bytes, bytes], Awaitable[None]],
        catch_up: Callable[[], Awaitable[None]],
        spawn: Spawn,
    ) -> None:
        self._redis = redis
        self._persist = persist
        self._take = take
        self._catch_up = catch_up
        self._spawn = spawn
        self._confirmed = {channel: asyncio.Event() for channel in channels}
        self._connection: Connection | None = None
        self._has_heard = False
        self.is_complete = False

    async def add(self, channel: str) -> None:
        """Hear this one too; TimeoutError when the server does not confirm it."""
        is_new = channel not in self._confirmed
        confirmed = self._confirmed.setdefault(channel, asyncio.Event())
        if is_new:
            await self._send("SUBSCRIBE", channel)
        async with asyncio.timeout(CONFIRM_LIMIT_S):
            await confirmed.wait()

    async def remove(self, channel: str) -> None:
        if self._confirmed.pop(channel, None):
            await self._send("UNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Listen for ever. Raises what ``persist``, ``take`` and ``catch_up`` raise, unless it is
        an outage."""
        while True:
            pubsub, asked = await self._persist(self._connect)
            self._connection = connection = cast(Connection, pubsub.connection)
            watching = self._spawn(self._watch(connection))
            try:
                await self._send("SUBSCRIBE", *(self._confirmed.keys() - asked))
                await self._read(connection, len(asked))
            except (*OUTAGES, OSError) as error:
                log.info("the subscription was lost: %s", error)
            finally:
                self.is_complete = False
                self._connection = None
                for confirmed in self._confirmed.values():
                    confirmed.clear()
                watching.cancel()
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()

    async def _connect(self) -> Subscribed:
        asked = set(self._confirmed)
        pubsub = self._redis.pubsub()
        await pubsub.subscribe(*asked)
        return pubsub, asked

    async def _send(self, command: str, *channels: str) -> None:
        """On the subscribed connection; without one it is made up for when there is."""
        if self._connection is None or not channels:
            return
        try:
            await self._connection.send_command(command, *channels, check_health=False)
        except (*OUTAGES, OSError) as error:
            log.info("the subscription was lost: %s", error)

    async def _read(self, connection: Connection, unconfirmed: int) -> None:
        """It reads the connection itself: the layers above would arm a timer for every message."""
        while True:
            reply = await connection.read_response(timeout=math.inf, push_request=True)
            self._has_heard = True
            kind = reply[0] if isinstance(reply, list) else b"pong"
            if kind == b"message":
                await self._take(reply[1], reply[2])
            elif kind == b"subscribe":
                if confirmed := self._confirmed.get(reply[1].decode()):
                    confirmed.set()
                unconfirmed -= 1
                if unconfirmed == 0:
                    self.is_complete = True
                    await self._catch_up()

    async def _watch(self, connection: Connection) -> None:
        """A connection on which nothing is heard any more is given up."""
        with contextlib.suppress(RedisError, OSError):
            while connection.is_connected:
                await asyncio.sleep(PING_EVERY_S)
                if not self._has_heard:
                    log.info("no sign of life from the server")
                    await connection.disconnect(nowait=True)
                    return
                self._has_heard = False
                await connection.send_command("PING", check_health=False)
