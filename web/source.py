"""What is read: a fleet on a server, and the time."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from coordinator.clock import Clock
from coordinator.keys import Keys


@dataclass(frozen=True)
class Source:
    """``connection`` is shared by threads: each command takes one of its pool."""

    connection: redis.Redis
    keys: Keys
    clock: Clock
