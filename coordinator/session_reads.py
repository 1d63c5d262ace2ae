"""Reads of sessions and their units, in the shapes that clients and people see."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import redis

from coordinator.clock import LAST_MS
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import HUB, OPERATOR
from coordinator.reads import Item, Page
from coordinator.record_search import rank_after
from coordinator.stored import json_of, read_hashes, read_one, replies_of, text_of
from coordinator.work import Session, Unit

T = TypeVar("T")

READ_AT_ONCE = 50
LETTERS_LOOKED_AT = 1000


def read_sessions(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    wanted: dict[str, str] | None = None,
    cursor: str | None = None,
    look_max: int | None = None,
    is_open: bool | None = None,
) -> Page:
    """Sessions, the open ones first, then those that ended last; ``cursor`` is the id to go on
    after. ``wanted`` may give state, type and ai (who takes part, or asked for it), and
    ``is_open`` whether only the open ones, or only the others. After about ``look_max`` that were
    looked at the page ends, whatever was found.

    BadMessage for a cursor that is gone. ``total`` counts all sessions that are kept.
    """
    start = rank_after(connection, keys.sessions, cursor)
    with connection.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.sessions)
        pipe.zcount(keys.sessions, "+inf", "+inf")
        total, opened = (count or 0 for count in replies_of(pipe))
    if is_open is False:
        start = max(start, opened)
    last = opened if is_open else total
    end = last if look_max is None else min(last, start + look_max)
    items: list[Item] = []
    last_id = ""
    while start < end and len(items) < limit:
        chunk = cast(
            "list[bytes]", connection.zrevrange(keys.sessions, start, start + READ_AT_ONCE - 1)
        )
        if not chunk:
            break
        ids = [text_of(one) for one in chunk[: last - start]]
        for session_id, session in zip(ids, _read_sessions(connection, keys, ids), strict=True):
            start += 1
            last_id = session_id
            if session is not None and _is_wanted(session, wanted or {}):
                items.append(_shown(session))
                if len(items) == limit:
                    break
    return Page(items, last_id if last_id and start < last else None, total)


def read_session_ids(connection: redis.Redis, keys: Keys) -> list[str]:
    """Of all sessions that are kept, the open ones first, then those that ended last."""
    return [one.decode() for one in cast("list[bytes]", connection.zrevrange(keys.sessions, 0, -1))]


def read_opened(connection: redis.Redis, keys: Keys, message_id: str) -> str | None:
    """The id of the session that the operator opened by that message, as the hub answered it.

    The answer lies in the operator's inbox from the moment the message is committed.
    """
    entries = cast("list[Any]", connection.xrevrange(keys.inbox(OPERATOR), count=LETTERS_LOOKED_AT))
    for _, fields in entries:
        message = json.loads(fields[b"message"])
        payload = message["payload"]
        if message["sender_id"] == HUB and payload.get("in_reply_to") == message_id:
            return cast("str | None", payload.get("session_id", payload.get("request_id")))
    return None


def read_session(connection: redis.Redis, keys: Keys, session_id: str) -> Item | None:
    """A session with its ``units`` and its ``workspace``; None if it is not kept (any more)."""
    (session,) = _read_sessions(connection, keys, [session_id])
    if session is None:
        return None
    (workspace,) = read_hashes(connection, [keys.workspace(session_id)])
    return _shown(session) | {
        "units": read_units(connection, keys, session.units),
        "workspace": {text_of(name): json_of(value) for name, value in workspace.items()},
    }


def read_progress(connection: redis.Redis, keys: Keys, session_id: str) -> Item | None:
    """A session with its ``units``, but neither their outputs nor the workspace: little enough to
    be read again and again. None if it is not kept (any more)."""
    (session,) = _read_sessions(connection, keys, [session_id])
    if session is None:
        return None
    units = _read_units(connection, keys, session.units)
    return _shown(session) | {"units": [_unit_item(unit) for unit in units if unit is not None]}


def read_units_page(
    connection: redis.Redis, keys: Keys, session_id: str, limit: int, cursor: str | None = None
) -> Page:
    """The units of a session in the order of its plan; ``cursor`` is the id to go on after."""
    (session,) = _read_sessions(connection, keys, [session_id])
    ids = session.units if session else []
    start = ids.index(cursor) + 1 if cursor in ids else 0
    shown = ids[start : start + limit]
    more = start + limit < len(ids)
    return Page(read_units(connection, keys, shown), shown[-1] if more else None, len(ids))


def read_workspace(
    connection: redis.Redis,
    keys: Keys,
    session_id: str,
    reader: str | None,
    limit: int,
    cursor: str | None = None,
) -> Page:
    """What is in a session's workspace, in the order of the keys; ``cursor`` is the key to go on
    after. It is for who takes part or asked for it; ``reader`` None stands for an operator.

    BadMessage when the session is not kept (any more), and for any other ``reader``.
    """
    (session,) = _read_sessions(connection, keys, [session_id])
    if session is None:
        raise BadMessage(
            "not_found",
            f"payload.filter.session_id {session_id!r} names no session that is kept; query "
            "what=sessions lists them",
            "payload.filter.session_id",
        )
    if reader not in (None, session.initiator, *session.participants):
        raise BadMessage(
            "not_a_participant",
            f"{reader} takes no part in session {session_id}, which is that of "
            f"{', '.join(session.participants)}",
            "payload.filter.session_id",
        )
    key = keys.workspace(session_id)
    names = sorted(map(text_of, read_one(connection, "HKEYS", key) or []))
    later = [name for name in names if cursor is None or name > cursor]
    shown = later[:limit]
    stored = cast("list[bytes | None]", connection.hmget(key, shown)) if shown else []
    items = [
        {"key": name, **entry}
        for name, value in zip(shown, stored, strict=True)
        for entry in _readable_entry(value)
    ]
    return Page(items, shown[-1] if len(later) > limit else None, len(names))


def read_units(connection: redis.Redis, keys: Keys, unit_ids: Sequence[str]) -> list[Item]:
    """The units as they are stored, with the number of the present ``attempt`` and ``output``."""
    with connection.pipeline(transaction=False) as pipe:
        for unit_id in unit_ids:
            pipe.hmget(keys.unit(unit_id), "unit", "output")
        replies = [reply or (None, None) for reply in replies_of(pipe)]
    found = [
        (_parsed_unit(unit_id, stored), output)
        for unit_id, (stored, output) in zip(unit_ids, replies, strict=True)
    ]
    return [
        _unit_item(unit) | {"attempt": unit.attempt, "output": json_of(output)}
        for unit, output in found
        if unit is not None
    ]


def read_unit_states(connection: redis.Redis, keys: Keys, unit_ids: Sequence[str]) -> list[Item]:
    """Those of the units that are kept, with the number of the present ``attempt``, without what
    they were given and what came out: little enough to be read again and again."""
    found = _read_units(connection, keys, unit_ids)
    return [unit.told() | {"attempt": unit.attempt} for unit in found if unit is not None]


def read_open_work(connection: redis.Redis, keys: Keys) -> Item:
    """How many sessions and units there are in each state, of those that are open.

    Three round trips, however many there are.
    """
    ids = read_one(connection, "ZRANGEBYSCORE", keys.sessions, "+inf", "+inf") or []
    found = _read_sessions(connection, keys, list(map(text_of, ids)))
    open_sessions = [session for session in found if session is not None]
    unit_ids = [one for session in open_sessions for one in session.units]
    units = [unit for unit in _read_units(connection, keys, unit_ids) if unit is not None]
    sessions = Counter(
        "features" if session.is_feature else session.state for session in open_sessions
    )
    states = Counter(unit.state for unit in units)
    return {
        "sessions": {name: sessions[name] for name in ("pending", "active", "features")},
        "units": {
            name: states[name] for name in ("waiting", "queued", "running", "completed", "failed")
        },
    }


def _read_sessions(connection: redis.Redis, keys: Keys, ids: Sequence[str]) -> list[Session | None]:
    """In one round trip; None for what is no session, whoever has written it."""
    stored = _read_field(connection, [keys.session(one) for one in ids], "session")
    parsed = [_parsed(Session.from_json, text) for text in stored]
    pairs = zip(ids, parsed, strict=True)
    return [session if session and session.id == name else None for name, session in pairs]


def _read_units(connection: redis.Redis, keys: Keys, ids: Sequence[str]) -> list[Unit | None]:
    """Likewise."""
    stored = _read_field(connection, [keys.unit(one) for one in ids], "unit")
    return [_parsed_unit(name, text) for name, text in zip(ids, stored, strict=True)]


def _read_field(
    connection: redis.Redis, hash_keys: Sequence[str], field: str
) -> list[bytes | None]:
    with connection.pipeline(transaction=False) as pipe:
        for key in hash_keys:
            pipe.hget(key, field)
        return replies_of(pipe)


def _parsed_unit(name: str, stored: bytes | None) -> Unit | None:
    unit = _parsed(Unit.from_json, stored)
    return unit if unit and unit.id == name else None


def _parsed(parse: Callable[[bytes], T], stored: bytes | None) -> T | None:
    try:
        return parse(stored or b"")
    except ValueError:
        return None


def _readable_entry(stored: bytes | None) -> list[Item]:
    """An entry of a workspace; none if strangers have spoiled it."""
    entry = json_of(stored)
    kinds = {"value": object, "version": int, "by": str, "ms": int}
    if not isinstance(entry, dict) or entry.keys() != kinds.keys():
        return []
    is_sound = all(isinstance(entry[name], kind) for name, kind in kinds.items())
    return [entry] if is_sound and 0 <= entry["ms"] <= LAST_MS else []


def _is_wanted(session: Session, wanted: dict[str, str]) -> bool:
    return (
        session.state == wanted.get("state", session.state)
        and session.type == wanted.get("type", session.type)
        and ("ai" not in wanted or wanted["ai"] in (session.initiator, *session.participants))
    )


def _shown(session: Session) -> Item:
    """The plan is told by the units, the sizes of the workspace by the workspace."""
    return {name: value for name, value in session.told().items() if name != "workspace"}


def _unit_item(unit: Unit) -> Item:
    return unit.told() | {"inputs": unit.inputs}
