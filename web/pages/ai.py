"""One AI: what it is, what it has done and shared, and what it takes part in."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.presence import read_away, read_presence
from coordinator.reads import Item, read_ai, with_work
from coordinator.session_reads import read_sessions
from coordinator.stored import replies_of, text_of
from reports.palette import colours_of
from web.answers import ApiError
from web.fleet_reader import FleetReader
from web.live.told import Filter
from web.pages.ais import away_in_words, in_words
from web.pages.look import Look
from web.pages.records import Row, read_rows
from web.parameters import AiQuery

RECORDS_SHOWN = 5
SESSIONS_SHOWN = 10
SESSIONS_LOOKED_AT = 500
LINES_SHOWN = 20


class Shared(NamedTuple):
    """The newest records of a kind, and how many there are in all."""

    rows: list[Row]
    total: int


def read_one_ai(look: Look, query: AiQuery) -> Item:
    """One that is there, or once was. Raises ApiError ``not_found``."""
    connection, keys, now_ms = look.reader.connection, look.reader.keys, look.reader.clock.now_ms()
    ai = _read_profile(look, query.ai_id, now_ms)
    if ai is None:
        detail = f"no AI {query.ai_id!r} is there, and none of that name is known"
        raise ApiError("not_found", detail, "ai_id")
    wanted = {"ai": query.ai_id}
    return {
        "title": query.ai_id,
        "ai": ai,
        "now_ms": now_ms,
        "colours": colours_of([ai["specialization"]]),
        "shared": _read_shared(look.reader, query.ai_id),
        "sessions": read_sessions(
            connection, keys, SESSIONS_SHOWN, wanted, look_max=SESSIONS_LOOKED_AT
        ),
        "left": next(
            (one for one in look.churn.newest if one.ai == query.ai_id and not one.has_joined), None
        ),
        "lines": look.feed.last(LINES_SHOWN, Filter(ai=query.ai_id).passes).lines
        if look.visitor.sees_all
        else [],
    }


def _read_profile(look: Look, ai_id: str, now_ms: int) -> Item | None:
    """``is_here`` says whether it is; else it is as it was when it last joined."""
    connection, keys = look.reader.connection, look.reader.keys
    here = with_work(connection, keys, read_ai(connection, keys, ai_id).items)
    if here:
        presence = read_presence(connection, keys, [ai_id])
        return in_words(here[0], presence[ai_id], now_ms) | {"is_here": True}
    away = read_away(connection, keys, ai_id)
    return away and away_in_words(away) | {"is_here": False}


def _read_shared(reader: FleetReader, ai_id: str) -> dict[Kind, Shared]:
    """What it had a part in, by kind."""
    with reader.connection.pipeline(transaction=False) as pipe:
        for kind in KINDS:
            index = reader.keys.records_of(kind, ai_id)
            pipe.zcard(index)
            pipe.zrevrange(index, 0, RECORDS_SHOWN - 1)
        replies = replies_of(pipe)
    totals, found = replies[::2], replies[1::2]
    keys = [
        RecordKey(kind, text_of(record_id))
        for kind, ids in zip(KINDS, found, strict=True)
        for record_id in ids or ()
    ]
    rows = read_rows(reader, keys)
    return {
        kind: Shared([row for row in rows if row.key.kind == kind], total or 0)
        for kind, total in zip(KINDS, totals, strict=True)
    }
