"""What is kept of the numbered streams, and what is given up when the server's memory is full."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import redis

from coordinator.archive_marks import leave_overrun, leave_silent, stored_by_all
from coordinator.context import Context
from coordinator.effects import Effect, Write
from coordinator.fleet import Numbered
from coordinator.history import Cursor
from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.settings import Settings

FEWEST_KEPT = 100
LOOKED_AT = 10
"""So many entries of strangers are passed over where one of ours is looked for."""


class Rule(NamedTuple):
    """Kept are the last ``keep`` entries and those younger than ``keep_s``, up to ``max_bytes``;
    and what comes after ``stored``, up to ``unstored_max_bytes``, unless that is None."""

    keep: int
    keep_s: float
    max_bytes: int
    stored: int | None = None
    unstored_max_bytes: int = 0


def trims(connection: redis.Redis, context: Context) -> list[Effect]:
    """Trim the log, the events, every inbox that grew by much, and the list of sessions."""
    fleet, keys, settings = context.fleet, context.keys, context.settings
    effects = _trim_history(connection, context)
    mail = Rule(settings.inbox_keep, 0, settings.inbox_max_bytes)
    for ai, inbox in fleet.members.items():
        if inbox.total_bytes - inbox.checked_bytes > settings.inbox_max_bytes // 8:
            inbox.checked_bytes = inbox.total_bytes
            key = keys.inbox(ai)
            effects += _cut(key, last_droppable(connection, key, inbox, mail, context.now_ms))
    ended = ("-inf", context.now_ms - int(settings.session_keep_s * 1000))
    if connection.zcount(keys.sessions, *ended):
        effects.append(Write(("ZREMRANGEBYSCORE", keys.sessions, *ended)))
    return effects


def _trim_history(connection: redis.Redis, context: Context) -> list[Effect]:
    """The log and the events, of which is kept what an archive has still to store."""
    fleet, keys, settings = context.fleet, context.keys, context.settings
    effects = leave_silent(context)
    rule = Rule(settings.log_keep, settings.log_keep_s, settings.log_max_bytes)
    rule = rule._replace(unstored_max_bytes=settings.archive_max_bytes)
    stored = stored_by_all(fleet)
    log_rule = rule._replace(stored=stored and stored.log)
    events_rule = rule._replace(stored=stored and stored.events)
    cut = Cursor(
        fleet.epoch,
        last_droppable(connection, keys.log, fleet.log, log_rule, context.now_ms),
        last_droppable(connection, keys.events, fleet.events, events_rule, context.now_ms),
    )
    effects += leave_overrun(cut, context)
    return [*effects, *_cut(keys.log, cut.log), *_cut(keys.events, cut.events)]


def _cut(key: str, n: int) -> list[Write]:
    return [Write(("XTRIM", key, "MINID", f"{n + 1}-0"))] if n else []


def last_droppable(
    connection: redis.Redis, key: str, stream: Numbered, rule: Rule, now_ms: int
) -> int:
    """The number of the newest entry that need not be kept; 0 when all must be.

    Numbers and bytes grow along the stream, and so do ages as long as clocks agree: it is found by
    bisection. What claims to be of the future was written by a clock that was ahead, and is as
    old as what is far behind.
    """

    def read(n: int) -> tuple[int, bool]:
        entries = cast("list[Any]", connection.xrange(key, f"{n}-0", "+", count=LOOKED_AT))
        ours = [entry for entry in entries if _is_ours(entry[1])]
        if not ours:
            return stream.n, False
        entry_id, fields = ours[0]
        number = stream_number(entry_id)
        is_old = abs(now_ms - int(fields[b"ms"])) > rule.keep_s * 1000
        kept_bytes = stream.total_bytes - int(fields[b"bytes"])
        is_surplus = number <= stream.n - rule.keep
        is_stored = rule.stored is None or number <= rule.stored
        may_go = is_stored or kept_bytes >= rule.unstored_max_bytes
        return number, may_go and ((is_surplus and is_old) or kept_bytes >= rule.max_bytes)

    low, droppable = read(0)
    if not droppable:
        return 0
    high = stream.n
    while high - low > 1:
        middle = (low + high) // 2
        number, droppable = read(middle)
        if droppable:
            low = max(middle, min(number, high - 1))
        else:
            high = middle
    return low


def _is_ours(fields: dict[bytes, bytes]) -> bool:
    """Whether it says how old it is, and how much came before it."""
    return all(fields.get(name, b"").isdigit() for name in (b"ms", b"bytes"))


def relieve(connection: redis.Redis, keys: Keys, settings: Settings) -> None:
    """Make room at maxmemory: halve the history. XTRIM alone passes when writes are refused."""
    for key in (keys.log, keys.events, keys.dead):
        length = connection.xlen(key)
        connection.xtrim(
            key, maxlen=max(FEWEST_KEPT, min(settings.log_keep, length // 2)), approximate=False
        )
