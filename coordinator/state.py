"""Reads the fleet afresh: what a coordinator does when it becomes active, and after every doubt."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

import redis

from coordinator.archive_marks import load_archives
from coordinator.clock import Clock, Ids
from coordinator.doors import Speaker
from coordinator.enrolled import parse_access
from coordinator.enrolled_list import list_enrolled
from coordinator.epochs import Begin, decode_begins, encode_begins, fleet_of
from coordinator.errors import CoordError
from coordinator.fleet import Ai, Fleet, Loaded, Member, Numbered
from coordinator.keys import SCHEMA_VERSION, Keys, RecordKey
from coordinator.lineage import read_origins
from coordinator.messages import stream_number
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.settings import Settings
from coordinator.stored import json_of, remove_spoiled, replies_of, text_of, whole_number
from coordinator.streams import is_missing, last_generated
from coordinator.transaction import stream_fields
from coordinator.validation.older_lists import list_by_problem
from coordinator.validation.state import read_evaluators, read_judged, read_waiting
from coordinator.work import Session
from coordinator.work_state import Renew, in_chunks, restore_work

log = logging.getLogger("coord")

RESTORING = "restoring"
"""The field of ``keys.fleet`` that a restore has until it is whole."""
MEMBER_FIELDS = (
    *("inbox_n", "inbox_bytes", "inbox_begins", "profile"),
    *("units_completed", "units_failed", "draining", "access"),
    *("validations_since_ms", "validations_queued"),
)


class HalfRestored(CoordError):
    """A restore of the fleet goes on, or was broken off."""

    code = "half_restored"


def check_whole(connection: redis.Redis, keys: Keys) -> None:
    """Raises HalfRestored while the fleet is being restored, or has been in part."""
    if connection.hexists(keys.fleet, RESTORING):
        raise HalfRestored(
            f"the fleet {keys.namespace} is restored in part: give `coord restore` with the same"
            " archive again, or use another --namespace"
        )


def read_fleet(
    connection: redis.Redis, keys: Keys, settings: Settings, clock: Clock, renew: Renew
) -> Fleet:
    """The fleet as Redis has it. Leases and deadlines begin anew once all is read.

    That may take longer than the leader lease lasts: ``renew`` is called again and again.
    """
    stored = cast("dict[bytes, bytes]", connection.hgetall(keys.fleet))
    fleet = Fleet(
        epoch=stored.get(b"epoch", b"").decode(),
        run_id=stored.get(b"run_id", b"").decode(),
        begins=decode_begins(stored.get(b"epochs")),
        log=_read_numbered(connection, keys.log, stored, b"log"),
        events=_read_numbered(connection, keys.events, stored, b"events"),
    )
    live = cast("list[tuple[bytes, float]]", connection.zrange(keys.leases, 0, -1, withscores=True))
    fleet.members = Loaded(lambda ais: read_members(connection, keys, ais))
    fleet.contributors = Loaded(lambda records: read_contributors(connection, keys, records))
    fleet.origins = Loaded(lambda records: read_origins(connection, keys, records))
    fleet.judged = Loaded(lambda records: read_judged(connection, keys, records))
    fleet.waiting = read_waiting(connection, keys)
    fleet.jobless = {key for key, waiting in fleet.waiting.items() if not waiting.attempt}
    fleet.evaluators = read_evaluators(connection, keys)
    fleet.archives = load_archives(connection, keys)
    list_by_problem(connection, keys, renew)
    list_enrolled(connection, keys, renew)
    for some in in_chunks(live, renew):
        ais = _read_ais(connection, keys, some)
        fleet.ais |= ais
        fleet.members.prefetch(ais)
    restore_work(connection, keys, fleet, renew)
    _begin_anew(fleet, clock.elapsed_s(), settings)
    return fleet


def _begin_anew(fleet: Fleet, now_s: float, settings: Settings) -> None:
    """What is told on the clock that never steps: a coordinator that begins gives everybody and
    everything its time anew."""
    for ai in fleet.ais.values():
        ai.lease_ends_s = now_s + settings.lease_s
    for mark in fleet.archives.values():
        mark.waits_since_s = now_s
    for session in fleet.sessions.values():
        session.deadline_s = now_s + _allowed_s(session, settings)
    for unit in fleet.units.values():
        if unit.state == "running":
            unit.running_since_s = now_s
        if unit.state == "waiting" and all(fleet.units[n].state == "completed" for n in unit.needs):
            unit.unowned_since_s = now_s


def _allowed_s(session: Session, settings: Settings) -> float:
    """How long it may take in all, as it stands."""
    if session.is_feature:
        return settings.feature_wait_s
    return settings.collaboration_wait_s if session.state == "pending" else settings.session_max_s


def _read_ais(
    connection: redis.Redis, keys: Keys, live: Sequence[tuple[bytes, float]]
) -> dict[str, Ai]:
    """Those of ``live``, the ids with the ends of their leases, that can be read. The others are
    removed: such an AI is asked to say hello again."""
    with connection.pipeline(transaction=False) as pipe:
        for name, _ in live:
            pipe.hgetall(keys.ai(name.decode(errors="replace")))
            pipe.hget(keys.member(name.decode(errors="replace")), "profile")
        replies = pipe.execute(raise_on_error=False)
    ais: dict[str, Ai] = {}
    for (name, ends_ms), record, profile in zip(live, replies[::2], replies[1::2], strict=True):
        for reply in (record, profile):
            raise_unless_of_the_data(reply)
        try:
            ai = _restore_ai(name.decode(), record, json.loads(profile), int(ends_ms))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("an AI whose records cannot be read must say hello again: %r", name)
            connection.zrem(keys.leases, name)
            connection.delete(keys.ai(name.decode(errors="replace")))
            continue
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


def read_members(connection: redis.Redis, keys: Keys, ais: Iterable[str]) -> dict[str, Member]:
    """The members ``ais``, also those that never joined.

    An inbox's last number is the higher of what its member record and the stream itself say: the
    record outlives the stream, and the stream refuses anything lower.
    """
    ids = list(ais)
    with connection.pipeline(transaction=False) as pipe:
        for ai in ids:
            pipe.hmget(keys.member(ai), *MEMBER_FIELDS)
            pipe.xinfo_stream(keys.inbox(ai))
        replies = pipe.execute(raise_on_error=False) if ids else []
    spoiled = []
    members = {}
    for ai, member, info in zip(ids, replies[::2], replies[1::2], strict=True):
        for reply, key in ((member, keys.member(ai)), (info, keys.inbox(ai))):
            if isinstance(reply, redis.ResponseError) and "WRONGTYPE" in str(reply):
                spoiled.append(key)
            elif isinstance(reply, Exception) and not is_missing(reply):
                raise reply
        if not isinstance(member, list):
            member = [None] * len(MEMBER_FIELDS)
        n, total_bytes, begins, profile, completed, failed, draining, access, since, queued = member
        generated = 0 if not isinstance(info, dict) else stream_number(info["last-generated-id"])
        members[ai] = Member(
            n=max(whole_number(n), generated),
            total_bytes=whole_number(total_bytes),
            begins=_begins(begins),
            has_joined=profile is not None,
            units_completed=whole_number(completed),
            units_failed=whole_number(failed),
            is_draining=draining is not None,
            access=parse_access(ai, access),
            validations_since_ms=whole_number(since),
            validations_queued=whole_number(queued),
        )
    remove_spoiled(connection, spoiled)
    return members


def _begins(stored: bytes | None) -> list[Begin]:
    """What cannot be read is forgotten."""
    try:
        return decode_begins(stored)
    except (ValueError, TypeError, RecursionError):
        return []


def read_contributors(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> dict[RecordKey, tuple[str, ...]]:
    """Whose each of ``records`` is, the first contributor first; nobody's if there is none."""
    wanted = list(records)
    with connection.pipeline(transaction=False) as pipe:
        for kind, record_id in wanted:
            pipe.hmget(keys.record(kind, record_id), "contributor", "contributors")
        replies = replies_of(pipe)
    spoiled = [record for record, reply in zip(wanted, replies, strict=True) if reply is None]
    remove_spoiled(connection, (keys.record(*record) for record in spoiled))
    found: dict[RecordKey, tuple[str, ...]] = {}
    for record, reply in zip(wanted, replies, strict=True):
        first, others = reply or (None, None)
        names = () if first is None else (text_of(first), *_names(others))
        found[record] = tuple(dict.fromkeys(names))
    return found


