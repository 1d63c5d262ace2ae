"""Reads the open sessions and their units afresh; what cannot be read is given up."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import redis

from coordinator.fleet import Fleet
from coordinator.jobs import dequeue
from coordinator.keys import Keys
from coordinator.messages import UNUSUAL_NUMBER, to_json
from coordinator.payloads import MAX_UNITS
from coordinator.plans import PLANS
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.work import ASSIGNED_STATES, Session, Unit

log = logging.getLogger("coord")

T = TypeVar("T")
Renew = Callable[[], None]
"""Is called again and again while much is read, for as long as the leader lease lasts."""

READ_AT_ONCE = 500


def in_chunks(items: Sequence[T], renew: Renew) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), READ_AT_ONCE):
        renew()
        yield items[begin : begin + READ_AT_ONCE]


def restore_work(connection: redis.Redis, keys: Keys, fleet: Fleet, renew: Renew) -> None:
    """Have ``fleet`` know the open sessions and their units."""
    sessions: dict[str, Session | None] = {}
    for names in in_chunks(_open_sessions(connection, keys), renew):
        stored = _read_field(connection, [keys.session(name) for name in names], "session")
        for name, text in zip(names, stored, strict=True):
            sessions[name] = _parsed(Session.from_json, text)
    unit_ids = [unit_id for session in sessions.values() if session for unit_id in session.units]
    units: dict[str, Unit | None] = {}
    for some in in_chunks(unit_ids, renew):
        stored = _read_field(connection, [keys.unit(unit_id) for unit_id in some], "unit")
        for unit_id, text in zip(some, stored, strict=True):
            units[unit_id] = _parsed(Unit.from_json, text)
    for name, session in sessions.items():
        renew()
        work = [units[unit_id] for unit_id in session.units] if session else []
        if session is None or not _is_sound(name, session, work):
            _give_up(connection, keys, name, work)
            continue
        fleet.sessions[name] = session
        fleet.units.update((unit.id, unit) for unit in work if unit)
    fleet.assigned = Counter(unit.assignee for unit in fleet.units.values() if unit.assignee)


def _open_sessions(connection: redis.Redis, keys: Keys) -> list[str]:
    try:
        ids = cast("list[bytes]", connection.zrangebyscore(keys.sessions, "+inf", "+inf"))
    except redis.ResponseError as error:
        raise_unless_of_the_data(error)
        log.warning("removed what was no list of sessions: %s", keys.sessions)
        connection.delete(keys.sessions)
        return []
    return [name.decode(errors="replace") for name in ids]


def _read_field(connection: redis.Redis, names: list[str], field: str) -> list[bytes | None]:
    """That field of the hashes of these names; None where there is none."""
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(name, field)
        replies = pipe.execute(raise_on_error=False)
    for reply in replies:
        raise_unless_of_the_data(reply)
    return [reply if isinstance(reply, bytes) else None for reply in replies]


def _parsed(parse: Callable[[bytes], T], stored: bytes | None) -> T | None:
    """None for what nobody can read, or write again."""
    text = stored or b""
    try:
        if UNUSUAL_NUMBER.search(text):
            to_json(json.loads(text))
        return parse(text)
    except (ValueError, RecursionError):
        return None


def _is_sound(name: str, session: Session, work: Sequence[Unit | None]) -> bool:
    """Whether a session and its units fit each other; strangers may have written them."""
    ids = set(session.units)
    return (
        (session.id, session.is_open, len(ids)) == (name, True, len(work))
        and (session.type in PLANS)
        and all(
            unit is not None
            and unit.session_id == name
            and unit.id in ids
            and ids.issuperset(unit.needs)
            and (unit.state not in ASSIGNED_STATES or unit.attempts != [])
            for unit in work
        )
    )


def _give_up(connection: redis.Redis, keys: Keys, name: str, work: Sequence[Unit | None]) -> None:
    """Remove a session, all that can be its units, and the jobs that are known."""
    log.warning("gave up a session whose records cannot be read: %s", name)
    units = [keys.unit(f"{name}-{n}") for n in range(1, MAX_UNITS + 1)]
    with connection.pipeline(transaction=False) as pipe:
        pipe.zrem(keys.sessions, name)
        pipe.delete(keys.session(name), keys.workspace(name), *units)
        for unit in work:
            if unit is not None and unit.assignee:
                for write in dequeue(unit, unit.assignee, keys):
                    pipe.execute_command(*write.command)
        pipe.execute(raise_on_error=False)
