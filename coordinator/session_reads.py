"""Reads of sessions and their units, in the shapes that clients and people see."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import redis

from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import HUB, OPERATOR
from coordinator.reads import Item, Page, rank_after
from coordinator.work import FEATURE_REQUEST

READ_AT_ONCE = 50
LETTERS_LOOKED_AT = 1000


def read_sessions(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    wanted: dict[str, str] | None = None,
    cursor: str | None = None,
    look_max: int | None = None,
) -> Page:
    """Sessions, the open ones first, then those that ended last; ``cursor`` is the id to go on
    after. ``wanted`` may give state, type and ai (who takes part, or asked for it). After about
    ``look_max`` that were looked at the page ends, whatever was found.

    BadMessage for a cursor that is gone. ``total`` counts all sessions that are kept.
    """
    start = rank_after(connection, keys.sessions, cursor)
    total = connection.zcard(keys.sessions)
    end = total if look_max is None else start + look_max
    items: list[Item] = []
    last_id = ""
    while start < min(total, end) and len(items) < limit:
        chunk = cast(
            "list[bytes]", connection.zrevrange(keys.sessions, start, start + READ_AT_ONCE - 1)
        )
        if not chunk:
            break
        found = _read_items(connection, [keys.session(one.decode()) for one in chunk], "session")
        for session_id, item in zip(chunk, found, strict=True):
            start += 1
            last_id = session_id.decode()
            if item is not None and _is_wanted(item, wanted or {}):
                items.append(_shown(item))
                if len(items) == limit:
                    break
    return Page(items, last_id if last_id and start < total else None, total)


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
    session = _read_item(connection, keys.session(session_id), "session")
    if session is None:
        return None
    workspace = cast("dict[bytes, bytes]", connection.hgetall(keys.workspace(session_id)))
    return _shown(session) | {
        "units": read_units(connection, keys, session["units"]),
        "workspace": {name.decode(): json.loads(value) for name, value in workspace.items()},
    }


def read_progress(connection: redis.Redis, keys: Keys, session_id: str) -> Item | None:
    """A session with its ``units``, but neither their outputs nor the workspace: little enough to
    be read again and again. None if it is not kept (any more)."""
    session = _read_item(connection, keys.session(session_id), "session")
    if session is None:
        return None
    units = _read_items(connection, [keys.unit(one) for one in session["units"]], "unit")
    return _shown(session) | {"units": [unit for unit in units if unit is not None]}


def read_units_page(
    connection: redis.Redis, keys: Keys, session_id: str, limit: int, cursor: str | None = None
) -> Page:
    """The units of a session in the order of its plan; ``cursor`` is the id to go on after."""
    session = _read_item(connection, keys.session(session_id), "session")
    ids: list[str] = session["units"] if session else []
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
    session = _read_item(connection, keys.session(session_id), "session")
    if session is None:
        raise BadMessage(
            "not_found",
            f"payload.filter.session_id {session_id!r} names no session that is kept; query "
            "what=sessions lists them",
            "payload.filter.session_id",
        )
    if reader not in (None, session["initiator"], *session["participants"]):
        raise BadMessage(
            "not_a_participant",
            f"{reader} takes no part in session {session_id}, which is that of "
            f"{', '.join(session['participants'])}",
            "payload.filter.session_id",
        )
    key = keys.workspace(session_id)
    names = sorted(one.decode() for one in cast("list[bytes]", connection.hkeys(key)))
    later = [name for name in names if cursor is None or name > cursor]
    shown = later[:limit]
    stored = cast("list[bytes | None]", connection.hmget(key, shown)) if shown else []
    items = [
        {"key": name, **json.loads(value)}
        for name, value in zip(shown, stored, strict=True)
        if value
    ]
    return Page(items, shown[-1] if len(later) > limit else None, len(names))


def read_units(connection: redis.Redis, keys: Keys, unit_ids: list[str]) -> list[Item]:
    """The units as they are stored, with the number of the present ``attempt`` and ``output``."""
    with connection.pipeline(transaction=False) as pipe:
        for unit_id in unit_ids:
            pipe.hmget(keys.unit(unit_id), "unit", "output")
        replies = pipe.execute() if unit_ids else []
    units = []
    for stored, output in replies:
        if stored is not None:
            unit = json.loads(stored)
            unit["attempt"] = len(unit["attempts"])
            unit["output"] = json.loads(output) if output else None
            units.append(unit)
    return units


def read_unit_states(connection: redis.Redis, keys: Keys, unit_ids: Sequence[str]) -> list[Item]:
    """Those of the units that are kept, with the number of the present ``attempt``, without what
    they were given and what came out: little enough to be read again and again."""
    found = _read_items(connection, [keys.unit(one) for one in unit_ids], "unit")
    return [
        {name: value for name, value in unit.items() if name != "inputs"}
        | {"attempt": len(unit["attempts"])}
        for unit in found
        if unit is not None
    ]


def read_open_work(connection: redis.Redis, keys: Keys) -> Item:
    """How many sessions and units there are in each state, of those that are open.

    Three round trips, however many there are.
    """
    ids = cast("list[bytes]", connection.zrangebyscore(keys.sessions, "+inf", "+inf"))
    found = _read_items(connection, [keys.session(one.decode()) for one in ids], "session")
    open_sessions = [session for session in found if session is not None]
    unit_keys = [keys.unit(one) for session in open_sessions for one in session["units"]]
    units = [unit for unit in _read_items(connection, unit_keys, "unit") if unit is not None]
    sessions = Counter(
        "features" if session["type"] == FEATURE_REQUEST else session["state"]
        for session in open_sessions
    )
    states = Counter(unit["state"] for unit in units)
    return {
        "sessions": {name: sessions[name] for name in ("pending", "active", "features")},
        "units": {
            name: states[name] for name in ("waiting", "queued", "running", "completed", "failed")
        },
    }


def _read_item(connection: redis.Redis, key: str, field: str) -> Item | None:
    return _read_items(connection, [key], field)[0]


def _read_items(connection: redis.Redis, hash_keys: Sequence[str], field: str) -> list[Item | None]:
    """The JSON in ``field`` of each hash, None where there is none; one round trip."""
    if not hash_keys:
        return []
    with connection.pipeline(transaction=False) as pipe:
        for key in hash_keys:
            pipe.hget(key, field)
        replies = pipe.execute()
    return [json.loads(stored) if stored else None for stored in replies]


def _is_wanted(item: Item, wanted: dict[str, str]) -> bool:
    concerned: list[Any] = [item["initiator"], *item["participants"]]
    return (
        item["state"] == wanted.get("state", item["state"])
        and item["type"] == wanted.get("type", item["type"])
        and ("ai" not in wanted or wanted["ai"] in concerned)
    )


def _shown(item: Item) -> Item:
    """The plan is told by the units, the sizes of the workspace by the workspace."""
    return {name: value for name, value in item.items() if name not in ("plan", "workspace")}
