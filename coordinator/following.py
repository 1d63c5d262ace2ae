"""Following a fleet's history through outages of its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import redis

from coordinator.history import Follower, Line
from coordinator.server_errors import is_outage

BLOCK_MS = 500
AWAY_S = 0.5


def follow_lines(
    follower: Follower,
    pause: Callable[[float], object],
    on_outage: Callable[[redis.RedisError | None], None],
) -> Iterator[list[Line]]:
    """What is new, for ever; an empty list now and then.

    An outage of the server is waited out by ``pause``, which is given seconds. ``on_outage`` is
    called with its error once it begins, with None once it is over. Raises what does not pass, such
    as a refused login.
    """
    is_away = False
    while True:
        lines: list[Line] = []
        try:
            lines = follower.read(BLOCK_MS)
        except redis.RedisError as error:
            if not is_outage(error):
                raise
            if not is_away:
                on_outage(error)
            is_away = True
            pause(AWAY_S)
        else:
            if is_away:
                on_outage(None)
            is_away = False
        yield lines
