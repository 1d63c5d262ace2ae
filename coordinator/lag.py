"""How far the coordinator is behind: what waits in the ingress streams, and for how long."""

from __future__ import annotations

from typing import NamedTuple

import redis

from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.stored import replies_of, text_of

STREAMS_AT_ONCE = 100
"""Of so many the oldest entry is read at once: each may have a whole message in it."""


class Lag(NamedTuple):
    """How many messages wait in all ingress streams together, and for how long the oldest has."""

    entries: int
    oldest_age_ms: int


def read_lag(connection: redis.Redis, keys: Keys) -> Lag:
    """Costs two round trips, and one for each STREAMS_AT_ONCE streams in which something waits."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.smembers(keys.doors)
        (seconds, micros), doors = replies_of(pipe)
        streams = [keys.ingress(text_of(door)) for door in doors or ()]
        for stream in streams:
            pipe.xlen(stream)
        lengths = [length or 0 for length in replies_of(pipe)]
    now_ms = seconds * 1000 + micros // 1000
    waiting = [stream for stream, length in zip(streams, lengths, strict=True) if length]
    return Lag(sum(lengths), max(0, now_ms - _oldest_ms(connection, waiting, now_ms)))


def _oldest_ms(connection: redis.Redis, streams: list[str], now_ms: int) -> int:
    """When the oldest entry of all came; of later streams only what is older still is read."""
    oldest_ms = now_ms
    for begin in range(0, len(streams), STREAMS_AT_ONCE):
        with connection.pipeline(transaction=False) as pipe:
            for stream in streams[begin : begin + STREAMS_AT_ONCE]:
                pipe.xrange(stream, "-", f"({oldest_ms}-0", count=1)
            found = [entries[0][0] for entries in replies_of(pipe) if entries]
        oldest_ms = min([oldest_ms, *map(stream_number, found)])
    return oldest_ms
