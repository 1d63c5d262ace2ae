"""The gateway as a whole: its parts, who is there, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from redis import RedisError
from redis.asyncio import Redis

from coordinator.clock import Clock, Ids
from coordinator.doors import gateway_door
from coordinator.gateway.binding import bind, tls_context
from coordinator.gateway.connection import LINGER_S, READ_BYTES, Connection
from coordinator.gateway.entrance import Entrance
from coordinator.gateway.failures import Failures
from coordinator.gateway.guest import Guest
from coordinator.gateway.ingress_writer import IngressWriter
from coordinator.gateway.listener import Listener
from coordinator.gateway.login import Login, Logins
from coordinator.gateway.metrics import Metrics
from coordinator.gateway.rate import Buckets
from coordinator.gateway.relay import Relay
from coordinator.gateway.settings import GatewaySettings
from coordinator.gateway.shared import Shared
from coordinator.gateway.upkeep import Upkeep
from coordinator.gateway.uploads import Uploads
from coordinator.gateway.voice import Voice
from coordinator.keys import Keys
from coordinator.listening import CannotListen, address_of
from coordinator.outages import Patience
from coordinator.settings import Settings
from coordinator.tasks import Tasks

__all__ = ["CannotListen", "Gateway"]

log = logging.getLogger("coord.gateway")

MAX_READS = 16
END_LIMIT_S = 2.0


class Gateway:
    """Serves AIs that speak newline-delimited JSON over TCP, from ``run`` to the end of it.

    ``connect`` makes a connection to the fleet's server that goes by the name it is given.
    ``pepper`` is what tokens are digested with.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        fleet_settings: Settings,
        connect: Callable[[str], Redis],
        clock: Clock,
        ids: Ids,
        pepper: bytes,
    ) -> None:
        self.id = ids.new()[:12]
        self.address = ""
        """Where it listens; empty before ``bind``."""
        self.metrics = Metrics()
        self.uploads = Uploads(fleet_settings, settings.uploads_max_bytes, clock)
        self._settings = settings
        self._fleet_settings = fleet_settings
        self._connect = connect
        self._clock = clock
        self._ids = ids
        self._pepper = pepper
        self._keys = Keys(fleet_settings.namespace)
        self._tls = tls_context(settings)
        self._sockets: list[socket.socket] = []
        self._guests: dict[str, Guest] = {}
        self._tasks = Tasks(lambda error: log.error("%r", error, exc_info=error))
        self._listener: Listener | None = None
        self._failures = Failures(clock)
        self._read_buffer = memoryview(bytearray(READ_BYTES))

    def bind(self) -> str:
        """Listen, if nobody did; the address, ``host:port``. Raises CannotListen."""
        if not self._sockets:
            self._sockets = bind(self._settings)
            self.address = address_of(self._sockets[0])
        return self.address

    @property
    def connections(self) -> int:
        """How many there are, those that have not logged in included."""
        return self._listener.connections if self._listener else 0

    @property
    def guests(self) -> int:
        """How many AIs are served."""
        return len(self._guests)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set. Survives every outage of the server.

        At the end the clients are told ``shutting_down``; those that keep an instance can go on at
        another gateway. Raises CannotListen, and ServerUnusable when the server will not have us.
        """
        self.bind()
        redis = self._connect(f"coord-gateway:{self.id}")
        self._listener = listener = self._open(redis)
        shared = self._shared
        log.info("gateway %s listens on %s%s", self.id, self.address, " (TLS)" if self._tls else "")
        stopping = asyncio.create_task(stop.wait())
        try:
            work = [self._tasks.start(each) for each in (shared.writer.run(), shared.relay.run())]
            work += [self._tasks.start(self._upkeep.run()), *listener.start()]
            done, _ = await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stopping.cancel()
            await listener.close()
            await self._end()
            with contextlib.suppress(RedisError, OSError):
                await redis.aclose()

    def _open(self, redis: Redis) -> Listener:
        """What serves the guests, and the listener that lets them in."""
        settings, keys, clock = self._settings, self._keys, self._clock
        door, patience = gateway_door(self.id), Patience("the gateway")
        self._shared = Shared(
            gateway_id=self.id,
            redis=redis,
            keys=keys,
            fleet_settings=self._fleet_settings,
            clock=clock,
            ids=self._ids,
            metrics=self.metrics,
            patience=patience,
            writer=IngressWriter(redis, keys, door, clock, patience, self._tell_of_room),
            relay=Relay(redis, keys, patience, self._guests, self._probe, self._tasks.start),
            uploads=self.uploads,
            buckets=Buckets(settings.messages_per_s, settings.messages_burst, clock),
            reads=asyncio.Semaphore(MAX_READS),
            spawn=self._tasks.start,
            lease_s=self._fleet_settings.lease_s,
        )
        self._logins = Logins(redis, keys, self._pepper, clock)
        voice = Voice(self._shared, self._about)
        self._upkeep = Upkeep(self._shared, self._guests, self._logins, self._failures, voice)
        return Listener(
            self._sockets,
            self._tls,
            settings,
            self.metrics,
            self._new_connection,
            self._opened,
            lambda: self._shared.error_line("too_many", "there is no room; come back later", None),
            self._tasks.start,
        )

    def _about(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "tls": self._tls is not None,
            "connections": self.connections,
        }

    # -- coming and going --------------------------------------------------------------------------

    def _new_connection(self, sock: socket.socket, address: str) -> Connection:
        settings = self._settings
        return Connection(
            sock,
            address,
            self._read_buffer,
            settings.keepalive_s,
            settings.out_buffer_bytes,
            settings.slow_reader_s,
        )

    def _opened(self, connection: Connection) -> None:
        handshake_s = self._settings.handshake_s
        Entrance(connection, self._shared, self._logins, self._failures, handshake_s, self._admit)

    async def _admit(self, login: Login, connection: Connection) -> None:
        """Let somebody in who has logged in, if nobody is there under this id who still lives."""
        guest = Guest(login, connection, self._shared, self._gone)
        while (present := self._guests.get(guest.ai)) is not None:
            if guest.is_same_instance(present):
                present.make_way()
                break
            if not await present.is_lost_soon():
                detail = (
                    f"{guest.ai} is connected from {present.address}, and answers; end that one, "
                    "or take another id"
                )
                connection.end(self._shared.error_line("id_taken", detail, guest.ai))
                return
        if not connection.is_open:
            return
        self._upkeep.note_login(login)
        self._guests[guest.ai] = guest
        try:
            await self._shared.relay.subscribe(guest.ai)
        except TimeoutError:
            detail = "the server cannot be reached at the moment; come back later"
            connection.end(self._shared.error_line("busy", detail, guest.ai))
        if connection.is_open and not connection.is_ending:
            guest.begin()
            connection.release("login")
        else:
            self._gone(guest)

    def _gone(self, guest: Guest) -> None:
        if self._guests.get(guest.ai) is guest:
            del self._guests[guest.ai]
            self.uploads.forget(guest.ai)
            self._tasks.start(self._shared.relay.unsubscribe(guest.ai))

    def _probe(self, ai: str) -> None:
        """Somebody wants this id at another gateway."""
        guest = self._guests.get(ai)
        if guest is not None:
            guest.probe()

    def _tell_of_room(self) -> None:
        for guest in list(self._guests.values()):
            guest.writer_has_room()

    # -- the end -----------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Show everybody out; what was said is written, if the server answers soon."""
        for guest in list(self._guests.values()):
            guest.shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                await self._shared.writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._guests:
                    await asyncio.sleep(0.005)
        await self._tasks.end()
