"""The loop: repeats, handlers that break, dead letters, a standby, and a server that is full."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from redis import Redis

from coordinator import coordinator as coordinator_module
from coordinator import knowledge, registry
from coordinator.clock import SystemClock
from coordinator.context import Context, Incoming
from coordinator.dispatch import ROUTES, Route
from coordinator.effects import Effect, Write
from tests.fleet import FleetUnderTest, Stop, changed
from tests.servers import TestServer, wait_for


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", specialization="audio")
    return fleet


def share(fleet: FleetUnderTest, pattern_id: str, ai: str = "a", **options: Any) -> str:
    return fleet.say(ai, "pattern_share", {"pattern": {"id": pattern_id}}, **options)


def break_on(monkeypatch: pytest.MonkeyPatch, *ids: str) -> list[str]:
    """Have the handler of pattern_share raise for these patterns; the ids that it was given."""
    handled: list[str] = []

    def breaking(message: Incoming, context: Context) -> list[Effect]:
        pattern_id = message.envelope.payload["pattern"]["id"]
        handled.append(pattern_id)
        effects = knowledge.pattern_share(message, context)
        if pattern_id in ids:
            raise ZeroDivisionError("a bug of ours")
        return effects

    monkeypatch.setitem(ROUTES, "pattern_share", Route(breaking))
    return handled


# -- repeats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["in one batch", "later", "after a reload"])
def test_a_repeat_has_no_effect(fleet: FleetUnderTest, when: str) -> None:
    share(fleet, "p", n=2)
    if when != "in one batch":
        fleet.run()
    before = fleet.state()
    if when == "after a reload":
        fleet.replace_coordinator("coordinator-2")
    share(fleet, "p", n=2)
    share(fleet, "q", n=1)
    fleet.run()
    assert [message["message_id"] for message in fleet.log()[2:]] == ["a-2"]
    assert fleet.record("pattern", "p")["revision"] == "1"
    assert fleet.redis.hget("coord:totals", "pattern_share") == b"1"
    assert fleet.redis.xlen("coord:ingress:a") == 0
    if when != "in one batch":
        assert fleet.state() == before


def test_the_same_message_id_is_no_repeat(fleet: FleetUnderTest) -> None:
    share(fleet, "p", message_id="1")
    share(fleet, "p", message_id="1")
    fleet.run()
    assert fleet.record("pattern", "p")["revision"] == "2"


def test_each_instance_numbers_for_itself(fleet: FleetUnderTest) -> None:
    share(fleet, "p", n=50)
    fleet.say("a", "goodbye", n=51)
    fleet.say("a", "hello", instance="a.2", n=1)
    share(fleet, "p", instance="a.2", n=2)
    fleet.run()
    assert fleet.record("pattern", "p")["revision"] == "2"
    assert fleet.redis.get("coord:instance:a/a.1") == b"51"
    assert fleet.redis.get("coord:instance:a/a.2") == b"2"


def test_numbers_may_have_holes(fleet: FleetUnderTest) -> None:
    share(fleet, "p", n=10)
    share(fleet, "p", n=20)
    fleet.run()
    assert fleet.record("pattern", "p")["revision"] == "2"


# -- a handler that raises -------------------------------------------------------------------------


def test_the_culprit_alone_is_buried_and_the_others_take_effect_once(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = fleet.state()
    break_on(monkeypatch, "bad")
    for pattern_id in ("p1", "p2", "bad", "p3", "p4"):
        share(fleet, pattern_id)
    share(fleet, "p5", ai="b")
    fleet.run()
    assert sorted(fleet.ids_in("pattern")) == ["p1", "p2", "p3", "p4", "p5"]
    assert {fleet.record("pattern", f"p{n}")["revision"] for n in range(1, 6)} == {"1"}
    assert sorted(m["message_id"] for m in fleet.log()[2:]) == ["a-2", "a-3", "a-5", "a-6", "b-2"]
    ((_, letter),) = fleet.stream("coord:dead")
    assert json.loads(letter.pop("body"))["payload"] == {"pattern": {"id": "bad"}}
    assert letter == {
        "door": "a",
        "owner": "a",
        "instance": "a.1",
        "n": "4",
        "ms": str(fleet.clock.wall_ms),
        "error": "ZeroDivisionError: a bug of ours",
    }
    assert fleet.error("a") == {
        "in_reply_to": "a-4",
        "code": "internal",
        "detail": "the coordinator failed on this message: ZeroDivisionError: a bug of ours",
    }
    assert changed(before, fleet.state()) == {
        "coord:dead",
        "coord:events",
        "coord:inbox:a",
        "coord:instance:a/a.1",
        "coord:instance:b/b.1",
        "coord:log",
        "coord:member:a",
        *(f"coord:pattern:p{n}" for n in range(1, 6)),
        "coord:patterns",
        "coord:patterns:audio",
        "coord:patterns:of:a",
        "coord:patterns:of:b",
        "coord:totals",
    }
    assert fleet.state()["coord:instance:a/a.1"][0] == "6"
    assert "a message from a broke its handler" in caplog.text


def test_a_repeat_of_what_was_buried_has_no_effect(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on(monkeypatch, "bad")
    share(fleet, "bad", n=2)
    fleet.run()
    before = fleet.state()
    share(fleet, "bad", n=2)
    fleet.run()
    assert fleet.state() == before


def test_several_culprits(fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    break_on(monkeypatch, "bad1", "bad2")
    for pattern_id in ("bad1", "p1", "bad2", "p2"):
        share(fleet, pattern_id)
    fleet.run()
    assert sorted(fleet.ids_in("pattern")) == ["p1", "p2"]
    assert fleet.redis.xlen("coord:dead") == 2


def test_batches_are_whole_again_once_the_spoiled_one_is_through(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on(monkeypatch, "bad")
    share(fleet, "bad")
    share(fleet, "p1")
    fleet.run()
    for n in range(10):
        share(fleet, f"q{n}")
    fleet.coordinator.step()  # eight are read at first
    assert fleet.coordinator.step() + fleet.redis.zcard("coord:patterns") - 9 >= 2
    assert fleet.coordinator._singles == 0


def test_dead_letters_are_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = FleetUnderTest(redis, dead_keep=3)
    fleet.join("a")
    break_on(monkeypatch, "bad")
    for _ in range(6):
        share(fleet, "bad")
    fleet.run()
    assert [fields["n"] for _, fields in fleet.stream("coord:dead")] == ["5", "6", "7"]


def test_an_operators_message_that_breaks_is_answered_and_not_buried(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on(monkeypatch, "bad")
    share(fleet, "bad", ai="operator")
    fleet.run()
    assert fleet.error("operator")["code"] == "internal"
    assert fleet.redis.xlen("coord:dead") == 0


# -- dead letters ----------------------------------------------------------------------------------


@pytest.fixture
def letter(fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a dead letter; its handler is well again."""
    with monkeypatch.context() as patch:
        break_on(patch, "bad")
        share(fleet, "bad")
        fleet.run()
    return fleet.stream("coord:dead")[0][0]


