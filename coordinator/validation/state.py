"""Reads afresh what is known of validations; what strangers spoiled counts as nothing known."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

import redis

from coordinator.keys import Keys, RecordKey
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.stored import replies_of, text_of
from coordinator.validation.models import VALIDATED_KINDS, Judged, OpenValidation, parse_verdict

log = logging.getLogger("coord")

JUDGED_FIELDS = ("hash", "validation")


def read_judged(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> dict[RecordKey, Judged]:
    """What each of ``records`` is, and what was found of that."""
    wanted = list(records)
    with connection.pipeline(transaction=False) as pipe:
        for kind, record_id in wanted:
            pipe.hmget(keys.record(kind, record_id), *JUDGED_FIELDS)
        replies = replies_of(pipe)
    judged: dict[RecordKey, Judged] = {}
    for record, reply in zip(wanted, replies, strict=True):
        digest, verdict = reply or [None] * len(JUDGED_FIELDS)
        judged[record] = Judged(text_of(digest)).given(parse_verdict(verdict))
    return judged


def read_waiting(connection: redis.Redis, keys: Keys) -> dict[RecordKey, OpenValidation]:
    """The records whose validation is open, the longest first. Those that cannot be read are
    removed: to be shared again has them validated."""
    listed = read_listed(connection, keys.validations)
    named = {name: RecordKey.from_name(name) for name in listed}
    record_keys = [record_key for record_key in named.values() if record_key]
    with connection.pipeline(transaction=False) as pipe:
        for record_key in record_keys:
            pipe.hget(keys.record(*record_key), "validating")
        replies = replies_of(pipe)
    open_ones: dict[RecordKey, OpenValidation] = {}
    for record_key, stored in zip(record_keys, replies, strict=True):
        with suppress(ValueError, RecursionError):
            open_ones[record_key] = OpenValidation.from_json(record_key, stored or b"")
    for name, named_key in named.items():
        if named_key not in open_ones:
            log.warning("gave up a validation that cannot be read: %r", name)
            connection.zrem(keys.validations, name)
    return open_ones


def read_evaluators(connection: redis.Redis, keys: Keys) -> dict[str, str]:
    """The version of what measures each problem, as validators last said."""
    try:
        stored = cast("dict[bytes, bytes]", connection.hgetall(keys.evaluators))
    except redis.ResponseError as error:
        raise_unless_of_the_data(error)
        log.warning("removed what was no list of evaluators: %s", keys.evaluators)
        connection.delete(keys.evaluators)
        return {}
    return {text_of(name): text_of(version) for name, version in stored.items()}


def read_best(connection: redis.Redis, keys: Keys, problem: str, limit: int) -> list[RecordKey]:
    """The ``limit`` best of each kind, the best first."""
    best: list[RecordKey] = []
    for kind in VALIDATED_KINDS:
        ids = read_listed(connection, keys.best(kind, problem), limit, best_first=True)
        best += [RecordKey(kind, record_id) for record_id in ids]
    return best


def read_listed(
    connection: redis.Redis, key: str, limit: int = 0, best_first: bool = False
) -> list[str]:
    """The first ``limit`` members of a sorted set, or all of them."""
    try:
        members = cast("list[bytes]", connection.zrange(key, 0, limit - 1, desc=best_first))
    except redis.ResponseError as error:
        raise_unless_of_the_data(error)
        log.warning("removed what was no list of records: %s", key)
        connection.delete(key)
        return []
    return [text_of(member) for member in members]
