"""Which records there are, the newest first: all, or those that somebody looks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import redis

from coordinator.errors import BadMessage
from coordinator.keys import Keys, Kind
from coordinator.stored import replies_of, text_of

AT_ONCE = 5000
LOOK_MAX = 200_000
"""So many ids are looked at for one page; the next one goes on behind."""


class Wanted(NamedTuple):
    """Records of a ``specialization``, in which a ``contributor`` had a part, whose ids contain
    ``search``; None or "" for whatever there is."""

    specialization: str | None = None
    contributor: str | None = None
    search: str = ""


EVERY_RECORD = Wanted()


class RecordIds(NamedTuple):
    """``cursor`` is the id to go on after, None at the end. ``total`` is how many there are in all,
    whatever is searched for."""

    ids: list[str]
    cursor: str | None
    total: int


def read_record_ids(
    connection: redis.Redis,
    keys: Keys,
    kind: Kind,
    wanted: Wanted,
    limit: int,
    cursor: str | None = None,
) -> RecordIds:
    """At most ``limit``, the newest first. Of a contributor they are of any specialization.

    A page of a search may have fewer ids, even none, and still a cursor: it ends after LOOK_MAX.
    BadMessage for a cursor that is gone.
    """
    if wanted.contributor is None:
        index = keys.records(kind, wanted.specialization)
    else:
        index = keys.records_of(kind, wanted.contributor)
    start = rank_after(connection, index, cursor)
    at_once = AT_ONCE if wanted.search else limit + 1
    found: list[str] = []
    for first in range(start, start + LOOK_MAX, at_once):
        ids, total = _read_index(connection, index, first, at_once)
        found += containing(wanted.search, ids)
        if len(found) > limit:
            return RecordIds(found[:limit], found[limit - 1], total)
        if len(ids) < at_once:
            return RecordIds(found, None, total)
    return RecordIds(found, ids[-1], total)


def containing(search: str, names: Iterable[str]) -> list[str]:
    """Those that have ``search`` in them, in upper or lower case."""
    folded = search.casefold()
    return [name for name in names if folded in name.casefold()]


def rank_after(connection: redis.Redis, index: str, cursor: str | None) -> int:
    """Where a page goes on in ``index``, the newest first. BadMessage for a cursor that is gone."""
    if cursor is None:
        return 0
    rank = cast("int | None", connection.zrevrank(index, cursor))
    if rank is None:
        raise BadMessage(
            "bad_payload",
            f"payload.cursor {cursor!r} is no longer there; begin again without a cursor",
            "payload.cursor",
        )
    return rank + 1


def _read_index(
    connection: redis.Redis, index: str, first: int, count: int
) -> tuple[list[str], int]:
    """``count`` ids from rank ``first`` on, the newest first, and how many there are in all."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.zrevrange(index, first, first + count - 1)
        pipe.zcard(index)
        ids, total = replies_of(pipe)
    return [text_of(record_id) for record_id in ids or []], total or 0