def test_a_dead_letter_is_dropped(fleet: FleetUnderTest, letter: str) -> None:
    log = fleet.log()
    fleet.say("operator", "dead_drop", {"id": letter})
    fleet.run()
    assert fleet.stream("coord:dead") == []
    assert fleet.log() == log
    assert fleet.events()[-1]["text"] == f"operator dropped dead letter {letter}"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_dead_letter_is_tried_again_in_its_senders_name(
    fleet: FleetUnderTest, letter: str, replaced: bool
) -> None:
    if replaced:
        fleet.say("a", "goodbye")
        fleet.say("a", "hello", instance="a.2")
        fleet.run()
    fleet.say("operator", "dead_retry", {"id": letter})
    fleet.run()
    assert fleet.record("pattern", "bad")["contributor"] == "a"
    assert fleet.log()[-1]["message_id"] == "a-2"
    assert fleet.stream("coord:dead") == []
    assert fleet.events()[-1]["text"] == f"operator had dead letter {letter} tried again"


def test_a_dead_letter_that_breaks_again_stays(
    fleet: FleetUnderTest, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on(monkeypatch, "bad")
    fleet.say("operator", "dead_retry", {"id": letter})
    fleet.run()
    assert fleet.error("operator")["code"] == "internal"
    assert [entry_id for entry_id, _ in fleet.stream("coord:dead")] == [letter]
    assert fleet.ids_in("pattern") == []


def test_a_dead_letter_of_one_who_is_away_is_refused_and_stays(
    fleet: FleetUnderTest, letter: str
) -> None:
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.say("operator", "dead_retry", {"id": letter})
    fleet.run()
    assert fleet.error("operator")["code"] == "rejoin"
    assert [entry_id for entry_id, _ in fleet.stream("coord:dead")] == [letter]


@pytest.mark.parametrize("message_type", ["dead_drop", "dead_retry"])
def test_a_dead_letter_that_there_is_not(fleet: FleetUnderTest, message_type: str) -> None:
    fleet.say("operator", message_type, {"id": "1-0"})
    fleet.run()
    error = fleet.error("operator")
    assert (error["code"], error["field"]) == ("not_found", "payload.id")
    assert "1-0 is no dead letter; `coord dead list` shows them" in error["detail"]


def test_a_hello_is_not_tried_again(fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(*_: Any) -> list[Effect]:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(registry, "training_sync", breaking)
        fleet.say("c", "hello")
        fleet.run()
    ((letter, _),) = fleet.stream("coord:dead")
    fleet.say("operator", "dead_retry", {"id": letter})
    fleet.run()
    assert fleet.error("operator")["code"] == "forbidden"
    assert "is a hello, which only its sender can send again" in fleet.error("operator")["detail"]


# -- several coordinators --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off_s", "said"),
    [(50, r"(49|50)\.\d s ahead of"), (-50, r"5\d\.\d s behind"), (0.5, ""), (-0.5, "")],
)
def test_a_clock_that_is_off_is_told_at_takeover(
    redis: Redis, caplog: pytest.LogCaptureFixture, off_s: float, said: str
) -> None:
    fleet = FleetUnderTest(redis)
    seconds, microseconds = redis.time()
    fleet.clock.wall_ms = seconds * 1000 + microseconds // 1000 + int(off_s * 1000)
    assert fleet.coordinator.take_over()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (1 if said else 0)
    assert all(re.search(f"this machine's clock is {said} the server's", text) for text in warnings)


def test_a_second_one_stands_by_and_takes_over(fleet: FleetUnderTest) -> None:
    standby = fleet.another("coordinator-2")
    assert not standby.take_over()
    assert fleet.redis.zrange("coord:standby", 0, -1) == [b"coordinator-2"]
    share(fleet, "p1")
    fleet.run()
    fleet.coordinator.leave()
    assert not fleet.coordinator.active
    assert standby.take_over()
    assert fleet.redis.zrange("coord:standby", 0, -1) == []
    fleet.coordinator = standby
    share(fleet, "p1")
    fleet.run()
    assert fleet.record("pattern", "p1")["revision"] == "2"


def test_one_that_was_taken_over_stops_without_a_trace(fleet: FleetUnderTest) -> None:
    stale = fleet.coordinator
    fleet.replace_coordinator("coordinator-2")
    share(fleet, "p1")
    before = fleet.state()
    stale.step()
    stale.step()
    assert not stale.active
    assert fleet.state() == before
    assert not stale.take_over()
    fleet.run()
    assert fleet.record("pattern", "p1")["revision"] == "1"


def test_one_whose_handler_breaks_after_another_took_over_leaves_the_rest_to_that_one(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale, second = fleet.coordinator, fleet.another("coordinator-2")

    def breaking(*_: Any) -> list[Effect]:
        monkeypatch.undo()
        fleet.redis.delete("coord:leader")
        assert second.take_over()
        raise ZeroDivisionError

    monkeypatch.setitem(ROUTES, "pattern_share", Route(breaking))
    share(fleet, "p1")
    while stale.active:
        stale.step()
    assert fleet.redis.xlen("coord:dead") == 0
    fleet.coordinator = second
    fleet.run()
    assert fleet.record("pattern", "p1")["revision"] == "1"
    assert fleet.redis.xlen("coord:dead") == 0


def test_two_that_run_at_once_hand_over_when_one_stops(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server()
    with server.client() as client:
        fleet = FleetUnderTest(client, clock=SystemClock(), leader_lease_s=2)
        ends = [threading.Event(), threading.Event()]
        connections = [server.client(), server.client()]
        runners = [fleet.another(f"runner-{n}", connections[n]) for n in range(2)]
        threads = [
            threading.Thread(target=runner.run, args=(end,), daemon=True)
            for runner, end in zip(runners, ends, strict=True)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: any(runner.active for runner in runners))
        (first,) = [n for n, runner in enumerate(runners) if runner.active]
        fleet.say("a", "hello")
        wait_for(lambda: client.exists("coord:ai:a"))
        ends[first].set()
        wait_for(lambda: runners[1 - first].active)
        fleet.say("b", "hello")
        wait_for(lambda: client.exists("coord:ai:b"))
        ends[1 - first].set()
        for thread, connection in zip(threads, connections, strict=True):
            thread.join()
            connection.close()
        assert client.get("coord:leader") is None
        assert fleet.redis.xlen("coord:log") == 2


# -- commits that fail -----------------------------------------------------------------------------


def test_a_torn_commit_is_logged_loudly_and_followed_by_a_reload(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def tearing(message: Incoming, context: Context) -> list[Effect]:
        stale = Write(("XADD", context.keys.log, "1-0", "a", 1))
        return [*knowledge.pattern_share(message, context), stale]

    monkeypatch.setitem(ROUTES, "pattern_share", Route(tearing))
    share(fleet, "p1")
    fleet.run()
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "committed in part" in record.getMessage()
    monkeypatch.undo()
    share(fleet, "p2")
    fleet.run()
    assert fleet.ids_in("pattern") == ["p1", "p2"]
    assert [int(entry_id.split("-")[0]) for entry_id, _ in fleet.stream("coord:log")] == [
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("error", [redis_py.ConnectionError("cut"), redis_py.TimeoutError("late")])
def test_an_epoch_that_could_not_begin_is_begun_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fleet = FleetUnderTest(redis)
    commit = coordinator_module.commit

    def failing(*_: Any) -> None:
        monkeypatch.setattr(coordinator_module, "commit", commit)
        raise coordinator_module.CommitFailed(coordinator_module.Outcome.UNKNOWN, error)

    monkeypatch.setattr(coordinator_module, "commit", failing)
    assert not fleet.coordinator.take_over()
    assert not fleet.coordinator.active
    fleet.join("a")
    assert fleet.live() == ["a"]
    assert len(json.loads(fleet.state()["coord:fleet"][0]["epochs"])) == 1


def test_a_full_server_is_relieved_and_the_fleet_goes_on(
    start_server: Callable[..., TestServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server()
    with server.client() as client:
        fleet = FleetUnderTest(client, log_keep=100_000, message_max_bytes=1024 * 1024)
        fleet.join("a")
        for _ in range(150):
            fleet.say("a", "pattern_share", {"pattern": {"id": "p", "text": "x" * 60_000}})
        fleet.run()
        fleet.say("a", "pattern_share", {"pattern": {"id": "last", "text": "x" * 60_000}})
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used)
        fleet.coordinator.run(Stop(lambda: client.exists("coord:pattern:last") == 1))
        assert "the server is out of memory: history is cut to make room" in caplog.text
        assert fleet.record("pattern", "p")["revision"] == "150"
        assert fleet.record("pattern", "last")["revision"] == "1"
        numbers = [int(entry_id.split("-")[0]) for entry_id, _ in fleet.stream("coord:log")]
        assert numbers == list(range(numbers[0], 153))
        assert len(numbers) < 152
        client.config_set("maxmemory", 0)


def test_a_coordinator_that_starts_on_a_full_server_relieves_it(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server()
    with server.client() as client:
        fleet = FleetUnderTest(client, log_keep=100_000, message_max_bytes=1024 * 1024)
        fleet.join("a")
        for _ in range(150):
            fleet.say("a", "pattern_share", {"pattern": {"id": "p", "text": "x" * 60_000}})
        fleet.run()
        fleet.coordinator.leave()
        fleet.say("a", "pattern_share", {"pattern": {"id": "last", "text": "x" * 60_000}})
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
        fresh = fleet.another("coordinator-2")
        fresh.run(Stop(lambda: client.exists("coord:pattern:last") == 1))
        assert fleet.record("pattern", "last")["revision"] == "1"
        client.config_set("maxmemory", 0)
