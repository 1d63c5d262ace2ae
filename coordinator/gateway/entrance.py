"""A connection until somebody has logged in on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis import RedisError

from coordinator.errors import BadMessage
from coordinator.gateway.connection import Connection
from coordinator.gateway.failures import Failures
from coordinator.gateway.handshake import MAX_HANDSHAKE_BYTES, Handshake, parse_handshake
from coordinator.gateway.login import Login, LoginRefused, Logins
from coordinator.gateway.shared import Shared

log = logging.getLogger("coord.gateway")

LOOK_UP_LIMIT_S = 5.0

Admit = Callable[[Login, Connection], Awaitable[None]]


class Entrance:
    """Waits for one whole line, for ``handshake_s``; ``admit`` is told of who may come in."""

    def __init__(
        self,
        connection: Connection,
        shared: Shared,
        logins: Logins,
        failures: Failures,
        handshake_s: float,
        admit: Admit,
    ) -> None:
        self._connection = connection
        self._shared = shared
        self._logins = logins
        self._failures = failures
        self._admit = admit
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(handshake_s, self._give_up, handshake_s)
        connection.belong_to(self, MAX_HANDSHAKE_BYTES)

    def take_line(self, line: bytes) -> bool:
        self._timer.cancel()
        try:
            handshake = parse_handshake(line)
        except BadMessage as error:
            self._refuse("bad_handshake", error.detail, error.field)
            return True
        self._connection.hold("login")
        self._shared.spawn(self._log_in(handshake))
        return True

    def line_too_long(self) -> None:
        most = f"the first line has {MAX_HANDSHAKE_BYTES} bytes at most"
        self._refuse("bad_handshake", most)

    def has_said_all(self) -> None:
        self._connection.end()

    def can_write_again(self) -> None:
        """Little is said here."""

    def is_slow(self) -> None:
        self._connection.abort()

    def connection_lost(self) -> None:
        self._timer.cancel()

    def _give_up(self, handshake_s: float) -> None:
        self._refuse("bad_handshake", f"no whole first line came within {handshake_s:g} s")

    async def _log_in(self, handshake: Handshake) -> None:
        address = self._connection.address
        started_s = self._shared.clock.elapsed_s()
        try:
            async with asyncio.timeout(LOOK_UP_LIMIT_S), self._shared.reads:
                found = await self._logins.check(handshake)
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            self._shared.patience.note_outage(error)
            self._refuse("busy", "tokens cannot be looked up at the moment; come back later")
            return
        is_blocked = self._failures.is_blocked(address)
        if isinstance(found, Login) and is_blocked and found.credential.is_weak:
            found = LoginRefused("too many failures from there to trust a weak token")
        if isinstance(found, LoginRefused):
            await self._turn_away(handshake, found, started_s, is_blocked)
            return
        self._shared.metrics.logins += 1
        await self._admit(found, self._connection)

    async def _turn_away(
        self, handshake: Handshake, why: LoginRefused, started_s: float, is_blocked: bool
    ) -> None:
        """An answer after the same time, whatever was wrong."""
        delay_s = self._failures.note(self._connection.address, handshake.ai_id, why.reason)
        if is_blocked:
            self._refuse("too_many", "too many logins failed from this address; come back later")
            return
        await asyncio.sleep(max(0.0, started_s + delay_s - self._shared.clock.elapsed_s()))
        self._refuse("bad_login", why.detail)

    def _refuse(self, code: str, detail: str, field: str = "") -> None:
        self._connection.end(self._shared.error_line(code, detail, None, field=field))
