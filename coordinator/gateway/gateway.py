"""The gateway as a whole: who is there, what time brings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

from redis import RedisError
from redis.asyncio import Redis

from coordinator.clock import Clock, Ids, iso
from coordinator.doors import gateway_door
from coordinator.gateway.binding import CannotListen, address_of, bind, tls_context
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
from coordinator.gateway.uploads import Uploads
from coordinator.keys import Keys
from coordinator.messages import GATEWAY, encode_message
from coordinator.outages import Patience
from coordinator.server_errors import is_outage
from coordinator.settings import Settings
from coordinator.tasks import Tasks

__all__ = ["CannotListen", "Gateway"]

log = logging.getLogger("coord.gateway")

LOOK_EVERY_S = 1.0
MAX_AIS_PER_HEARTBEAT = 1000
MAX_READS = 16
ENDED = "the token of {} has expired, or was replaced by `coord rotate`: log in by the new one"
AT_ONCE = 200
"""So many guests are looked up by one command to the server: a longer one would hold up all."""
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
        self._door = gateway_door(self.id)
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
        self._n = 0
        self._last_heartbeat = 0
        self._beaten_s = 0.0
        self._credentials_n: bytes | None = None
        self._unchecked: list[Guest] = []
        self._trouble = ""

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
            work += [self._tasks.start(self._look_after()), *listener.start()]
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
        settings, fleet_settings, clock, keys = (
            self._settings,
            self._fleet_settings,
            self._clock,
            self._keys,
        )
        patience = Patience("the gateway")
        self._shared = Shared(
            gateway_id=self.id,
            redis=redis,
            keys=keys,
            fleet_settings=fleet_settings,
            clock=clock,
            ids=self._ids,
            metrics=self.metrics,
            patience=patience,
            writer=IngressWriter(redis, keys, self._door, clock, patience, self._tell_of_room),
            relay=Relay(redis, keys, patience, self._guests, self._probe, self._tasks.start),
            uploads=self.uploads,
            buckets=Buckets(settings.messages_per_s, settings.messages_burst, clock),
            reads=asyncio.Semaphore(MAX_READS),
            spawn=self._tasks.start,
            lease_s=fleet_settings.lease_s,
        )
        self._logins = Logins(redis, keys, self._pepper, clock)
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
        if login.credentials_n != self._credentials_n:
            self._credentials_n = None  # they changed meanwhile: all are looked up again
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

    # -- what time brings --------------------------------------------------------------------------

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_EVERY_S, self._shared.lease_s / 3))
            try:
                await self._look()
                self._trouble = ""
            except (RedisError, OSError) as error:
                if is_outage(error):
                    self._shared.patience.note_outage(error)
                elif str(error) != self._trouble:
                    log.warning("the server does not answer as it should: %s", error)
                    self._trouble = str(error)

    async def _look(self) -> None:
        shared = self._shared
        for refusal in self._failures.take_untold():
            self._say("login_refused", refusal)
        self.uploads.expire()
        self._beat_if_due()
        names = ("epoch", "log_n", "credentials_n")
        found = await cast(Any, shared.redis.hmget(self._keys.fleet, *names))
        epoch, last, credentials_n = cast("list[bytes | None]", found)
        await shared.relay.note((epoch or b"").decode(), int(last or 0))
        await self._check_credentials(credentials_n)
        await shared.writer.note_committed(shared.relay.is_connected)
        for guest in self._guests.values():
            guest.forget_settled()
        await self._check_presence()

    async def _check_credentials(self, credentials_n: bytes | None) -> None:
        """Whoever logged in by a token that is no good any more is shown out."""
        guests = list(self._guests.values())
        if credentials_n != self._credentials_n:
            self._credentials_n = credentials_n
            try:
                for start in range(0, len(guests), AT_ONCE):
                    await self._check_logins(guests[start : start + AT_ONCE])
            except (RedisError, OSError):
                self._credentials_n = None
                raise
        now_ms = self._clock.now_ms()
        for guest in guests:
            if not guest.login.credential.is_live(now_ms):
                guest.show_out("revoked", ENDED.format(guest.ai))

    async def _check_logins(self, guests: list[Guest]) -> None:
        good = await self._logins.still_good([guest.login for guest in guests])
        logins = {login.handshake.ai_id: login for login in good}
        for guest in guests:
            if guest.ai in logins:
                guest.login = logins[guest.ai]
            else:
                guest.show_out("revoked", f"the token of {guest.ai} was revoked")

    def _beat_if_due(self) -> None:
        """An open connection is a heartbeat; one for all. Those that are not written yet do."""
        now_s = self._clock.elapsed_s()
        is_due = now_s - self._beaten_s >= self._shared.lease_s / 3 - LOOK_EVERY_S / 10
        if not is_due or self._shared.writer.written < self._last_heartbeat:
            return
        self._beaten_s = now_s
        about = {
            "address": self.address,
            "tls": self._tls is not None,
            "connections": self.connections,
        }
        here = [(guest.ai, guest.instance) for guest in self._guests.values() if guest.is_here]
        for start in range(0, max(1, len(here)), MAX_AIS_PER_HEARTBEAT):
            ais = dict(here[start : start + MAX_AIS_PER_HEARTBEAT])
            self._say("gateway_heartbeat", {**about, "ais": ais})
        self._last_heartbeat = self._shared.writer.added

    async def _check_presence(self) -> None:
        """Whom the fleet does not know any more, or knows as somebody else, says hello again; who
        has gone to another gateway is gone here. A part of them at a time is looked up."""
        if not self._unchecked:
            self._unchecked = list(self._guests.values())
        some, self._unchecked = self._unchecked[:AT_ONCE], self._unchecked[AT_ONCE:]
        guests = [guest for guest in some if guest.is_here]
        if not guests:
            return
        async with self._shared.redis.pipeline(transaction=False) as pipe:
            for guest in guests:
                pipe.hmget(self._keys.ai(guest.ai), "instance", "door")
            replies = cast("list[list[bytes | None]]", await pipe.execute())
        for guest, (instance, door) in zip(guests, replies, strict=True):
            if (instance or b"").decode("utf-8", "replace") != guest.instance:
                guest.rejoin()
            elif door != self._door.encode() and guest.is_here:
                guest.make_way()

    def _say(self, message_type: str, payload: dict[str, Any]) -> None:
        """In the gateway's own name."""
        self._n += 1
        now = iso(self._clock.now_ms())
        text = encode_message(self._ids.new(), GATEWAY, message_type, now, payload)
        self._shared.writer.add(text.encode(), self.id, self._n, None)

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
