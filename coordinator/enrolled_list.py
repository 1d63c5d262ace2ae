"""The list of who was ever enrolled, made again where it is missing or spoiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import redis

from coordinator.keys import Keys
from coordinator.stored import remove_spoiled, replies_of
from coordinator.work_state import Renew

KEYS_AT_ONCE = 1000


def list_enrolled(connection: redis.Redis, keys: Keys, renew: Renew) -> None:
    """Have a list of who was enrolled if anybody was: an older coord kept none.

    Where there is none it takes a walk through all keys.
    """
    kind = connection.type(keys.enrolled)
    if kind == b"set":
        return
    if kind != b"none":
        remove_spoiled(connection, [keys.enrolled])
    if not connection.hexists(keys.fleet, "credentials_n"):
        return
    prefix = keys.member("").encode()
    enrolled = [
        name.removeprefix(prefix)
        for names in _walk(connection, keys, renew)
        for name in _with_access(connection, names)
    ]
    if enrolled:
        connection.sadd(keys.enrolled, *enrolled)  # all in one: half a list would stay one


def _walk(connection: redis.Redis, keys: Keys, renew: Renew) -> Iterator[list[bytes]]:
    """The keys of all members, some at a time."""
    cursor = None
    while cursor != 0:
        renew()
        page = connection.scan(cursor or 0, match=keys.member("*"), count=KEYS_AT_ONCE)
        cursor, names = cast("tuple[int, list[bytes]]", page)
        yield names


def _with_access(connection: redis.Redis, names: Sequence[bytes]) -> list[bytes]:
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hexists(cast(str, name), "access")
        replies = replies_of(pipe)
    return [name for name, has_access in zip(names, replies, strict=True) if has_access]
