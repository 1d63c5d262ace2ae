"""Who may look: tokens of observers and operators, each looked up at every request."""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool

from coordinator import credentials
from coordinator.credentials import TOKEN_MAX, parse_credentials
from coordinator.enrolment import Access
from coordinator.gateway.failures import Failures
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


class Tokens:
    """Checks tokens against what is kept of them; after too many wrong ones from an address none
    from there is taken that could be guessed."""

    def __init__(self, reader: FleetReader, pepper: bytes) -> None:
        self._reader = reader
        self._pepper = pepper
        self._failures = Failures(reader.clock)

    async def check(self, authorization: str, address: str) -> Role:
        """The role of whose token it is.

        Raises ApiError ``no_token``, ``bad_token``, ``too_many`` or ``forbidden``; RedisError.
        """
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise ApiError("no_token", NO_TOKEN)
        is_blocked = self._failures.is_blocked(address)
        found = await run_in_threadpool(self._find, token) if len(token) <= TOKEN_MAX else None
        if found is None or (is_blocked and found[1]):
            self._failures.note(address, "", "wrong token")
            self._failures.take_untold()  # it is told here, and may be forgotten
            if is_blocked:
                raise ApiError("too_many", "too many wrong tokens came from this address")
            log.warning("a token from %s is none that is in force", address)
            raise ApiError("bad_token", BAD_TOKEN)
        role = found[0]
        if role not in MAY_LOOK:
            detail = (
                f"the token is of a {role}, and only those of {' and '.join(MAY_LOOK)} may look"
            )
            raise ApiError("forbidden", detail)
        return role

    def _find(self, token: str) -> tuple[Role, bool] | None:
        """The role of the AI that the token is of, and whether it is a weak one; None for one that
        is not in force. It takes the same time for a token that nobody has."""
        connection, keys = self._reader.connection, self._reader.keys
        presented = credentials.digest(self._pepper, token)
        ai = self._reader.enrolled.owner_of(presented) or ""
        with connection.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.credentials(ai))
            pipe.hget(keys.member(ai), "access")
            stored, access_json = pipe.execute()
        found = credentials.matching(parse_credentials(stored), presented)
        try:
            access = Access.from_json(access_json or b"")
        except ValueError:
            return None
        is_good = found is not None and found.is_live(self._reader.clock.now_ms())
        if not is_good or access.is_revoked or found is None:
            return None
        return access.role, found.is_weak
