"""Records by a part of their ids, for people who remember no more of one."""

from __future__ import annotations

import redis

from coordinator.keys import Keys, Kind
from coordinator.reads import Page, index_of, rank_after, read_items
from coordinator.stored import replies_of, text_of

AT_ONCE = 5000
LOOK_MAX = 200_000
"""So many ids are looked at for one page; the next one goes on behind."""


def read_matching(
    connection: redis.Redis,
    keys: Keys,
    kind: Kind,
    text: str,
    limit: int,
    specialization: str | None = None,
    cursor: str | None = None,
    max_bytes: int | None = None,
    contributor: str | None = None,
) -> Page:
    """As ``read_records``, of the records whose id contains ``text``, whatever the case of letters.

    A page may have fewer than ``limit`` items, even none, and still a cursor: it ends after
    LOOK_MAX ids. ``total`` is the number of items that this page has, for all are not counted.
    """
    index = index_of(keys, kind, specialization, contributor)
    start = rank_after(connection, index, cursor)
    ids, last = matching_ids(connection, index, start, text, limit)
    items, read = read_items(connection, keys, kind, ids, specialization, max_bytes)
    return Page(items, ids[read - 1] if read < len(ids) else last, len(items))


def matching_ids(
    connection: redis.Redis, index: str, start: int, text: str, limit: int
) -> tuple[list[str], str | None]:
    """Those of ``index`` from rank ``start`` on, the newest first: at most ``limit`` that contain
    ``text``, and the id to go on after; None at the end.

    Most chunks have no match at all, which one look at the whole of it tells.
    """
    wanted = text.casefold()
    found: list[str] = []
    for first in range(start, start + LOOK_MAX, AT_ONCE):
        ids = _ids_in(connection, index, first)
        if wanted in "\n".join(ids).casefold():
            found += [record_id for record_id in ids if wanted in record_id.casefold()]
            if len(found) > limit:
                return found[:limit], found[limit - 1]
        if len(ids) < AT_ONCE:
            return found, None
    return found, ids[-1]


def _ids_in(connection: redis.Redis, index: str, first: int) -> list[str]:
    """AT_ONCE ids from rank ``first`` on, the newest first."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.zrevrange(index, first, first + AT_ONCE - 1)
        (ids,) = replies_of(pipe)
    return [text_of(record_id) for record_id in ids or []]
