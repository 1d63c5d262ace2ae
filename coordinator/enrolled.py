"""Who is enrolled: role, restrictions and tokens, as people see them; never a digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import redis

from coordinator.credentials import Credential, parse_credentials
from coordinator.enrolment import Access
from coordinator.keys import Keys
from coordinator.reads import Item

SCAN_COUNT = 1000


def read_enrolled(connection: redis.Redis, keys: Keys, now_ms: int) -> list[Item]:
    """Every AI that was ever enrolled, by id, also those that are revoked.

    Goes through all the server's keys, some thousand at a time.
    """
    return read_members(connection, keys, sorted(find_enrolled(connection, keys)), now_ms)


def find_enrolled(connection: redis.Redis, keys: Keys) -> dict[str, list[Credential]]:
    """The credentials of every AI that was ever enrolled, in the same way."""
    prefix = keys.member("")
    found = connection.scan_iter(match=f"{prefix}*", count=SCAN_COUNT)
    ais = sorted({key.decode("utf-8", "replace").removeprefix(prefix) for key in found})
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hexists(keys.member(ai), "access")
            pipe.hgetall(keys.credentials(ai))
        replies = pipe.execute() if ais else []
    return {
        ai: parse_credentials(credentials)
        for ai, is_enrolled, credentials in zip(ais, replies[::2], replies[1::2], strict=True)
        if is_enrolled
    }


def read_members(
    connection: redis.Redis, keys: Keys, ais: Sequence[str], now_ms: int
) -> list[Item]:
    """Those of ``ais`` that were enrolled."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hget(keys.member(ai), "access")
            pipe.hgetall(keys.credentials(ai))
            pipe.exists(keys.ai(ai))
        replies = pipe.execute() if ais else []
    return [
        _item(ai, Access.from_json(access), parse_credentials(credentials), bool(is_here), now_ms)
        for ai, access, credentials, is_here in zip(
            ais, replies[::3], replies[1::3], replies[2::3], strict=True
        )
        if access is not None
    ]


def read_access(connection: redis.Redis, keys: Keys, ai: str) -> Access | None:
    """What ``ai`` was enrolled for; None if it never was."""
    stored = cast("bytes | None", connection.hget(keys.member(ai), "access"))
    return None if stored is None else Access.from_json(stored)


def _item(
    ai: str, access: Access, credentials: list[Credential], is_here: bool, now_ms: int
) -> Item:
    tokens = [
        credential.model_dump(exclude={"digest"}) | {"is_live": credential.is_live(now_ms)}
        for credential in credentials
    ]
    return {"ai_id": ai, **asdict(access), "is_here": is_here, "tokens": tokens}
