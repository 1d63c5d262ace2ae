"""``/healthz`` and ``/readyz``: whether this process runs, and whether the fleet takes messages."""

from __future__ import annotations

from collections.abc import Callable

import redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coordinator.lag import read_lag
from web.cached import Cached
from web.fleet_reader import FleetReader

LONGEST_WAIT_S = 10.0
"""A fleet in which a message has waited for longer is not ready."""


def healthz_endpoint(_: FleetReader) -> Callable[[Request], Response]:
    """This process answers; it says nothing of the fleet."""
    return lambda request: JSONResponse({"status": "ok"})


def readyz_endpoint(reader: FleetReader) -> Callable[[Request], Response]:
    """200 if the fleet takes messages and deals with them in time, else 503 with ``reasons``, one
    sentence each."""
    read = Cached(lambda: _reasons(reader), reader.clock)

    def readyz(request: Request) -> Response:
        reasons = read.get()
        body = {"ready": not reasons, "reasons": reasons}
        return JSONResponse(body, status_code=503 if reasons else 200)

    return readyz


def _reasons(reader: FleetReader) -> list[str]:
    """Why the fleet is not ready; empty if it is."""
    connection, keys = reader.connection, reader.keys
    try:
        is_active = connection.exists(keys.leader)
        oldest_age_s = read_lag(connection, keys).oldest_age_ms / 1000
    except redis.RedisError as error:
        return [f"the Redis server does not answer as it should ({type(error).__name__})"]
    reasons = []
    if not is_active:
        reasons.append("no coordinator is active: run `coord serve`")
    if oldest_age_s > LONGEST_WAIT_S:
        reasons.append(
            f"a message has waited for {oldest_age_s:.0f} s, and {LONGEST_WAIT_S:.0f} s is the "
            "most: the coordinator is behind"
        )
    return reasons
