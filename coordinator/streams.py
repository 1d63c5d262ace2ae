"""The two streams of a fleet's history: how far they are numbered."""

from __future__ import annotations

from typing import Literal, cast

import redis

from coordinator.keys import Keys
from coordinator.messages import stream_number

Source = Literal["log", "events"]


def last_number(connection: redis.Redis, keys: Keys, source: Source) -> int:
    """The number that was given last, even if retention has cut it since, or the stream is gone."""
    stored = cast("bytes | None", connection.hget(keys.fleet, f"{source}_n"))
    try:
        info = connection.xinfo_stream(keys.log if source == "log" else keys.events)
    except redis.ResponseError as error:
        if "no such key" not in str(error).lower():
            raise
        return int(stored or 0)
    return max(int(stored or 0), stream_number(info["last-generated-id"]))
