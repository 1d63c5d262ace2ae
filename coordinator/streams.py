"""The two streams of a fleet's history: how far they are numbered."""

from __future__ import annotations

from typing import Literal, cast

import redis

from coordinator.keys import Keys
from coordinator.messages import stream_number
from coordinator.stored import whole_number

Source = Literal["log", "events"]


def last_number(connection: redis.Redis, keys: Keys, source: Source) -> int:
    """The number that was given last, even if retention has cut it since, or the stream is gone."""
    stored = cast("bytes | None", connection.hget(keys.fleet, f"{source}_n"))
    key = keys.log if source == "log" else keys.events
    return max(whole_number(stored), last_generated(connection, key))


def last_generated(connection: redis.Redis, key: str) -> int:
    """The number that the stream itself remembers as its last; 0 if there is no stream."""
    try:
        info = connection.xinfo_stream(key)
    except redis.ResponseError as error:
        if is_missing(error):
            return 0
        raise
    return stream_number(info["last-generated-id"])


def is_missing(error: Exception) -> bool:
    """Whether the server says that there is no such stream."""
    return isinstance(error, redis.ResponseError) and "no such key" in str(error).lower()
