"""Who is there: joining, a second instance, leaving, and the end of a lease."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.specializations import capabilities_of
from tests.fleet import BEGINNING_MS, FleetUnderTest, Pushes, changed

LEASE_MS = 15_000


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis)


def profile(fleet: FleetUnderTest, ai: str) -> dict[str, Any]:
    stored = fleet.redis.hget(f"coord:member:{ai}", "profile")
    return json.loads(stored)  # type: ignore[arg-type]


def sets_of(fleet: FleetUnderTest) -> dict[str, set[str]]:
    """The members of every capability and specialization that has any."""
    names = ("coord:capability:", "coord:specialization:")
    return {k.split(":", 1)[1]: v[0] for k, v in fleet.state().items() if k.startswith(names)}


def test_hello_registers(fleet: FleetUnderTest) -> None:
    fleet.join("a", specialization="audio", version="2", own=[1])
    state = fleet.state()
    capabilities = capabilities_of("audio")
    assert state["coord:ai:a"] == (
        {
            "specialization": "audio",
            "capabilities": json.dumps(capabilities, separators=(",", ":")),
            "instance": "a.1",
            "door": "a",
            "joined_ms": str(BEGINNING_MS),
            "heartbeat_ms": str(BEGINNING_MS),
            "status": "ready",
            "load": "0.0",
        },
        "expires",
    )
    assert state["coord:leases"] == ({"a": BEGINNING_MS + LEASE_MS}, "stays")
    assert sets_of(fleet) == {
        "specialization:audio": {"a"},
        **{f"capability:{capability}": {"a"} for capability in capabilities},
    }
    assert profile(fleet, "a") == {
        "specialization": "audio",
        "capabilities": capabilities,
        "instance": "a.1",
        "door": "a",
        "joined_ms": BEGINNING_MS,
        "profile": {
            "specialization": "audio",
            "capabilities": [],
            "features_supported": [],
            "skills": [],
            "collaboration_ready": True,
            "version": "2",
            "own": [1],
        },
    }


def test_hello_is_told_to_the_others_and_answered(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    pushes = Pushes(fleet.redis, fleet.keys)
    fleet.say("b", "hello", {"specialization": "audio", "cursor": None})
    fleet.run()
    told, answered = pushes.all()
    pushes.close()
    epoch = fleet.coordinator._fleet.epoch
    assert told[0] == "coord:broadcast"
    assert told[1] == {"epoch": epoch, "exclude": ["b"], "n": 2, "message": fleet.log()[1]}
    assert told[1]["message"]["sender_id"] == "b"
    assert told[1]["message"]["payload"] == {"specialization": "audio"}
    assert answered[0] == "coord:to:b"
    assert answered[1] == {"epoch": epoch, "after": 2, "n": 1, "message": fleet.inbox("b")[0]}
    assert answered[1]["message"]["message_type"] == "training_sync"
    assert answered[1]["message"]["payload"]["in_reply_to"] == "b-1"
    assert fleet.events()[1] == {
        "kind": "joined",
        "ai": "b",
        "text": "b joined (audio; 6 capabilities)",
        "data": {
            "instance": "b.1",
            "specialization": "audio",
            "capabilities": list(capabilities_of("audio")),
        },
    }


def test_where_one_reads_is_not_passed_on(fleet: FleetUnderTest) -> None:
    fleet.join("a", cursor={"epoch": "e", "log": 1, "inbox": 2}, own=1)
    assert fleet.log()[0]["payload"] == {"own": 1}
    assert "cursor" not in profile(fleet, "a")["profile"]


def test_own_capabilities_stand_for_the_built_in_ones(fleet: FleetUnderTest) -> None:
    fleet.join("a", specialization="audio", capabilities=["x", "y"])
    assert sets_of(fleet) == {
        "specialization:audio": {"a"},
        "capability:x": {"a"},
        "capability:y": {"a"},
    }


def test_a_second_instance_is_refused_and_told_who_holds_the_id(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.clock.advance(1)
    before = fleet.state()
    fleet.say("a", "hello", {"specialization": "audio"}, instance="a.2", message_id="7")
    fleet.run()
    error = fleet.error("a")
    assert error == {
        "in_reply_to": "7",
        "code": "id_taken",
        "detail": "a is held by instance a.1, whose lease ends at 2025-06-15T15:06:55.000+00:00 "
        "unless it is renewed; stop that one, or choose another id",
        "holder": "a.1",
        "lease_ends_ms": BEGINNING_MS + LEASE_MS,
        "last_heartbeat_ms": BEGINNING_MS,
    }
    assert fleet.redis.xrevrange("coord:inbox:a", count=1)[0][1][b"instance"] == b"a.2"
    assert changed(before, fleet.state()) == {
        "coord:events",
        "coord:inbox:a",
        "coord:instance:a/a.2",
        "coord:member:a",
    }
    assert profile(fleet, "a")["instance"] == "a.1"
    assert fleet.events()[-1]["text"] == f"refused a message of a: {error['detail']}"


def test_a_refused_one_may_come_once_the_holder_has_left(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.say("a", "hello", instance="a.2")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.say("a", "hello", instance="a.2")
    fleet.run()
    assert fleet.coordinator._fleet.ais["a"].instance == "a.2"
    assert fleet.sync("a")["in_reply_to"] == "a-2"


def test_the_same_instance_again_is_answered_and_nobody_else_hears(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b", specialization="audio")
    fleet.say("a", "heartbeat", {"load": 0.5})
    fleet.clock.advance(3)
    log, events = fleet.log(), fleet.events()
    fleet.say("a", "hello", {"specialization": "audio"})
    fleet.run()
    assert (fleet.log(), fleet.events()) == (log, events)
    assert fleet.sync("a")["in_reply_to"] == "a-3"
    ai = fleet.coordinator._fleet.ais["a"]
    assert (ai.joined_ms, ai.heartbeat_ms) == (BEGINNING_MS, BEGINNING_MS + 3000)
    assert fleet.redis.zscore("coord:leases", "a") == BEGINNING_MS + 3000 + LEASE_MS


def test_a_changed_profile_is_told_and_the_old_sets_are_left(fleet: FleetUnderTest) -> None:
    fleet.join("a", specialization="audio", capabilities=["x", "y"])
    fleet.join("b", specialization="audio", capabilities=["x"])
    fleet.say("a", "hello", {"specialization": "graphics", "capabilities": ["y", "z"]})
    fleet.run()
    assert sets_of(fleet) == {
        "specialization:audio": {"b"},
        "specialization:graphics": {"a"},
        "capability:x": {"b"},
        "capability:y": {"a"},
        "capability:z": {"a"},
    }
    assert fleet.log()[-1]["payload"] == {"specialization": "graphics", "capabilities": ["y", "z"]}
    assert fleet.events()[-1]["text"] == "a joined (graphics; 2 capabilities)"
    assert profile(fleet, "a")["joined_ms"] == BEGINNING_MS


def test_a_heartbeat_extends_the_lease_and_nobody_hears_of_it(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    fleet.clock.advance(5)
    before = fleet.state()
    pushes = Pushes(fleet.redis, fleet.keys)
    fleet.say("a", "heartbeat", {"load": 0.25, "status": "training"})
    fleet.run()
    assert pushes.all() == []
    pushes.close()
    after = fleet.state()
    assert changed(before, after) == {
        "coord:ai:a",
        "coord:instance:a/a.1",
        "coord:leases",
        "coord:totals",
    }
    noted = {"heartbeat_ms": str(BEGINNING_MS + 5000), "load": "0.25", "status": "training"}
    assert after["coord:ai:a"] == ({**before["coord:ai:a"][0], **noted}, "expires")
    assert after["coord:leases"][0] == {
        "a": BEGINNING_MS + 5000 + LEASE_MS,
        "b": BEGINNING_MS + LEASE_MS,
    }


@pytest.mark.parametrize(
    ("payload", "status", "load"),
    [
        ({}, "busy", "0.5"),
        ({"load": None, "status": None}, "busy", "0.5"),
        ({"load": "high", "status": 7}, "busy", "0.5"),
        ({"load": -1}, "busy", "0.5"),
        ({"load": [1], "status": {}}, "busy", "0.5"),
        ({"load": 3}, "busy", "3.0"),
        ({"status": "a\nb"}, "busy", "0.5"),
        ({"status": "x" * 100}, "x" * 64, "0.5"),
    ],
    ids=str,
)
def test_what_a_heartbeat_may_say(
    fleet: FleetUnderTest, payload: dict[str, Any], status: str, load: str
) -> None:
    fleet.join("a")
    fleet.say("a", "heartbeat", {"load": 0.5, "status": "busy"})
    fleet.say("a", "heartbeat", payload)
    fleet.run()
    record = fleet.state()["coord:ai:a"][0]
    assert (record["status"], record["load"]) == (status, load)


@pytest.mark.parametrize("reason", ["tired", ""])
def test_goodbye(fleet: FleetUnderTest, reason: str) -> None:
    fleet.join("b")
    alone = fleet.state()
    fleet.join("a", specialization="audio")
    fleet.say("a", "goodbye", {"reason": reason} if reason else {})
    fleet.run()
    state = fleet.state()
    assert fleet.log()[-1]["message_type"] == "goodbye"
    assert fleet.redis.xrevrange("coord:log", count=1)[0][1][b"exclude"] == b"a"
    assert fleet.events()[-1] == {
        "kind": "left",
        "ai": "a",
        "text": f"a left: {reason or 'said goodbye'}",
        "data": {"reason": reason or "said goodbye"},
    }
    assert changed(alone, state) == {
        "coord:doors",
        "coord:events",
        "coord:inbox:a",
        "coord:ingress:a",
        "coord:instance:a/a.1",
        "coord:log",
        "coord:member:a",
        "coord:totals",
    }
    assert state["coord:inbox:a"][1] == "expires"
    assert state["coord:member:a"][1] == "stays"
    assert list(fleet.coordinator._fleet.ais) == ["b"]


def test_who_comes_back_finds_its_inbox_and_its_numbers(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.say("b", "pattern_share", {"pattern": {"id": "p"}}, "a")
    fleet.run()
    fleet.join("a")
    assert fleet.state()["coord:inbox:a"][1] == "stays"
    kinds = [(i, fields["message"].split('"')[11]) for i, fields in fleet.stream("coord:inbox:a")]
    assert kinds == [("1-0", "training_sync"), ("2-0", "pattern_share"), ("3-0", "training_sync")]


def test_the_numbers_outlive_the_inbox(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.redis.delete("coord:inbox:a")  # its 24 hours are over
    fleet.replace_coordinator("coordinator-2")
    fleet.join("a")
    assert [entry_id for entry_id, _ in fleet.stream("coord:inbox:a")] == ["2-0"]


# -- the end of a lease ----------------------------------------------------------------------------


def beat(fleet: FleetUnderTest, seconds: float, *ais: str) -> None:
    """Let time go by in steps that are no pause, while ``ais`` send heartbeats."""
    for _ in range(int(seconds / 2.5)):
        fleet.clock.advance(2.5)
        for ai in ais:
            fleet.say(ai, "heartbeat")
        fleet.run()


def test_a_lease_ends(fleet: FleetUnderTest) -> None:
    fleet.join("b")
    beat(fleet, 15, "b")
    alone = fleet.state()
    fleet.join("a", specialization="audio")
    beat(fleet, 12.5, "b")
    assert fleet.live() == ["a", "b"]
    beat(fleet, 2.5, "b")
    assert fleet.live() == ["b"]
    assert sets_of(fleet).keys().isdisjoint({"specialization:audio"})
    assert "coord:ai:a" not in fleet.state()
    assert fleet.log()[-1]["sender_id"] == "a"
    assert fleet.log()[-1]["message_type"] == "goodbye"
    assert fleet.log()[-1]["payload"] == {"reason": "no heartbeat for 15 s", "expired": True}
    assert fleet.events()[-1]["text"] == "a left: no heartbeat for 15 s"
    assert changed(alone, fleet.state()) >= {"coord:inbox:a", "coord:member:a"}
    assert list(fleet.coordinator._fleet.ais) == ["b"]


def test_whose_lease_has_ended_is_told_to_rejoin_and_may(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    beat(fleet, 17.5, "b")
    assert fleet.live() == ["b"]
    fleet.say("a", "heartbeat")
    fleet.run()
    assert fleet.error("a")["code"] == "rejoin"
    fleet.say("a", "hello", instance="a.2")
    fleet.run()
    assert fleet.live() == ["a", "b"]


def test_a_clock_that_steps_ends_no_lease(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    for step_s in (100_000, -300_000):
        fleet.clock.step_wall(step_s)
        beat(fleet, 12.5, "b")
        fleet.say("a", "heartbeat")
        fleet.run()
        assert fleet.live() == ["a", "b"]
    fleet.clock.step_wall(-1_000_000)
    beat(fleet, 15, "b")
    assert fleet.live() == ["b"]


def test_heartbeats_that_wait_are_read_before_anybody_expires(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, batch_max_messages=2)
    fleet.join("a", "b")
    for _ in range(20):
        fleet.say("a", "query", {"what": "counts"})
    fleet.say("a", "heartbeat")
    for _ in range(5):
        fleet.clock.advance(3.1)
        fleet.say("b", "heartbeat")
        fleet.coordinator.step()
    assert fleet.live() == ["a", "b"]
    fleet.run()
    assert fleet.live() == ["a", "b"]


@pytest.mark.parametrize("how", ["takeover", "reload", "pause"])
def test_nobody_expires_for_a_full_lease_after_a(fleet: FleetUnderTest, how: str) -> None:
    fleet.join("a")
    if how == "pause":
        fleet.clock.advance(100)
    elif how == "reload":
        fleet.clock.advance(100)
        fleet.coordinator._reload()
    else:
        fleet.clock.advance(100)
        fleet.replace_coordinator("coordinator-2")
    fleet.run()
    beat(fleet, 12.5)
    assert fleet.live() == ["a"]
    beat(fleet, 5)
    assert fleet.live() == []


def test_a_short_pause_is_none(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    beat(fleet, 10)
    fleet.clock.advance(7)
    fleet.run()
    assert fleet.live() == []


@pytest.mark.parametrize("how", ["a takeover", "a pause"])
def test_a_registry_record_that_expired_is_whole_after_the_next_heartbeat(
    fleet: FleetUnderTest, how: str
) -> None:
    fleet.join("a", specialization="audio")
    before = fleet.state()["coord:ai:a"]
    fleet.redis.delete("coord:ai:a")  # nobody was active for two leases
    fleet.clock.advance(31)
    if how == "a takeover":
        fleet.replace_coordinator("coordinator-2")
    fleet.say("a", "heartbeat")
    fleet.run()
    heartbeat_ms = str(BEGINNING_MS + 31_000)
    assert fleet.state()["coord:ai:a"] == ({**before[0], "heartbeat_ms": heartbeat_ms}, "expires")
