"""What becomes of what clients of a gateway say and are told while the server is away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from coordinator.gateway import ingress_writer
from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import OldClient, enroll, pattern
from tests.servers import TestServer, wait_for

pytestmark = pytest.mark.one_server

COUNT = 200


class Scene:
    """A fleet with a gateway, a speaker and a listener, on a server that can be harmed."""

    def __init__(self, server: TestServer, **settings: float) -> None:
        self.server = server
        self.fleet = RealFleet(server.url).__enter__()
        many = {"messages_per_s": 100_000, "messages_burst": 100_000}
        self.gateway = RunningGateway(self.fleet, **many, **settings)
        token = enroll(self.fleet, "Speaker", "Listener")
        self.listener = OldClient(self.gateway.address, "Listener", token)
        self.listener.hello()
        self.speaker = OldClient(self.gateway.address, "Speaker", token)
        self.speaker.hello()

    def close(self) -> None:
        self.speaker.close()
        self.listener.close()
        self.gateway.stop()
        self.fleet.__exit__()

    def say(self, first: int, last: int) -> None:
        for n in range(first, last):
            self.speaker.send("pattern_share", pattern(f"p{n}"))

    def heard(self, last: int) -> list[int]:
        """The numbers of the patterns that come, up to ``last``."""
        numbers: list[int] = []
        while not numbers or numbers[-1] != last:
            message = self.listener.receive("pattern_share")
            numbers.append(int(message.payload["pattern"]["id"][1:]))
        return numbers

    def logged(self) -> list[str]:
        return [
            message["payload"]["pattern"]["id"]
            for message in self.fleet.log()
            if message["message_type"] == "pattern_share"
        ]


@pytest.fixture
def scene(start_server: Callable[..., TestServer]) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(**settings: float) -> Scene:
        server = start_server("--appendonly", "yes", "--appendfsync", "always")
        scenes.append(Scene(server, **settings))
        return scenes[-1]

    yield make
    for each in scenes:
        each.close()


def test_a_server_that_was_killed_loses_and_doubles_nothing(
    scene: Callable[..., Scene],
) -> None:
    """Its restart begins another epoch: all say hello again, and go on where they were."""
    here = scene()
    here.say(0, COUNT)
    here.server.kill()
    here.say(COUNT, 2 * COUNT)
    here.server.start()
    here.say(2 * COUNT, 3 * COUNT)
    assert here.heard(3 * COUNT - 1) == list(range(3 * COUNT))
    assert here.logged() == [f"p{n}" for n in range(3 * COUNT)]
    assert here.gateway.metrics.rejoins >= 1
    assert here.fleet.live() == ["Listener", "Speaker"]


def test_connections_that_are_cut_lose_and_double_nothing(scene: Callable[..., Scene]) -> None:
    here = scene()
    for n in range(10):
        here.say(n * 50, n * 50 + 50)
        here.fleet.cut_connections()
    assert here.heard(499) == list(range(500))
    assert here.logged() == [f"p{n}" for n in range(500)]


def test_a_server_that_stands_still_delays_and_loses_nothing(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    here.server.pause()
    here.say(0, COUNT)
    here.server.resume()
    assert here.heard(COUNT - 1) == list(range(COUNT))
    assert here.logged() == [f"p{n}" for n in range(COUNT)]


def test_another_coordinator_takes_over_unnoticed(scene: Callable[..., Scene]) -> None:
    here = scene()
    here.say(0, COUNT)
    here.fleet.crash_coordinator()
    here.say(COUNT, 2 * COUNT)
    here.fleet.start_coordinator()
    assert here.heard(2 * COUNT - 1) == list(range(2 * COUNT))
    assert here.logged() == [f"p{n}" for n in range(2 * COUNT)]


def test_while_the_server_is_away_sockets_are_read_no_further_than_memory_goes(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingress_writer, "MAX_QUEUED_BYTES", 100_000)
    here = scene()
    here.speaker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    here.server.pause()
    here.speaker.socket.settimeout(0.5)
    said = 0
    line, rest = b"", b""
    while not rest:
        line = here.speaker.line("pattern_share", pattern(f"p{said}", filler="x" * 1000))
        try:
            here.speaker.socket.sendall(line)
            said += 1
        except TimeoutError:
            rest = line  # how much of it was taken is not known: nothing follows it
    held = here.gateway.metrics.relayed
    here.server.resume()
    assert 50 < held < 1000
    assert here.heard(said - 1) == list(range(said))


def test_nobody_logs_in_while_the_server_is_away(scene: Callable[..., Scene]) -> None:
    here = scene()
    token = enroll(here.fleet, "Late")
    here.server.kill()
    with OldClient(here.gateway.address, "Late", token) as client:
        client.log_in()
        assert client.error() == "busy"
        assert client.is_over()
    here.server.start()

    def comes_in() -> bool:
        with OldClient(here.gateway.address, "Late", token) as client:
            client.socket.sendall(client._first + client.line("hello", {}))
            return client.next().message_type == "training_sync"

    wait_for(comes_in, what="somebody to get in")


def test_a_coordinator_that_is_away_delays_a_hello(scene: Callable[..., Scene]) -> None:
    here = scene()
    token = enroll(here.fleet, "Late")
    here.fleet.stop_coordinator()
    with OldClient(here.gateway.address, "Late", token) as client:
        client.socket.sendall(client._first + client.line("hello", {}))
        client.send("pattern_share", pattern("p0"))
        wait_for(lambda: here.gateway.gateway.guests == 3, what="it to be let in")
        here.fleet.start_coordinator()
        assert client.next().message_type == "training_sync"
        assert here.heard(0) == [0]