def _names(stored: bytes | None) -> list[str]:
    """What cannot be read names nobody."""
    names = json_of(stored)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def read_numbers(
    connection: redis.Redis, keys: Keys, fleet: Fleet, speakers: Iterable[Speaker]
) -> None:
    """Have ``fleet`` know the last numbers that were taken of ``speakers``."""
    unknown = sorted(speakers)
    numbers = connection.mget([keys.instance(*speaker) for speaker in unknown]) if unknown else []
    for speaker, number in zip(unknown, cast("list[bytes | None]", numbers), strict=True):
        fleet.last_numbers[speaker] = int(number) if number and number.isdigit() else 0


def read_seen(
    connection: redis.Redis, keys: Keys, fleet: Fleet, speakers: Iterable[Speaker]
) -> None:
    """Have ``fleet`` know the message_ids that were taken of ``speakers``."""
    unknown = sorted(speakers)
    with connection.pipeline(transaction=False) as pipe:
        for speaker in unknown:
            pipe.lrange(keys.seen(*speaker), 0, -1)
        replies = pipe.execute(raise_on_error=False) if unknown else []
    for speaker, seen in zip(unknown, replies, strict=True):
        if isinstance(seen, redis.ResponseError) and "WRONGTYPE" in str(seen):
            log.warning("removed what was no list of message_ids: %s", keys.seen(*speaker))
            connection.delete(keys.seen(*speaker))
            seen = []
        if isinstance(seen, Exception):
            raise seen
        fleet.seen[speaker] = dict.fromkeys(one.decode("utf-8", "replace") for one in seen)


def _read_numbered(
    connection: redis.Redis, key: str, stored: dict[bytes, bytes], name: bytes
) -> Numbered:
    """The higher of what ``keys.fleet`` and the stream itself say, for either may be gone."""
    n = int(stored.get(name + b"_n", 0))
    total_bytes = int(stored.get(name + b"_bytes", 0))
    return Numbered(max(n, last_generated(connection, key)), total_bytes)


def _restore_ai(
    ai_id: str, record: dict[bytes, bytes], profile: dict[str, Any], lease_ends_ms: int
) -> Ai:
    """The registry record may have expired while no coordinator was active; the profile has not."""
    if not isinstance(profile["profile"], dict):
        raise TypeError("a profile is an object")
    return Ai(
        id=ai_id,
        heartbeat_ms=int(record.get(b"heartbeat_ms", profile["joined_ms"])),
        lease_ends_ms=lease_ends_ms,
        lease_ends_s=0,
        status=record.get(b"status", b"ready").decode(),
        load=float(record.get(b"load", 0)),
        **profile,
    )
