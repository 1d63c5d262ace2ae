"""Real processes: one kill -9 of the coordinator in each phase. ``tests/chaos`` has many more."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.kills import Storm
from tests.servers import TestServer
from tests.victim import PHASES


def test_killed_once_in_each_phase(start_server: Callable[..., TestServer]) -> None:
    storm = Storm(start_server(), count=300, seed=random.randrange(10**6))
    try:
        for number, phase in enumerate(PHASES):
            storm.kill_in(phase, f"victim-{number}")
        storm.finish()
        assert storm.kills == dict.fromkeys(PHASES, 1)
        assert storm.is_right()
    finally:
        storm.close()
