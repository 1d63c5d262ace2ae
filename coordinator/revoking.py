"""Shutting an AI out: what an operator at a shell or a dashboard does."""

from __future__ import annotations

from collections.abc import Callable

import redis

from coordinator.acl import UNSAVED, cut_off, save_users
from coordinator.clock import Clock, Ids
from coordinator.keys import Keys
from coordinator.operator import send_as_operator

Warn = Callable[[str], object]


def revoke(
    connection: redis.Redis,
    keys: Keys,
    clock: Clock,
    ids: Ids,
    ai: str,
    reason: str,
    warn: Warn,
    *,
    key_id: str | None = None,
    person: str | None = None,
) -> bool:
    """End the token ``key_id`` of ``ai``; without one all of them, and its Redis user, if it has
    one. Whether that was so.

    ``warn`` is told what is left to do, before anything can be refused. Raises Refused,
    NotAnswered, BadMessage; the Redis user has ended also then.
    """
    payload = {"ai": ai, "reason": reason, "key_id": key_id, "person": person}
    had_user = key_id is None and _end_user(connection, keys, ai, warn)
    send_as_operator(connection, keys, clock, ids, "revoke", payload)
    return had_user


def _end_user(connection: redis.Redis, keys: Keys, ai: str, warn: Warn) -> bool:
    """End the Redis user of ``ai`` and its connections; whether it had one. Who may not do that is
    told, and the rest is done."""
    try:
        had_one = cut_off(connection, keys, ai)
    except redis.exceptions.NoPermissionError as error:
        warn(
            f"a Redis user of {ai} would be left ({error}): have it removed by"
            f" `coord acl {ai} --drop` as a user that may"
        )
        return False
    if had_one and not save_users(connection):
        warn(UNSAVED)
    return had_one
