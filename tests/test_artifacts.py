"""What is too large for a message: counted, bounded, and copied to whom it is meant for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from redis import Redis

from tests.fleet import BEGINNING_MS, FleetUnderTest, changed

KEEP_MS = 3_600_000
DATA = b"0123456789"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, artifact_max_bytes=50, artifacts_max_bytes=100)
    fleet.join("a", "b", specialization="audio")
    return fleet


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(fleet: FleetUnderTest, ai: str, data: bytes) -> None:
    """Write it into the own space, as a client does before it says so."""
    fleet.redis.set(f"coord:artifact:{ai}:{sha256(data)}", data, px=KEEP_MS)


def put(
    fleet: FleetUnderTest, data: bytes = DATA, ai: str = "a", target: str = "", **payload: Any
) -> None:
    store(fleet, ai, data)
    told = {"artifact": sha256(data), "bytes": len(data), **payload}
    fleet.say(ai, "payload", told, target)
    fleet.run()


def held(fleet: FleetUnderTest, ai: str = "a") -> dict[str, Any]:
    """Name -> what is known of it, of all that an AI holds."""
    fields, expires = fleet.state().get(f"coord:artifacts:{ai}", ({}, "expires"))
    assert expires == "expires"
    return {name: json.loads(value) for name, value in fields.items()}


def spaces(fleet: FleetUnderTest) -> dict[str, set[bytes]]:
    """Space -> what lies there; all of it must expire."""
    found: dict[str, set[bytes]] = {}
    for key, (value, expires) in fleet.state().items():
        if key.startswith("coord:artifact:"):
            assert expires == "expires", key
            space, name = key.removeprefix("coord:artifact:").split(":")
            assert name == sha256(value.encode())
            found.setdefault(space, set()).add(value.encode())
    return found


def kinds(fleet: FleetUnderTest, ai: str) -> list[str]:
    return [message["message_type"] for message in fleet.inbox(ai)[1:]]


def test_kept_for_oneself(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    put(fleet)
    assert changed(before, fleet.state()) == {
        "coord:totals",
        "coord:instance:a/a.1",
        f"coord:artifact:a:{sha256(DATA)}",
        "coord:artifacts:a",
    }
    ends_ms = BEGINNING_MS + KEEP_MS
    assert held(fleet) == {sha256(DATA): {"bytes": 10, "ends_ms": ends_ms, "copies": []}}
    assert spaces(fleet) == {"a": {DATA}}


def test_for_one_ai(fleet: FleetUnderTest) -> None:
    put(fleet, target="b", name="trace.csv", own=1)
    assert spaces(fleet) == {"a": {DATA}, "b": {DATA}}
    message = fleet.inbox("b")[-1]
    assert (message["sender_id"], message["target_ai"]) == ("a", "b")
    assert message["payload"] == {
        "artifact": sha256(DATA),
        "owner": "a",
        "bytes": 10,
        "name": "trace.csv",
    }
    assert held(fleet)[sha256(DATA)]["copies"] == ["b"]
    assert held(fleet, "b") == {}


def test_shared_with_everybody(fleet: FleetUnderTest) -> None:
    put(fleet, share=True)
    assert spaces(fleet) == {"a": {DATA}, "": {DATA}}
    assert fleet.log()[-1]["message_type"] == "payload"
    assert fleet.log()[-1]["payload"] == {"artifact": sha256(DATA), "owner": "a", "bytes": 10}
    assert fleet.excluded() == "a"
    assert held(fleet)[sha256(DATA)]["copies"] == [""]


def test_for_an_ai_that_is_away(fleet: FleetUnderTest) -> None:
    fleet.enroll("c")
    put(fleet, target="c")
    assert spaces(fleet) == {"a": {DATA}, "c": {DATA}}
    assert [message["message_type"] for message in fleet.inbox("c")] == ["payload"]


def test_a_work_horse_puts_for_its_ai(fleet: FleetUnderTest) -> None:
    store(fleet, "a", DATA)
    told = {"artifact": sha256(DATA), "bytes": 10, "share": True}
    fleet.say("a", "payload", told, instance="a.1/u/1")
    fleet.run()
    assert spaces(fleet) == {"a": {DATA}, "": {DATA}}


def test_what_expired_without_saying_so_is_made_to(fleet: FleetUnderTest) -> None:
    fleet.redis.set(f"coord:artifact:a:{sha256(DATA)}", DATA)
    fleet.say("a", "payload", {"artifact": sha256(DATA), "bytes": 10}, "b")
    fleet.run()
    assert spaces(fleet) == {"a": {DATA}, "b": {DATA}}


def test_nobody_overwrites_what_another_put(fleet: FleetUnderTest) -> None:
    put(fleet, ai="b")
    fleet.redis.set(f"coord:artifact:a:{sha256(DATA)}", b"forged-it!", px=KEEP_MS)
    fleet.say("a", "payload", {"artifact": sha256(DATA), "bytes": 10}, "b")
    fleet.run()
    assert fleet.redis.get(f"coord:artifact:b:{sha256(DATA)}") == DATA
    assert kinds(fleet, "b") == ["payload"]


# -- bounds ----------------------------------------------------------------------------------------


def test_one_that_is_too_large_is_removed(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    put(fleet, b"x" * 51, target="b")
    error = fleet.error("a")
    assert (error["code"], error["field"]) == ("too_large", "payload.bytes")
    assert error["detail"] == "the artifact has 51 bytes; at most 50 are allowed"
    assert changed(before, fleet.state()) == {
        "coord:events",
        "coord:inbox:a",
        "coord:member:a",
        "coord:instance:a/a.1",
    }


def test_the_most_that_one_ai_may_put(fleet: FleetUnderTest) -> None:
    put(fleet, b"1" * 50)
    put(fleet, b"2" * 50)
    put(fleet, b"3")
    error = fleet.error("a")
    assert (error["code"], error["field"]) == ("too_large", "payload.bytes")
    assert "have 101 bytes; at most 100 are allowed" in error["detail"]
    assert spaces(fleet) == {"a": {b"1" * 50, b"2" * 50}}
    put(fleet, b"1" * 50, ai="b")
    assert kinds(fleet, "b") == []


def test_copies_count(fleet: FleetUnderTest) -> None:
    put(fleet, b"1" * 50, target="b")
    put(fleet, b"1" * 50, target="b")
    assert kinds(fleet, "b") == ["payload", "payload"]
    put(fleet, b"1" * 50, share=True)
    assert fleet.error("a")["code"] == "too_large"
    assert spaces(fleet) == {"a": {b"1" * 50}, "b": {b"1" * 50}}


def test_what_has_expired_is_forgotten(fleet: FleetUnderTest) -> None:
    put(fleet, b"1" * 50)
    fleet.clock.advance(1800)
    put(fleet, b"2" * 50)
    fleet.clock.advance(1801)
    fleet.join("a", specialization="audio")
    put(fleet, b"3" * 50)
    assert set(held(fleet)) == {sha256(b"2" * 50), sha256(b"3" * 50)}
    put(fleet, b"4")
    assert fleet.error("a")["code"] == "too_large"


# -- what is not as it is told ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code", "field", "stays"),
    [
        ({"artifact": "x"}, "bad_payload", "payload.artifact", True),
        ({"artifact": sha256(DATA).upper()}, "bad_payload", "payload.artifact", True),
        ({"bytes": 9}, "bad_payload", "payload.bytes", False),
        ({"bytes": -1}, "bad_payload", "payload.bytes", True),
        ({"artifact": sha256(b"other")}, "not_found", "payload.artifact", True),
    ],
    ids=str,
)
def test_a_reference_that_is_wrong(
    fleet: FleetUnderTest, payload: dict[str, Any], code: str, field: str, stays: bool
) -> None:
    store(fleet, "a", DATA)
    fleet.say("a", "payload", {"artifact": sha256(DATA), "bytes": 10} | payload, "b")
    fleet.run()
    error = fleet.error("a")
    assert (error["code"], error["field"]) == (code, field)
    assert spaces(fleet) == ({"a": {DATA}} if stays else {})
    assert kinds(fleet, "b") == []


@pytest.mark.parametrize("role", ["observer", "trainer"])
def test_what_is_refused_does_not_stay(fleet: FleetUnderTest, role: str) -> None:
    fleet.enroll("a", role=role, message_types=["pattern_share"])
    put(fleet)
    assert fleet.error("a")["code"] == "forbidden"
    assert spaces(fleet) == {}


def test_what_was_accepted_before_stays(fleet: FleetUnderTest) -> None:
    put(fleet)
    put(fleet, target="nobody")
    assert fleet.error("a")["code"] == "unknown_target"
    assert spaces(fleet) == {"a": {DATA}}


def test_anothers_artifact_is_nobodys_to_give(fleet: FleetUnderTest) -> None:
    store(fleet, "b", DATA)
    fleet.say("a", "payload", {"artifact": sha256(DATA), "bytes": 10, "share": True})
    fleet.run()
    assert fleet.error("a")["code"] == "not_found"
    assert spaces(fleet) == {"b": {DATA}}


def test_records_that_strangers_wrote(fleet: FleetUnderTest) -> None:
    fleet.redis.hset("coord:artifacts:a", mapping={"x": "nonsense", "y": '{"bytes": "1"}'})
    fleet.redis.hset(f"coord:artifact:a:{sha256(b'1')}", "no", "string")
    put(fleet)
    assert sha256(DATA) in held_names(fleet)
    fleet.say("a", "payload", {"artifact": sha256(b"1"), "bytes": 1})
    fleet.run()
    assert fleet.error("a")["code"] == "not_found"


def held_names(fleet: FleetUnderTest) -> set[str]:
    return set(fleet.state()["coord:artifacts:a"][0])


def test_the_operator_puts_nothing(fleet: FleetUnderTest) -> None:
    fleet.order("payload", artifact=sha256(DATA), bytes=10)
    assert fleet.error("operator")["code"] == "forbidden"
