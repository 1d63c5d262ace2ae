"""Commits that are interrupted in each phase, come late, or come twice: one effect each.

The final state is held against a model that knows nothing of the coordinator. Each guard is then
taken out by a patch, and the state must be wrong: a test that cannot fail shows nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from coordinator.fleet import Fleet
from coordinator.lease import Lease
from tests.faults import PHASES, Faults, Phase
from tests.fleet import FleetUnderTest, Stop
from tests.model import Sent, expected, observed
from tests.servers import TestServer

SENDERS = ("a", "b", "c")
SEED = 20_240_229
SECOND = 3
"""Which commit is the second of messages: between it and the first the duties are done."""


class Play:
    """A fleet of three, the messages that they send, and the state that these must make."""

    def __init__(self, connection: Redis, count: int = 24, seed: int = SEED) -> None:
        self.fleet = FleetUnderTest(connection, batch_max_messages=5, lease_s=3600)
        self.fleet.join(*SENDERS)
        self.messages = list(messages(count, seed))
        self._sent: list[Sent] = []
        self.path = str(connection.get_connection_kwargs()["path"])
        self._clients: list[Redis] = []

    def send(self, count: int | None = None) -> None:
        for message in self.messages[:count]:
            self.fleet.say(
                message.sender, message.message_type, message.payload, message.target, n=message.n
            )
            self._sent.append(message)
        del self.messages[: len(self.messages) if count is None else count]

    def coordinator(self, name: str, faults: Faults) -> Any:
        """Another coordinator, on a connection with these faults; it takes over."""
        self._clients.append(faults.client(self.path))
        return self.fleet.another(name, self._clients[-1])

    def take_over(self, name: str, faults: Faults) -> Any:
        self.fleet.redis.delete(self.fleet.keys.leader)
        self.fleet.coordinator.active = False
        coordinator = self.coordinator(name, faults)
        phase, faults.phase = faults.phase, ""
        assert coordinator.take_over()
        faults.phase = phase
        return coordinator

    def finish(self, coordinator: Any) -> None:
        """The real loop, until nothing is left to take."""
        keys = [self.fleet.keys.ingress(sender) for sender in SENDERS]
        done = lambda: not any(self.fleet.redis.xlen(key) for key in keys)  # noqa: E731
        coordinator.run(Stop(done))

    def is_right(self) -> bool:
        return observed(self.fleet.redis, SENDERS) == expected(self._sent)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def messages(count: int, seed: int) -> Iterator[Sent]:
    """Shares of patterns to all, and of others to one, and heartbeats."""
    chance = random.Random(seed)
    numbers = dict.fromkeys(SENDERS, 1)
    for value in range(count):
        sender = chance.choice(SENDERS)
        numbers[sender] += 1
        n = numbers[sender]
        kind = chance.random()
        if kind < 0.5:
            yield Sent(sender, n, f"{sender}-shared{chance.randrange(4)}", value)
        elif kind < 0.8:
            target = chance.choice(SENDERS)
            yield Sent(sender, n, f"{sender}-own{chance.randrange(2)}", value, target)
        else:
            yield Sent(sender, n, load=chance.randint(1, 99) / 100)


@pytest.fixture
def play(real_redis: Redis) -> Iterator[Play]:
    play = Play(real_redis)
    yield play
    play.close()


def test_the_model_agrees_when_nothing_goes_wrong(play: Play) -> None:
    play.send()
    play.finish(play.fleet.coordinator)
    assert observed(play.fleet.redis, SENDERS).left_over == 0
    assert play.is_right()


@pytest.mark.parametrize(
    "harm",
    [
        lambda r: r.hincrby("coord:pattern:a-shared1", "revision", 1),
        lambda r: r.hset("coord:pattern:a-shared1", "contributor", "nobody"),
        lambda r: r.delete("coord:pattern:a-shared1"),
        lambda r: r.xdel("coord:log", "9-0"),
        lambda r: r.xdel("coord:inbox:a", "2-0"),
        lambda r: r.hincrby("coord:totals", "heartbeat", 1),
        lambda r: r.hset("coord:ai:a", "load", 7),
        lambda r: r.incr("coord:instance:a/a.1"),
        lambda r: r.xadd("coord:ingress:a", {"body": "x"}),
        lambda r: r.xadd("coord:events", {"x": "x"}, id="99-0"),
    ],
)
def test_the_model_sees_each_kind_of_harm(play: Play, harm: Any) -> None:
    play.send()
    play.finish(play.fleet.coordinator)
    harm(play.fleet.redis)
    try:
        right = play.is_right()
    except AssertionError:
        right = False
    assert not right


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("phase", PHASES)
def test_a_commit_that_is_interrupted(play: Play, phase: Phase, nth: int) -> None:
    faults = Faults(phase, nth)
    coordinator = play.take_over("coordinator-2", faults)
    play.send()
    play.finish(coordinator)
    assert faults.struck
    assert play.is_right()


@pytest.mark.parametrize("phase", PHASES)
def test_a_commit_that_is_interrupted_and_another_takes_over(play: Play, phase: Phase) -> None:
    faults = Faults(phase, SECOND)
    play.send()
    first = play.take_over("coordinator-2", faults)
    while not faults.struck:
        first.step()
    second = play.take_over("coordinator-3", Faults())
    play.finish(second)
    assert play.is_right()


def late_exec(play: Play) -> bytes:
    """An EXEC comes after its sender gave up, read afresh and committed again; its answer."""
    faults = Faults("late", SECOND)
    coordinator = play.take_over("coordinator-2", faults)
    play.send()
    play.finish(coordinator)
    assert faults.struck
    return faults.deliver()


def late_exec_between(play: Play) -> bytes:
    """The same, but it comes after the reload, before the retry."""
    faults = Faults("late", SECOND)
    coordinator = play.take_over("coordinator-2", faults)
    play.send()
    while not faults.struck:
        coordinator.step()
    assert not coordinator.active
    assert coordinator.take_over()
    answer = faults.deliver()
    play.finish(coordinator)
    return answer


def stopped_leader(play: Play) -> None:
    """A leader is stopped before its EXEC; another takes over; then it goes on."""

    def meanwhile() -> None:
        second = play.take_over("coordinator-3", Faults())
        play.finish(second)
        second.active = True

    faults = Faults("before EXEC", SECOND, before_exec=meanwhile)
    first = play.take_over("coordinator-2", faults)
    play.send()
    while first.active and not faults.struck:
        first.step()
    first.step()


def lost_reply(play: Play) -> None:
    """The reply to an XADD is lost, and redis-py sends it a second time by itself."""
    faults = Faults("lost XADD", 3)
    with faults.client(play.path, retries=1) as client:
        own, play.fleet.redis = play.fleet.redis, client
        play.send()
        play.fleet.redis = own
    assert faults.struck
    entries = sum(own.xlen(play.fleet.keys.ingress(sender)) for sender in SENDERS)
    assert entries == len(play._sent) + 1
    play.finish(play.fleet.coordinator)


def test_an_exec_that_comes_late_has_no_effect(play: Play) -> None:
    answer = late_exec(play)
    assert answer.endswith(b"*-1\r\n")
    assert play.is_right()


def test_an_exec_that_comes_between_reload_and_retry_has_no_effect(play: Play) -> None:
    answer = late_exec_between(play)
    assert answer.endswith(b"*-1\r\n")
    assert play.is_right()


def test_a_leader_that_was_stopped_and_goes_on_has_no_effect(play: Play) -> None:
    stopped_leader(play)
    assert play.is_right()


def test_a_message_that_was_sent_twice_takes_effect_once(play: Play) -> None:
    lost_reply(play)
    assert play.is_right()


# -- guards taken out ------------------------------------------------------------------------------


def without_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "fence", lambda self, pipe: pipe.watch("something else"))


def without_new_token(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Lease.take

    def kept(self: Lease) -> bool:
        held = self._redis.get(self._key)
        return (self._token is not None and held == self._token) or take(self)

    monkeypatch.setattr(Lease, "take", kept)


def without_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "take_number", lambda self, speaker, n: True)


@pytest.mark.parametrize(
    ("guard", "scenario"),
    [
        (without_fence, stopped_leader),
        (without_fence, late_exec),
        (without_new_token, late_exec_between),
        (without_repeats, lost_reply),
    ],
)
def test_without_its_guard_the_state_is_wrong(
    play: Play, monkeypatch: pytest.MonkeyPatch, guard: Any, scenario: Any
) -> None:
    guard(monkeypatch)
    try:
        scenario(play)
        right = play.is_right()
    except AssertionError:
        right = False
    assert not right


@pytest.mark.parametrize("kept", ["yes", "no"])
def test_a_crash_of_the_server_loses_nothing_with_the_append_only_file_and_all_without(
    start_server: Callable[..., TestServer], kept: str
) -> None:
    server = start_server("--appendonly", kept, "--appendfsync", "everysec")
    with server.client() as client:
        play = Play(client)
        play.send()
        play.finish(play.fleet.coordinator)
    server.restart()
    with server.client() as client:
        play.fleet.redis = client
        assert play.is_right() is (kept == "yes")
