"""Who is enrolled: role, restrictions and tokens, as people see them; never a digest."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import cast

import redis

from coordinator.credentials import Credential, parse_credentials
from coordinator.enrolment import Access
from coordinator.keys import Keys
from coordinator.reads import Item
from coordinator.stored import read_one, replies_of, text_of

log = logging.getLogger("coord")

READ_AT_ONCE = 1000


def read_enrolled(connection: redis.Redis, keys: Keys, now_ms: int) -> list[Item]:
    """Every AI that was ever enrolled, by id, also those that are revoked."""
    return [
        item
        for ais in _listed(connection, keys)
        for item in read_members(connection, keys, ais, now_ms)
    ]


def find_enrolled(connection: redis.Redis, keys: Keys) -> dict[str, list[Credential]]:
    """The credentials of each of them."""
    found: dict[str, list[Credential]] = {}
    for ais in _listed(connection, keys):
        with connection.pipeline(transaction=False) as pipe:
            for ai in ais:
                pipe.hexists(keys.member(ai), "access")
                pipe.hgetall(keys.credentials(ai))
            replies = replies_of(pipe)
        for ai, is_enrolled, fields in zip(ais, replies[::2], replies[1::2], strict=True):
            if is_enrolled:
                found[ai] = parse_credentials(fields or {})
    return found


def read_members(
    connection: redis.Redis, keys: Keys, ais: Sequence[str], now_ms: int
) -> list[Item]:
    """Those of ``ais`` that were enrolled."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hget(keys.member(ai), "access")
            pipe.hgetall(keys.credentials(ai))
            pipe.exists(keys.ai(ai))
        replies = replies_of(pipe)
    return [
        _item(ai, access, parse_credentials(fields or {}), bool(is_here), now_ms)
        for ai, stored, fields, is_here in zip(
            ais, replies[::3], replies[1::3], replies[2::3], strict=True
        )
        if (access := parse_access(ai, stored)) is not None
    ]


def read_access(connection: redis.Redis, keys: Keys, ai: str) -> Access | None:
    """What ``ai`` was enrolled for; None if it never was."""
    return parse_access(ai, cast("bytes | None", connection.hget(keys.member(ai), "access")))


def parse_access(ai: str, stored: bytes | None) -> Access | None:
    """What ``ai`` was enrolled for; None if it never was. What cannot be read lets nobody in."""
    if stored is None:
        return None
    try:
        return Access.from_json(stored)
    except ValueError:
        log.warning("the access of %s cannot be read, and counts as revoked", ai)
        return Access(is_revoked=True)


def read_enrolled_ids(connection: redis.Redis, keys: Keys) -> list[str]:
    """The list of who was ever enrolled, in order."""
    return sorted(map(text_of, read_one(connection, "SMEMBERS", keys.enrolled) or ()))


def _listed(connection: redis.Redis, keys: Keys) -> Iterator[list[str]]:
    """The ids on that list, some at a time."""
    ais = read_enrolled_ids(connection, keys)
    for begin in range(0, len(ais), READ_AT_ONCE):
        yield ais[begin : begin + READ_AT_ONCE]


def _item(
    ai: str, access: Access, credentials: list[Credential], is_here: bool, now_ms: int
) -> Item:
    tokens = [
        credential.model_dump(exclude={"digest"}) | {"is_live": credential.is_live(now_ms)}
        for credential in credentials
    ]
    return {"ai_id": ai, **asdict(access), "is_here": is_here, "tokens": tokens}
