"""What time brings: is each guest still who it was, and may it still be here?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from redis import RedisError

from coordinator.doors import gateway_door
from coordinator.gateway.failures import Failures
from coordinator.gateway.guest import Guest
from coordinator.gateway.login import Login, Logins
from coordinator.gateway.shared import Shared
from coordinator.gateway.voice import Voice
from coordinator.server_errors import is_outage

log = logging.getLogger("coord.gateway")

LOOK_EVERY_S = 1.0
AT_ONCE = 200
"""So many guests are looked up by one command to the server: a longer one would hold up all."""
ENDED = "the token of {} has expired, or was replaced by `coord rotate`: log in by the new one"


class Upkeep:
    """Looks every LOOK_EVERY_S at what the fleet says of the ``guests``."""

    def __init__(
        self,
        shared: Shared,
        guests: Mapping[str, Guest],
        logins: Logins,
        failures: Failures,
        voice: Voice,
    ) -> None:
        self._shared = shared
        self._guests = guests
        self._logins = logins
        self._failures = failures
        self._voice = voice
        self._credentials_n: bytes | None = None
        self._unchecked: list[Guest] = []
        self._trouble = ""

    def note_login(self, login: Login) -> None:
        """Somebody comes in by credentials that were read before. If they have changed meanwhile,
        all are looked up again."""
        if login.credentials_n != self._credentials_n:
            self._credentials_n = None

    async def run(self) -> None:
        """Look again and again, through every outage."""
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
            self._voice.say("login_refused", refusal)
        shared.uploads.expire()
        here = [(guest.ai, guest.instance) for guest in self._guests.values() if guest.is_here]
        self._voice.beat_if_due(here)
        names = ("epoch", "log_n", "credentials_n")
        found = await cast(Any, shared.redis.hmget(shared.keys.fleet, *names))
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
        now_ms = self._shared.clock.now_ms()
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

    async def _check_presence(self) -> None:
        """Whom the fleet does not know any more, or knows as somebody else, says hello again; who
        has gone to another gateway is gone here. A part of them at a time is looked up."""
        if not self._unchecked:
            self._unchecked = list(self._guests.values())
        some, self._unchecked = self._unchecked[:AT_ONCE], self._unchecked[AT_ONCE:]
        guests = [guest for guest in some if guest.is_here]
        if not guests:
            return
        shared = self._shared
        own_door = gateway_door(shared.gateway_id).encode()
        async with shared.redis.pipeline(transaction=False) as pipe:
            for guest in guests:
                pipe.hmget(shared.keys.ai(guest.ai), "instance", "door")
            replies = cast("list[list[bytes | None]]", await pipe.execute())
        for guest, (instance, door) in zip(guests, replies, strict=True):
            if (instance or b"").decode("utf-8", "replace") != guest.instance:
                guest.rejoin()
            elif door != own_door and guest.is_here:
                guest.make_way()
