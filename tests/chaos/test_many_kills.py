"""At least 20 kill -9 of the coordinator, and of the server, while 2,000 numbered messages come.

The final state equals the model's, message by message. Each run prints its seed.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.kills import Storm, reconnected
from tests.servers import TestServer, wait_for
from tests.victim import PHASES

pytestmark = pytest.mark.timeout(300)

StartServer = Callable[..., TestServer]
MakeStorm = Callable[[TestServer], Storm]


@pytest.fixture
def make_storm() -> Iterator[MakeStorm]:
    storms: list[Storm] = []

    def make(server: TestServer) -> Storm:
        seed = int(os.environ.get("TEST_SEED", random.randrange(10**6)))
        storms.append(Storm(server, count=2000, seed=seed))
        return storms[-1]

    yield make
    for storm in storms:
        storm.close()


def test_killed_without_a_standby(start_server: StartServer, make_storm: MakeStorm) -> None:
    storm = make_storm(start_server())
    for number in range(24):
        storm.kill_in(PHASES[number % 4], f"victim-{number}")
    storm.finish()
    assert storm.kills == dict.fromkeys(PHASES, 6)
    assert storm.is_right()


def test_killed_while_others_stand_by(start_server: StartServer, make_storm: MakeStorm) -> None:
    """Two live at any time, each to die when its turn has come."""
    storm = make_storm(start_server())
    phases = [PHASES[number % 4] for number in range(24)]
    living = [
        storm.start(f"victim-{number}", phases[number], storm.chance.randint(1, 3))
        for number in range(2)
    ]
    deaths = 0
    started = 2

    def fed() -> bool:
        nonlocal deaths, started
        for process in [process for process in living if process.poll() is not None]:
            assert process.returncode == -signal.SIGKILL
            living.remove(process)
            deaths += 1
            if started < len(phases):
                name, nth = f"victim-{started}", storm.chance.randint(1, 3)
                living.append(storm.start(name, phases[started], nth))
                started += 1
        if not storm.left_over():
            storm.send(storm.chance.randint(10, 60))
        return deaths == len(phases)

    wait_for(fed, limit_s=200, what="all of them to die")
    storm.finish()
    assert storm.is_right()


def test_the_server_is_killed_and_started_again(
    start_server: StartServer, make_storm: MakeStorm
) -> None:
    """With an append-only file, kill -9 of the process loses nothing that was acknowledged."""
    server = start_server("--appendonly", "yes", "--appendfsync", "everysec")
    storm = make_storm(server)
    storm.start("one")
    storm.start("two")
    for _ in range(8):
        storm.send(200)
        half = storm.left_over() // 2
        wait_for(lambda half=half: storm.left_over() <= half, what="half of it to be taken")
        server.restart()
        reconnected(storm)
    storm.finish()
    assert storm.is_right()
    epochs = storm.client.hget("coord:fleet", "epochs")
    assert epochs is not None
    assert epochs.count(b"[") >= 3


def test_a_leader_is_stopped_and_goes_on(start_server: StartServer, make_storm: MakeStorm) -> None:
    """SIGSTOP for longer than the leader lease, again and again, among three."""
    storm = make_storm(start_server())
    processes = {name: storm.start(name) for name in ("one", "two", "three")}

    def leader() -> str:
        token = storm.client.get("coord:leader")
        return token.decode().split("/")[0] if token else ""

    for _ in range(10):
        storm.send(storm.chance.randint(50, 200))
        stopped = wait_for(leader, what="a leader")
        os.kill(processes[stopped].pid, signal.SIGSTOP)
        wait_for(lambda stopped=stopped: leader() not in ("", stopped), what="another to take over")
        os.kill(processes[stopped].pid, signal.SIGCONT)
    storm.finish()
    assert storm.is_right()
