"""What is read: a fleet on a server, who is enrolled in it, and the time."""

from __future__ import annotations

import redis

from coordinator.clock import Clock
from coordinator.keys import Keys
from web.enrolled import Enrolled


class FleetReader:
    """``connection`` is shared by threads: each command takes one of its pool."""

    def __init__(self, connection: redis.Redis, keys: Keys, clock: Clock) -> None:
        self.connection = connection
        self.keys = keys
        self.clock = clock
        self.enrolled = Enrolled(connection, keys)
