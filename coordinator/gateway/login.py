"""Who gets in: the handshake's token against what is kept of the AI's tokens."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from coordinator import credentials
from coordinator.clock import Clock
from coordinator.credentials import Credential, parse_credentials
from coordinator.enrolment import Access
from coordinator.gateway.handshake import Handshake
from coordinator.keys import Keys
from coordinator.messages import Cursor


class Login(NamedTuple):
    """Who was let in, by which token. ``specialization`` is what he is taken for if he does not
    say; ``cursor`` is where the fleet is at that moment, ``credentials_n`` how often credentials
    had changed by then."""

    handshake: Handshake
    credential: Credential
    specialization: str
    cursor: Cursor
    credentials_n: bytes | None


class Logins:
    """Reads what is known of an AI, the same for one that nobody knows, and compares."""

    def __init__(self, connection: Redis, keys: Keys, pepper: bytes, clock: Clock) -> None:
        self._redis = connection
        self._keys = keys
        self._pepper = pepper
        self._clock = clock

    async def check(self, handshake: Handshake) -> Login | None:
        """None for whatever does not match. Raises RedisError."""
        keys, ai = self._keys, handshake.ai_id
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.credentials(ai))
            pipe.hmget(keys.member(ai), "access", "inbox_n")
            pipe.hmget(keys.fleet, "epoch", "log_n", "credentials_n")
            stored, (access_json, inbox_n), fleet = cast("Any", await pipe.execute())
        epoch, log_n, credentials_n = fleet
        presented = credentials.digest(self._pepper, handshake.token.get_secret_value())
        live = parse_credentials(stored)
        found = credentials.matches(live, presented, self._clock.now_ms())
        access = _access_in_force(access_json)
        if found is None or access is None:
            return None
        cursor = Cursor.model_construct(
            epoch=(epoch or b"").decode(), log=int(log_n or 0), inbox=int(inbox_n or 0)
        )
        allowed = access.specializations
        specialization = allowed[0] if allowed else "general"
        return Login(handshake, found, specialization, cursor, credentials_n)

    async def still_good(self, logins: list[Login]) -> list[Login]:
        """Of ``logins`` those whose tokens still are, as they are kept now. Raises RedisError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for login in logins:
                ai = login.handshake.ai_id
                pipe.hget(self._keys.credentials(ai), login.credential.key_id)
                pipe.hget(self._keys.member(ai), "access")
            replies = await pipe.execute()
        good = []
        for login, stored, access in zip(logins, replies[::2], replies[1::2], strict=True):
            found = parse_credentials({b"": stored}) if stored else []
            is_same = bool(found) and found[0].digest == login.credential.digest
            if is_same and _access_in_force(access) is not None:
                good.append(login._replace(credential=found[0]))
        return good


def _access_in_force(stored: bytes | None) -> Access | None:
    """What is stored of an enrolment; None if it was revoked, or is none."""
    try:
        access = Access.from_json(stored or b"")
    except ValueError:
        return None
    return None if access.is_revoked else access
