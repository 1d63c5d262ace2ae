"""Reads the fleet afresh: what a coordinator does when it becomes active, and after every doubt."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, cast

import redis

from coordinator.clock import Ids
from coordinator.fleet import (
    Ai,
    Begin,
    Fleet,
    Inbox,
    Inboxes,
    Numbered,
    decode_begins,
    encode_begins,
    fleet_of,
)
from coordinator.keys import SCHEMA_VERSION, Keys
from coordinator.messages import stream_number
from coordinator.transaction import is_of_the_data, stream_fields

log = logging.getLogger("coord")


def read_fleet(connection: redis.Redis, keys: Keys, lease_ends_s: float) -> Fleet:
    """The fleet as Redis has it. Every live AI is given a lease until ``lease_ends_s``."""
    stored = cast("dict[bytes, bytes]", connection.hgetall(keys.fleet))
    fleet = Fleet(
        epoch=stored.get(b"epoch", b"").decode(),
        run_id=stored.get(b"run_id", b"").decode(),
        begins=decode_begins(stored.get(b"epochs")),
        log=_read_numbered(connection, keys.log, stored, b"log"),
        events=_read_numbered(connection, keys.events, stored, b"events"),
    )
    fleet.ais = _read_ais(connection, keys, lease_ends_s)
    fleet.inboxes = Inboxes(lambda ais: read_inboxes(connection, keys, ais))
    fleet.inboxes.prefetch(fleet.ais)
    return fleet


def _read_ais(connection: redis.Redis, keys: Keys, lease_ends_s: float) -> dict[str, Ai]:
    """The live AIs. What cannot be read is removed: such an AI is asked to say hello again."""
    live = cast("list[tuple[bytes, float]]", connection.zrange(keys.leases, 0, -1, withscores=True))
    with connection.pipeline(transaction=False) as pipe:
        for name, _ in live:
            pipe.hgetall(keys.ai(name.decode(errors="replace")))
            pipe.hget(keys.member(name.decode(errors="replace")), "profile")
        replies = pipe.execute(raise_on_error=False) if live else []
    ais: dict[str, Ai] = {}
    for (name, ends_ms), record, profile in zip(live, replies[::2], replies[1::2], strict=True):
        for reply in (record, profile):
            if isinstance(reply, redis.RedisError) and not is_of_the_data(reply):
                raise reply
        try:
            ai = _restore_ai(name.decode(), record, json.loads(profile), int(ends_ms))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("an AI whose records cannot be read must say hello again: %r", name)
            connection.zrem(keys.leases, name)
            connection.delete(keys.ai(name.decode(errors="replace")))
            continue
        ai.lease_ends_s = lease_ends_s
        ais[ai.id] = ai
    return ais


def new_epoch(fleet: Fleet, run_id: str, ids: Ids, keys: Keys) -> list[tuple[Any, ...]]:
    """Begin an epoch in ``fleet`` if the server is not the one that the last began on; the commands
    that write it."""
    if fleet.run_id == run_id and fleet.epoch:
        return []
    fleet.run_id = run_id
    fleet_id = fleet_of(fleet.epoch) or ids.new()[-8:]
    fleet.epoch = f"{fleet_id}.{ids.new()[-8:]}"
    fleet.begins.append(Begin(fleet.epoch, fleet.log.n))
    return [fleet_record(fleet, keys)]


def fleet_record(fleet: Fleet, keys: Keys) -> tuple[Any, ...]:
    """The command that writes all of ``keys.fleet``."""
    epochs = encode_begins(fleet.begins)
    values = ("schema", SCHEMA_VERSION, "epoch", fleet.epoch, "epochs", epochs)
    return ("HSET", keys.fleet, *values, "run_id", fleet.run_id, *stream_fields(fleet))


def read_inboxes(connection: redis.Redis, keys: Keys, ais: Iterable[str]) -> dict[str, Inbox]:
    """The inboxes of ``ais``, also of those that never had one.

    The last number is the higher of what its member record and the stream itself say: the record
    outlives the stream, and the stream refuses anything lower.
    """
    ids = list(ais)
    with connection.pipeline(transaction=False) as pipe:
        for ai in ids:
            pipe.hmget(keys.member(ai), "inbox_n", "inbox_bytes", "inbox_begins", "profile")
            pipe.xinfo_stream(keys.inbox(ai))
        replies = pipe.execute(raise_on_error=False) if ids else []
    inboxes = {}
    for ai, member, info in zip(ids, replies[::2], replies[1::2], strict=True):
        if isinstance(info, redis.ResponseError) and "WRONGTYPE" in str(info):
            log.warning("removed what was no inbox: %s", keys.inbox(ai))
            connection.delete(keys.inbox(ai))
            info = None
        for reply in (member, info):
            if isinstance(reply, Exception) and not _is_missing(reply):
                raise reply
        n, total_bytes, begins, profile = member
        generated = 0 if not isinstance(info, dict) else stream_number(info["last-generated-id"])
        inboxes[ai] = Inbox(
            n=max(int(n or 0), generated),
            total_bytes=int(total_bytes or 0),
            begins=decode_begins(begins),
            is_member=profile is not None,
        )
    return inboxes


def _read_numbered(
    connection: redis.Redis, key: str, stored: dict[bytes, bytes], name: bytes
) -> Numbered:
    """The higher of what ``keys.fleet`` and the stream itself say, for either may be gone."""
    n = int(stored.get(name + b"_n", 0))
    total_bytes = int(stored.get(name + b"_bytes", 0))
    try:
        info = connection.xinfo_stream(key)
    except redis.ResponseError as error:
        if _is_missing(error):
            return Numbered(n, total_bytes)
        raise
    return Numbered(max(n, stream_number(info["last-generated-id"])), total_bytes)


def _is_missing(error: Exception) -> bool:
    return isinstance(error, redis.ResponseError) and "no such key" in str(error).lower()


def _restore_ai(
    ai_id: str, record: dict[bytes, bytes], profile: dict[str, Any], lease_ends_ms: int
) -> Ai:
    """The registry record may have expired while no coordinator was active; the profile has not."""
    return Ai(
        id=ai_id,
        heartbeat_ms=int(record.get(b"heartbeat_ms", profile["joined_ms"])),
        lease_ends_ms=lease_ends_ms,
        lease_ends_s=0,
        status=record.get(b"status", b"ready").decode(),
        load=float(record.get(b"load", 0)),
        **profile,
    )
