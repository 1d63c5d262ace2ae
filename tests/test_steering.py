"""Sessions are cancelled and go on; AIs are kicked and drained."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.fleet import FleetUnderTest

PLAN = [
    {"name": "u", "kind": "k", "participant": 0, "tries": 1},
    {"name": "v", "kind": "k", "participant": 1, "needs": ["u"]},
]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", "b", skills=["k"])
    return fleet


def order(fleet: FleetUnderTest, message_type: str, **payload: str) -> None:
    fleet.say("operator", message_type, payload)
    fleet.run()


@pytest.mark.parametrize("who", ["a", "operator"])
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_session_is_cancelled(fleet: FleetUnderTest, who: str, is_begun: bool) -> None:
    s = fleet.collaborate("a", "b", plan=PLAN) if is_begun else fleet.ask("a")
    fleet.say(who, "cancel", {"session_id": s, "person": "Alice"})
    fleet.run()
    session = fleet.session(s)
    by = {"a": "a", "operator": "operator (Alice)"}[who]
    assert (session["state"], session["reason"]) == ("cancelled", f"{by} cancelled it")
    assert fleet.queue("a") == []
    assert fleet.told("a", "collaboration_update")[-1]["status"] == "cancelled"
    assert fleet.coordinator._fleet.units == {}


def test_a_feature_request_is_cancelled(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "f")
    order(fleet, "cancel", session_id=r, reason="never mind", person="Alice")
    told = fleet.told("a", "feature_update")[-1]["reason"]
    assert told == "operator (Alice) cancelled it: never mind"


def test_a_stranger_cancels_nothing(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=PLAN)
    fleet.say("b", "cancel", {"session_id": s})
    fleet.say("a", "cancel", {"session_id": "none"})
    fleet.run()
    assert [fleet.error("b")["code"], fleet.error("a")["code"]] == ["forbidden", "not_found"]
    assert fleet.session(s)["state"] == "active"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_failed_unit_is_tried_again(fleet: FleetUnderTest, is_replaced: bool) -> None:
    s = fleet.collaborate("a", "b", plan=PLAN)
    fleet.report(f"{s}-1", "failed", reason="r")
    assert [fleet.unit(f"{s}-{n}")["state"] for n in (1, 2)] == ["failed", "cancelled"]
    if is_replaced:
        fleet.replace_coordinator("coordinator-2")
    order(fleet, "retry", unit_id=f"{s}-1")
    assert (fleet.session(s)["state"], fleet.redis.ttl(f"coord:session:{s}")) == ("active", -1)
    assert fleet.redis.ttl(f"coord:unit:{s}-2") == -1
    assert fleet.redis.zscore("coord:sessions", s) == float("inf")
    fleet.report(f"{s}-1")
    fleet.report(f"{s}-2")
    assert fleet.session(s)["state"] == "completed"


@pytest.mark.parametrize("unit_id", ["none-1", "x", "*-1", "{s}-7", "{s}-1"])
def test_what_cannot_be_tried_again(fleet: FleetUnderTest, unit_id: str) -> None:
    s = fleet.collaborate("a", "b", plan=PLAN)
    order(fleet, "retry", unit_id=unit_id.format(s=s))
    assert fleet.error("operator")["code"] == "not_found"


def test_who_is_kicked_is_told_and_loses_its_units(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=PLAN)
    order(fleet, "kick", ai="a", reason="out of order")
    kicked = next(m for m in fleet.told("a", "error") if m["code"] == "kicked")
    assert kicked["detail"] == "a was removed from the fleet: out of order"
    assert (fleet.live(), fleet.queue("a")) == (["b"], [])
    assert fleet.queue("b") == [fleet.job(f"{s}-1")]
    assert fleet.log()[-1]["message_type"] == "goodbye"
    instances = [fields.get("instance") for _, fields in fleet.stream("coord:inbox:a")]
    assert "a.1" in instances


@pytest.mark.parametrize("message_type", ["kick", "drain"])
def test_who_is_not_there_cannot_be_steered(fleet: FleetUnderTest, message_type: str) -> None:
    order(fleet, message_type, ai="nobody")
    assert fleet.error("operator")["code"] == "not_found"
    fleet.say("a", message_type, {"ai": "b"})
    fleet.run()
    assert fleet.error("a")["code"] == "forbidden"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_who_is_drained_finishes_and_is_given_nothing_new(
    fleet: FleetUnderTest, is_replaced: bool
) -> None:
    s = fleet.collaborate("b", "a", plan=[{**PLAN[0], "participant": 1}, *PLAN[1:]])
    order(fleet, "drain", ai="a")
    if is_replaced:
        fleet.replace_coordinator("coordinator-2")
    assert fleet.queue("a") == [fleet.job(f"{s}-1")]
    fleet.say("a", "hello", {"skills": ["k"]})
    fleet.run()
    fleet.report(f"{s}-1")
    assert fleet.queue("b") == [fleet.job(f"{s}-2")]
    fleet.say("a", "collaboration_request", {"type": "feature_development"})
    fleet.run()
    assert fleet.error("a")["code"] == "draining"


def test_who_comes_anew_is_drained_no_more(fleet: FleetUnderTest) -> None:
    order(fleet, "drain", ai="a")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.replace_coordinator("coordinator-2")
    fleet.join("a", skills=["k"])
    assert not fleet.redis.hexists("coord:member:a", "draining")
    fleet.ask("a")
