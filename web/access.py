"""Who may look: tokens of observers and operators, each looked up at every request."""

from __future__ import annotations

import logging
from typing import NamedTuple

from starlette.requests import HTTPConnection

from coordinator import credentials
from coordinator.credentials import TOKEN_MAX, parse_credentials
from coordinator.enrolment import Access
from coordinator.gateway.failures import Failures
from coordinator.listening import place_of
from coordinator.payloads import Role
from web.answers import ApiError
from web.fleet_reader import FleetReader

log = logging.getLogger("coord.http.tokens")

MAY_LOOK: tuple[Role, ...] = ("observer", "operator")
"""A trainer or a validator has other things to do by its token, and if it leaks that is all."""
NO_TOKEN = (
    "a token is needed: `Authorization: Bearer <token>`; `coord enroll NAME --role observer` makes"
    " one"
)
BAD_TOKEN = (
    "the token is none that is in force; `coord enroll NAME --role observer` makes one, `coord"
    " rotate NAME` the next"
)


class Owner(NamedTuple):
    """Whose a token is that is in force; ``is_weak`` is one that could be guessed."""

    ai: str
    role: Role
    is_weak: bool


class Tokens:
    """Checks tokens against what is kept of them; after too many wrong ones from an address none
    from there is taken that could be guessed."""

    def __init__(self, reader: FleetReader, pepper: bytes) -> None:
        self._reader = reader
        self._pepper = pepper
        self._failures = Failures(reader.clock)

    def digest(self, token: str) -> str:
        """What is kept of it."""
        return credentials.digest(self._pepper, token)

    def check(self, token: str, address: str) -> Owner:
        """Whose it is. Raises ApiError ``bad_token``, ``too_many`` or ``forbidden``; RedisError."""
        is_blocked = self._failures.is_blocked(address)
        found = self.find(self.digest(token)) if len(token) <= TOKEN_MAX else None
        if found is None or (is_blocked and found.is_weak):
            self._failures.note(address, "", "wrong token")
            self._failures.take_untold()  # it is told here, and may be forgotten
            if is_blocked:
                raise ApiError("too_many", "too many wrong tokens came from this address")
            log.warning("a token from %s is none that is in force", address)
            raise ApiError("bad_token", BAD_TOKEN)
        if found.role not in MAY_LOOK:
            allowed = " and ".join(MAY_LOOK)
            detail = f"the token is of a {found.role}, and only those of {allowed} may look"
            raise ApiError("forbidden", detail)
        return found

    def find(self, token_digest: str) -> Owner | None:
        """Whose token has that digest; None if none that is in force has. It takes the same time
        for a token that nobody has."""
        connection, keys = self._reader.connection, self._reader.keys
        ai = self._reader.enrolled.owner_of(token_digest) or ""
        with connection.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.credentials(ai))
            pipe.hget(keys.member(ai), "access")
            stored, access_json = pipe.execute()
        found = credentials.matching(parse_credentials(stored), token_digest)
        try:
            access = Access.from_json(access_json or b"")
        except ValueError:
            return None
        is_good = found is not None and found.is_live(self._reader.clock.now_ms())
        if not is_good or access.is_revoked or found is None:
            return None
        return Owner(ai, access.role, found.is_weak)


def bearer_token(authorization: str) -> str | None:
    """The token of a header ``Authorization: Bearer …``; None if there is none in it."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from; "" if that is unknown."""
    return place_of(request.client.host) if request.client else ""
