"""What is kept of the numbered streams, and what is given up when the server's memory is full."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import redis

from coordinator.fleet import Fleet, Numbered
from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.settings import Settings

FEWEST_KEPT = 100


class Rule(NamedTuple):
    """Kept are the last ``keep`` entries and those younger than ``keep_s``, up to ``max_bytes``."""

    keep: int
    keep_s: float
    max_bytes: int


def trims(
    connection: redis.Redis, keys: Keys, fleet: Fleet, settings: Settings, now_ms: int
) -> list[tuple[Any, ...]]:
    """The commands that trim the log, the events, every inbox that grew by much, and the list of
    sessions."""
    history = Rule(settings.log_keep, settings.log_keep_s, settings.log_max_bytes)
    mail = Rule(settings.inbox_keep, 0, settings.inbox_max_bytes)
    due = [(keys.log, fleet.log, history), (keys.events, fleet.events, history)]
    for ai, inbox in fleet.members.items():
        if inbox.total_bytes - inbox.checked_bytes > settings.inbox_max_bytes // 8:
            inbox.checked_bytes = inbox.total_bytes
            due.append((keys.inbox(ai), inbox, mail))
    commands: list[tuple[Any, ...]] = []
    for key, stream, rule in due:
        cut = last_droppable(connection, key, stream, rule, now_ms)
        if cut:
            commands.append(("XTRIM", key, "MINID", f"{cut + 1}-0"))
    ended = ("-inf", now_ms - int(settings.session_keep_s * 1000))
    if connection.zcount(keys.sessions, *ended):
        commands.append(("ZREMRANGEBYSCORE", keys.sessions, *ended))
    return commands


def last_droppable(
    connection: redis.Redis, key: str, stream: Numbered, rule: Rule, now_ms: int
) -> int:
    """The number of the newest entry that need not be kept; 0 when all must be.

    Numbers and bytes grow along the stream, and so do ages as long as clocks agree: it is found by
    bisection. What claims to be of the future was written by a clock that was ahead, and is as
    old as what is far behind.
    """

    def read(n: int) -> tuple[int, bool]:
        entries = cast("list[Any]", connection.xrange(key, f"{n}-0", "+", count=1))
        if not entries:
            return stream.n, False
        entry_id, fields = entries[0]
        number = stream_number(entry_id)
        is_old = abs(now_ms - int(fields[b"ms"])) > rule.keep_s * 1000
        kept_bytes = stream.total_bytes - int(fields[b"bytes"])
        is_surplus = number <= stream.n - rule.keep
        return number, (is_surplus and is_old) or kept_bytes >= rule.max_bytes

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


def relieve(connection: redis.Redis, keys: Keys, settings: Settings) -> None:
    """Make room at maxmemory: halve the history. XTRIM alone passes when writes are refused."""
    for key in (keys.log, keys.events, keys.dead):
        length = connection.xlen(key)
        connection.xtrim(
            key, maxlen=max(FEWEST_KEPT, min(settings.log_keep, length // 2)), approximate=False
        )
