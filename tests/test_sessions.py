"""Sessions from beginning to end: deadlines, who leaves, who comes, what is kept, what is told."""

from __future__ import annotations

import json
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
    indexes = [fleet.keys.records_of("feature", ai) for ai in ("a", "b")]
    assert [fleet.redis.zrange(index, 0, -1) for index in indexes] == [[f"collab_{s}".encode()]] * 2
    shared = fleet.log()[-1]
    assert (shared["sender_id"], shared["message_type"]) == ("hub", "os_component_share")
    assert shared["payload"]["contributors"] == ["a", "b"]
    for ai in ("a", "b"):
        assert fleet.redis.hget(f"coord:member:{ai}", "collaborations_completed") == b"1"


def make(fleet: FleetUnderTest, *ais: str, **component: Any) -> str:
    """A collaboration of ``ais`` that makes this component; its id."""
    s = fleet.collaborate(*ais, plan=[{"name": "u", "kind": "k"}])
    fleet.report(f"{s}-1", output={"component": component})
    assert fleet.session(s)["state"] == "completed"
    return s


def test_what_it_made_replaces_nothing_of_somebody_elses(fleet: FleetUnderTest) -> None:
    fleet.say("c", "os_component_share", {"component": {"id": "f", "own": 1}})
    fleet.run()
    s = make(fleet, "a", "b", id="f", own=2)
    assert fleet.session(s)["component_id"] == f"collab_{s}"
    assert fleet.log()[-1]["payload"]["component"] == {"id": f"collab_{s}", "own": 2}
    assert json.loads(fleet.record("feature", f"collab_{s}")["record"])["own"] == 2
    assert json.loads(fleet.record("feature", "f")["record"])["own"] == 1


def test_what_it_made_has_an_id_though_somebody_took_the_sessions_own(
    fleet: FleetUnderTest,
) -> None:
    s = fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "k"}])
    fleet.redis.hset(f"coord:feature:collab_{s}", "contributor", "c")
    fleet.report(f"{s}-1", output={"component": {"own": 1}})
    made = fleet.session(s)["component_id"]
    assert made not in (None, f"collab_{s}")
    assert fleet.record("feature", made)["contributor"] == "a"


@pytest.mark.parametrize("reloads", [False, True])
def test_who_made_it_together_may_each_share_it_again(fleet: FleetUnderTest, reloads: bool) -> None:
    plan = [{"name": f"u{n}", "kind": "k", "participant": n} for n in (0, 1)]
    s = fleet.collaborate("a", "b", plan=plan)
    fleet.report(f"{s}-1")
    fleet.report(f"{s}-2", output={"component": {"id": "f"}})
    if reloads:
        fleet.replace_coordinator("coordinator-2")
    for ai in ("b", "c"):
        fleet.say(ai, "os_component_share", {"component": {"id": "f", "by": ai}})
        fleet.run()
    stored = fleet.record("feature", "f")
    assert json.loads(stored["record"])["by"] == "b"
    assert (stored["contributor"], stored["contributors"]) == ("a", '["a","b"]')
    assert fleet.error("c")["code"] == "forbidden"


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


@pytest.mark.parametrize("takes_over", [False, True])
def test_an_attempt_that_hangs_has_failed_a_while_after_its_limit(
    fleet: FleetUnderTest, takes_over: bool
) -> None:
    s = fleet.collaborate("a", "b", plan=[{**ONE_UNIT[0], "limit_s": 10}])
    fleet.pass_time(100)  # it waits in its queue
    fleet.report(f"{s}-1", "running")
    if takes_over:
        fleet.pass_time(39)
        fleet.replace_coordinator("coordinator-2")
    fleet.pass_time(39)
    assert fleet.unit(f"{s}-1")["state"] == "running"
    fleet.report(f"{s}-1", "running", progress=0.5)
    fleet.pass_time(2)
    hung, again = fleet.unit(f"{s}-1")["attempts"]
    reason = "took longer than 10 s, and did not end by itself"
    assert (hung["ai"], hung["outcome"], hung["reason"]) == ("b", "failed", reason)
    assert (again["ai"], again["outcome"]) == ("a", "")
    assert (len(fleet.queue("a")), fleet.queue("b")) == (1, [])
    fleet.pass_time(100)
    assert len(fleet.unit(f"{s}-1")["attempts"]) == 2


def test_several_that_hang_spoil_their_session_once(fleet: FleetUnderTest) -> None:
    plan = [{"name": f"u{n}", "kind": "k", "limit_s": 10, "tries": 1} for n in (1, 2)]
    s = fleet.collaborate("a", "b", plan=plan)
    for n in (1, 2):
        fleet.report(f"{s}-{n}", "running")
    fleet.pass_time(41)
    assert fleet.session(s)["state"] == "failed"
    assert sorted(fleet.unit(f"{s}-{n}")["state"] for n in (1, 2)) == ["cancelled", "failed"]


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


def reasons(fleet: FleetUnderTest, ai: str) -> list[tuple[str, str]]:
    """What an AI was told of its collaboration: the state, and the reason."""
    told = fleet.told(ai, "collaboration_update")
    return [(update["status"], update["reason"]) for update in told]


def test_work_that_nobody_has_the_skills_for_is_left_to_who_takes_part(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b")
    s = fleet.collaborate("a", "b")
    reason = "no units: nobody here has the skills for them; share a component to end it"
    assert fleet.session(s)["reason"] == reason
    assert reasons(fleet, "b") == [("active", reason)]
    ends = {"component": {"name": "n"}, "session_id": s, "collaboration_complete": True}
    fleet.say("b", "os_component_share", ends)
    fleet.run()
    assert reasons(fleet, "b")[1:] == [("completed", "")]


def test_who_takes_part_is_told_what_a_unit_waits_for_and_when_no_more(
    fleet: FleetUnderTest,
) -> None:
    s = fleet.ask("a", participants=1, plan=[{"name": "u", "kind": "rare"}])
    waits = "waits for somebody with the skill rare"
    assert fleet.session(s)["reason"] == waits
    fleet.join("d", skills=["rare"])
    assert fleet.session(s)["reason"] == ""
    leave(fleet, "d")
    assert reasons(fleet, "a") == [("active", waits), ("active", ""), ("active", waits)]


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


def test_a_fleet_has_room_for_so_many_units(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, units_max=4)
    fleet.join("a", "b", skills=SKILLS)
    plan = [{"name": f"u{n}", "kind": "k"} for n in range(3)]
    full = fleet.collaborate("a", plan=plan)
    fleet.say("b", "collaboration_request", {"type": "feature_development", "plan": plan})
    fleet.run()
    assert fleet.error("b")["code"] == "busy"
    planned_later = fleet.collaborate("a", "b")
    ended = fleet.session(planned_later)
    assert (ended["state"], "4 are the most" in ended["reason"]) == ("failed", True)
    assert fleet.coordinator._fleet.units.keys() == {f"{full}-{n}" for n in (1, 2, 3)}
    assert set(kept(fleet).values()) == {"expires", "stays"}


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
