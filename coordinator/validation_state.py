"""Reads afresh what is known of validations; what strangers spoiled counts as nothing known."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, cast

import redis

from coordinator.fleet import RecordKey
from coordinator.keys import Keys
from coordinator.server_errors import is_of_the_data
from coordinator.validations import VALIDATED_KINDS, Judged, Waiting

log = logging.getLogger("coord")

JUDGED_FIELDS = ("hash", "specialization", "validation")


def read_judged(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> dict[RecordKey, Judged]:
    """What each of ``records`` is, and what was found of that."""
    wanted = list(records)
    with connection.pipeline(transaction=False) as pipe:
        for kind, record_id in wanted:
            pipe.hmget(keys.record(kind, record_id), *JUDGED_FIELDS)
        replies = pipe.execute(raise_on_error=False) if wanted else []
    judged: dict[RecordKey, Judged] = {}
    for record, reply in zip(wanted, replies, strict=True):
        if isinstance(reply, redis.RedisError) and not is_of_the_data(reply):
            raise reply
        fields = reply if isinstance(reply, list) else [None] * len(JUDGED_FIELDS)
        digest, specialization = ((field or b"").decode(errors="replace") for field in fields[:2])
        judged[record] = Judged(digest, specialization).given(_object(fields[2]))
    return judged


def read_waiting(connection: redis.Redis, keys: Keys) -> dict[RecordKey, Waiting]:
    """The records whose validation is open, the longest first. Those that cannot be read are
    removed: to be shared again has them validated."""
    members = _range(connection, keys.validations)
    with connection.pipeline(transaction=False) as pipe:
        for member in members:
            pipe.hget(f"{keys.namespace}:{member}", "validating")
        replies = pipe.execute(raise_on_error=False) if members else []
    open_ones: dict[RecordKey, Waiting] = {}
    for member, stored in zip(members, replies, strict=True):
        if isinstance(stored, redis.RedisError) and not is_of_the_data(stored):
            raise stored
        try:
            waiting = Waiting.from_json(member, stored if isinstance(stored, bytes) else b"")
        except (ValueError, RecursionError):
            log.warning("gave up a validation that cannot be read: %r", member)
            connection.zrem(keys.validations, member)
            continue
        open_ones[waiting.kind, waiting.id] = waiting
    return open_ones


def read_evaluators(connection: redis.Redis, keys: Keys) -> dict[str, str]:
    """The version of what each specialization is measured by, as validators last said."""
    try:
        stored = cast("dict[bytes, bytes]", connection.hgetall(keys.evaluators))
    except redis.ResponseError as error:
        if not is_of_the_data(error):
            raise
        log.warning("removed what was no list of evaluators: %s", keys.evaluators)
        connection.delete(keys.evaluators)
        return {}
    decoded = ((name.decode(errors="replace"), v) for name, v in stored.items())
    return {name: version.decode(errors="replace") for name, version in decoded}


def read_best(
    connection: redis.Redis, keys: Keys, specialization: str, limit: int
) -> list[RecordKey]:
    """The ``limit`` best of each kind, the best first."""
    best: list[RecordKey] = []
    for kind in VALIDATED_KINDS:
        ids = _range(connection, keys.best(kind, specialization), limit, best_first=True)
        best += [(kind, record_id) for record_id in ids]
    return best


def _range(
    connection: redis.Redis, key: str, limit: int = 0, best_first: bool = False
) -> list[str]:
    """The first ``limit`` members of a sorted set, or all of them."""
    try:
        members = cast("list[bytes]", connection.zrange(key, 0, limit - 1, desc=best_first))
    except redis.ResponseError as error:
        if not is_of_the_data(error):
            raise
        log.warning("removed what was no list of records: %s", key)
        connection.delete(key)
        return []
    return [member.decode(errors="replace") for member in members]


def _object(stored: bytes | None) -> dict[str, Any]:
    """What cannot be read says nothing."""
    try:
        value = json.loads(stored or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
