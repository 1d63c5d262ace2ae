"""Who gets in: the handshake's token against what is kept of the AI's tokens."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from coordinator import credentials
from coordinator.clock import Clock
from coordinator.credentials import Credential, is_ours, key_id_of, parse_credentials
from coordinator.enrolment import Access
from coordinator.gateway.handshake import Handshake
from coordinator.keys import Keys
from coordinator.messages import Cursor

BAD_LOGIN = "ai_id and token do not match an enrolment that is in force; `coord enroll` makes one"


class Login(NamedTuple):
    """Who was let in, by which token, and enrolled for what. ``cursor`` is where the fleet is at
    that moment, ``credentials_n`` how often credentials had changed by then."""

    handshake: Handshake
    credential: Credential
    access: Access
    cursor: Cursor
    credentials_n: bytes | None

    @property
    def specialization(self) -> str:
        """What he is taken for if he does not say."""
        allowed = self.access.specializations
        return allowed[0] if allowed else "general"


class LoginRefused(NamedTuple):
    """Why somebody was not let in, for the audit; ``detail`` is what he is told: no more than that,
    unless his token once was a good one."""

    reason: str
    detail: str = BAD_LOGIN


class Logins:
    """Reads what is known of an AI, the same for one that nobody knows, and compares."""

    def __init__(self, redis: Redis, keys: Keys, pepper: bytes, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._pepper = pepper
        self._clock = clock

    async def check(self, handshake: Handshake) -> Login | LoginRefused:
        """Raises RedisError."""
        keys, ai = self._keys, handshake.ai_id
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.credentials(ai))
            pipe.hmget(keys.member(ai), "access", "inbox_n")
            pipe.hmget(keys.fleet, "epoch", "log_n", "credentials_n")
            stored, (access_json, inbox_n), fleet = cast("Any", await pipe.execute())
        epoch, log_n, credentials_n = fleet
        presented = credentials.digest(self._pepper, handshake.token.get_secret_value())
        known = parse_credentials(stored)
        found = credentials.matching(known, presented)
        access = _parse_access(access_json)
        if access is None:
            return LoginRefused("not enrolled")
        if access.is_revoked:
            return LoginRefused("revoked")
        if found is None:
            return LoginRefused(_wrong(handshake.token.get_secret_value()))
        if not found.is_live(self._clock.now_ms()):
            return _ended(ai, found, known[-1])
        cursor = Cursor.model_construct(
            epoch=(epoch or b"").decode(), log=int(log_n or 0), inbox=int(inbox_n or 0)
        )
        return Login(handshake, found, access, cursor, credentials_n)

    async def still_good(self, logins: list[Login]) -> list[Login]:
        """Of ``logins`` those whose tokens still are, as they stand now. Raises RedisError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for login in logins:
                ai = login.handshake.ai_id
                pipe.hget(self._keys.credentials(ai), login.credential.key_id)
                pipe.hget(self._keys.member(ai), "access")
            replies = await pipe.execute()
        good = []
        for login, stored, access_json in zip(logins, replies[::2], replies[1::2], strict=True):
            found = parse_credentials({b"": stored}) if stored else []
            is_same = bool(found) and found[0].digest == login.credential.digest
            access = _parse_access(access_json)
            if is_same and access is not None and not access.is_revoked:
                good.append(login._replace(credential=found[0], access=access))
        return good


def _wrong(token: str) -> str:
    """Of a token that we made people know the key: it may be one that they have revoked."""
    return f"wrong token (key {key_id_of(token, '')})" if is_ours(token) else "wrong token"


def _ended(ai: str, found: Credential, newest: Credential) -> LoginRefused:
    """Whoever has a token that was good may know why it is not any more."""
    if found.key_id != newest.key_id:
        reason = f"replaced by a rotation (key {found.key_id}, by {newest.key_id})"
        detail = (
            f"the token of {ai} (key {found.key_id}) was replaced by `coord rotate`; take the new"
            f" one, of key {newest.key_id}"
        )
    else:
        reason = f"expired (key {found.key_id})"
        detail = (
            f"the token of {ai} (key {found.key_id}) has expired; `coord rotate {ai}` makes another"
        )
    return LoginRefused(reason, detail)


def _parse_access(stored: bytes | None) -> Access | None:
    """What is stored of an enrolment; None if it is none."""
    try:
        return Access.from_json(stored or b"")
    except ValueError:
        return None
