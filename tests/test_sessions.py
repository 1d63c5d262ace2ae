"""Sessions from beginning to end: deadlines, who leaves, who comes, what is kept, what is told."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator import sessions
from coordinator.jobs import job_id
from tests.faults import Faults, Phase
from tests.fleet import BEGINNING_MS, FleetUnderTest

SKILLS = ["propose_design", "implement_design", "measure_component", "k"]
ONE_UNIT = [{"name": "u", "kind": "k", "participant": 1}]
KEPT = ("coord:session:", "coord:unit:", "coord:workspace:")


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600, session_keep_s=100)
    fleet.join("a", "b", "c", specialization="file_system", skills=SKILLS)
    return fleet


def kept(fleet: FleetUnderTest) -> dict[str, str]:
    """Whether what is kept of sessions expires."""
    return {name: end for name, (_, end) in fleet.state().items() if name.startswith(KEPT)}


def leave(fleet: FleetUnderTest, *ais: str) -> None:
    for ai in ais:
        fleet.say(ai, "goodbye")
        fleet.run()


def test_units_are_given_out_as_what_they_need_is_done(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    design, implementation, measurement = fleet.session(s)["units"]
    assert (fleet.queue("a"), fleet.queue("b")) == ([fleet.job(design)], [])
    fleet.report(design)
    assert (fleet.queue("a"), fleet.queue("b")) == ([], [fleet.job(implementation)])
    fleet.report(implementation)
    assert fleet.session(s)["progress"] == pytest.approx(2 / 3)
    component = {"id": "f1", "name": "cache"}
    fleet.report(measurement, output={"component": component, "summary": {"hits": 0.5}})
    ended = fleet.session(s)
    assert (ended["state"], ended["progress"], ended["component_id"]) == ("completed", 1.0, "f1")
    assert fleet.told("b", "collaboration_update")[-1] == {
        "session_id": s,
        "in_reply_to": "a-2",
        "type": "feature_development",
        "status": "completed",
        "progress": 1.0,
        "participants": ["a", "b"],
        "reason": "",
        "component_id": "f1",
        "result": {"hits": 0.5},
    }
    assert set(kept(fleet).values()) == {"expires"}


def test_what_it_made_is_stored_in_the_name_of_all_and_told_to_all(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    design, implementation, measurement = fleet.session(s)["units"]
    fleet.report(design)
    fleet.report(implementation)
    fleet.report(measurement, output={"component": {"name": "cache"}})
    record = fleet.record("feature", f"collab_{s}")
    assert (record["contributor"], record["contributors"]) == ("a", '["a","b"]')
    shared = fleet.log()[-1]
    assert (shared["sender_id"], shared["message_type"]) == ("hub", "os_component_share")
    assert shared["payload"]["contributors"] == ["a", "b"]
    for ai in ("a", "b"):
        assert fleet.redis.hget(f"coord:member:{ai}", "collaborations_completed") == b"1"


def test_all_of_it_goes_after_a_while(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=ONE_UNIT)
    fleet.report(f"{s}-1", workspace={"x": 1})
    assert kept(fleet) == {
        f"coord:session:{s}": "expires",
        f"coord:unit:{s}-1": "expires",
        f"coord:workspace:{s}": "expires",
    }
    assert fleet.redis.zscore("coord:sessions", s) == BEGINNING_MS
    fleet.pass_time(99)
    assert fleet.redis.exists("coord:sessions")
    fleet.pass_time(2)
    assert not fleet.redis.exists("coord:sessions")


def test_it_may_not_take_for_ever(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=ONE_UNIT)
    fleet.pass_time(3599)
    assert fleet.session(s)["state"] == "active"
    fleet.pass_time(2)
    ended = fleet.session(s)
    assert (ended["state"], ended["reason"]) == ("failed", "it was not done within 3600 s")
    assert fleet.queue("b") == []
    assert fleet.unit(f"{s}-1")["state"] == "cancelled"


@pytest.mark.parametrize(("said_yes", "state"), [(0, "expired"), (1, "active")])
def test_the_deadline(fleet: FleetUnderTest, said_yes: int, state: str) -> None:
    s = fleet.ask("a", participants=3)
    if said_yes:
        fleet.answer("b", s)
    fleet.pass_time(9)
    assert fleet.session(s)["state"] == "pending"
    fleet.pass_time(2)
    assert fleet.session(s)["state"] == state
    assert fleet.told("a", "collaboration_update")[-1]["status"] == state


def test_a_target_that_does_not_answer(fleet: FleetUnderTest) -> None:
    s = fleet.ask("a", target_ai="b")
    fleet.pass_time(11)
    assert fleet.session(s)["reason"] == "nobody joined within 10 s"


@pytest.mark.parametrize(
    ("who", "asked", "state", "reason"),
    [
        ("a", {"participants": 3}, "cancelled", "a asked for it and has left"),
        ("b", {"participants": 3}, "pending", ""),
        ("c", {"participants": 3}, "pending", ""),
        ("b", {"target_ai": "b"}, "declined", "b has left"),
    ],
)
def test_somebody_leaves_before_it_began(
    fleet: FleetUnderTest, who: str, asked: dict[str, Any], state: str, reason: str
) -> None:
    s = fleet.ask("a", **asked)
    if "participants" in asked:
        fleet.answer("b", s)
    leave(fleet, who)
    session = fleet.session(s)
    assert (session["state"], session["reason"]) == (state, reason)
    assert who == "a" or who not in session["participants"]


def test_who_leaves_loses_its_unit_to_another(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=ONE_UNIT)
    lost = job_id("b", f"{s}-1", 1)
    leave(fleet, "b")
    unit = fleet.unit(f"{s}-1")
    assert [(at["ai"], at["outcome"]) for at in unit["attempts"]] == [("b", "lost"), ("a", "")]
    assert (fleet.queue("b"), fleet.queue("a")) == ([], [fleet.job(f"{s}-1")])
    assert 0 < fleet.redis.ttl(f"rq:job:{lost}") <= 300
    assert fleet.redis.hget(f"coord:unit:{s}-1", "attempt") == b"2"


def test_the_initiator_leaves_and_the_others_go_on(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    leave(fleet, "a")
    assert fleet.unit(f"{s}-1")["attempts"][-1]["ai"] == "b"
    assert fleet.session(s)["state"] == "active"


def test_with_nobody_left_it_waits_and_then_fails(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=ONE_UNIT)
    leave(fleet, "a", "b", "c")
    assert fleet.unit(f"{s}-1")["state"] == "waiting"
    fleet.pass_time(59)
    assert fleet.session(s)["state"] == "active"
    fleet.pass_time(2)
    assert fleet.session(s)["reason"] == "nobody was there for 60 s to run u"


def test_who_leaves_does_not_end_what_nobody_has_joined_yet(fleet: FleetUnderTest) -> None:
    s = fleet.ask("operator", participants=2)
    leave(fleet, "c")
    assert fleet.session(s)["state"] == "pending"


def test_work_without_units_ends_when_the_last_has_left(fleet: FleetUnderTest) -> None:
    fleet.join("old-1", "old-2")
    s = fleet.collaborate("old-1", "old-2")
    leave(fleet, "old-1")
    assert fleet.session(s)["state"] == "active"
    leave(fleet, "old-2")
    assert fleet.session(s)["reason"] == "all who took part have left"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_somebody_comes_and_takes_what_nobody_could(
    fleet: FleetUnderTest, is_replaced: bool
) -> None:
    s = fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "rare"}])
    if is_replaced:
        fleet.replace_coordinator("coordinator-2")
    fleet.join("d", skills=["k"])
    assert fleet.unit(f"{s}-1")["state"] == "waiting"
    fleet.join("e", skills=["rare"])
    assert fleet.queue("e") == [fleet.job(f"{s}-1")]
    assert fleet.session(s)["participants"] == ["a", "b", "e"]


def test_after_a_takeover_what_nobody_can_do_fails_still(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "rare"}])
    fleet.replace_coordinator("coordinator-2")
    fleet.pass_time(61)
    assert fleet.session(s)["state"] == "failed"


def test_after_a_takeover_it_goes_on(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=[*ONE_UNIT, {"name": "v", "kind": "k", "needs": ["u"]}])
    before = fleet.state()
    fleet.replace_coordinator("coordinator-2")
    assert fleet.state() == before
    assert fleet.coordinator._fleet.assigned == {"b": 1}
    fleet.report(f"{s}-1")
    fleet.report(f"{s}-2")
    assert fleet.session(s)["state"] == "completed"


def test_an_ai_that_a_takeover_could_not_read_loses_its_units(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=ONE_UNIT)
    fleet.redis.hset("coord:member:b", "profile", "[]")
    fleet.replace_coordinator("coordinator-2")
    fleet.pass_time(2)
    assert fleet.unit(f"{s}-1")["attempts"][-1]["ai"] == "a"
    assert fleet.queue("b") == []


def test_a_session_that_cannot_be_handled_stops_no_other(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned = fleet.collaborate("a", "b", plan=ONE_UNIT)
    other = fleet.collaborate("a", "b", plan=ONE_UNIT)
    advance = sessions.advance

    def failing(session: Any, *rest: Any) -> Any:
        if session.id == poisoned:
            raise KeyError("a fault of ours")
        return advance(session, *rest)

    monkeypatch.setattr(sessions, "advance", failing)
    leave(fleet, "b")
    assert fleet.coordinator.active
    session = fleet.session(poisoned)
    assert (session["state"], session["reason"]) == (
        "failed",
        "internal: the coordinator failed on it",
    )
    assert f"gave up session {poisoned}" in caplog.text
    assert fleet.queue("a") == [fleet.job(f"{other}-1")]
    assert fleet.queue("b") == []
    assert fleet.coordinator._fleet.assigned == {"a": 1}
    assert kept(fleet)[f"coord:unit:{poisoned}-1"] == "expires"


@pytest.mark.parametrize(
    ("work", "error"),
    [({"requirements": {"x": "y" * 70_000}}, "too_large"), ({"target_ai": "nobody"}, "unknown")],
)
def test_what_is_refused_changes_nothing(
    fleet: FleetUnderTest, work: dict[str, Any], error: str
) -> None:
    fleet.say("a", "collaboration_request", {"type": "feature_development", **work})
    fleet.run()
    assert error in fleet.error("a")["code"]
    assert (fleet.coordinator._fleet.sessions, kept(fleet)) == ({}, {})


def test_a_fleet_has_room_for_so_many(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, sessions_max=1)
    fleet.join("a", "b")
    fleet.ask("a")
    fleet.say("b", "feature_request", {"feature": "f"})
    fleet.run()
    assert fleet.error("b")["code"] == "busy"


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("phase", ["before EXEC", "EXEC sent"])
def test_a_commit_that_is_interrupted_has_one_effect(
    real_redis: Redis, phase: Phase, nth: int
) -> None:
    fleet = FleetUnderTest(real_redis, lease_s=3600)
    fleet.join("a", "b", skills=SKILLS)
    faults = Faults(phase, nth)
    with faults.client(str(real_redis.get_connection_kwargs()["path"])) as client:
        fleet.redis.delete("coord:leader")
        fleet.coordinator = fleet.another("coordinator-2", client)
        s = fleet.collaborate("a", "b", plan=ONE_UNIT)
        queued = fleet.queue("b")
        fleet.report(f"{s}-1", output={"component": {"id": "f"}})
        fleet.say("a", "heartbeat")
        fleet.run()
    assert faults.struck
    assert queued == [job_id("b", f"{s}-1", 1)]
    assert (fleet.session(s)["state"], fleet.queue("b")) == ("completed", [])
    assert fleet.record("feature", "f")["revision"] == "1"
    assert fleet.redis.hget("coord:member:b", "units_completed") == b"1"
    assert [m["message_type"] for m in fleet.log()].count("os_component_share") == 1
    assert fleet.redis.zcard("coord:sessions") == 1
