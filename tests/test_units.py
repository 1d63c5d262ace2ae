"""Units: tried again where they did not fail, counted, and off the queue when they end."""

from __future__ import annotations

import pytest
from redis import Redis

from coordinator.jobs import job_id
from tests.fleet import BEGINNING_MS, FleetUnderTest

UNIT = [{"name": "u", "kind": "k", "participant": 0}]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", "b", skills=["k"])
    return fleet


def test_what_is_stored_of_one_that_is_given_out(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=[{**UNIT[0], "inputs": {"x": 1}, "limit_s": 5, "tries": 2}])
    attempt = {"ai": "a", "began_ms": BEGINNING_MS, "ended_ms": None, "outcome": "", "reason": ""}
    told = {
        "id": f"{s}-1",
        "session_id": s,
        "name": "u",
        "kind": "k",
        "participant": "a",
        "needs": [],
        "limit_s": 5.0,
        "tries": 2,
        "state": "queued",
        "progress": 0.0,
        "attempts": [attempt],
    }
    assert fleet.unit(f"{s}-1") == told | {"inputs": {"x": 1}}
    assert fleet.redis.hget(f"coord:unit:{s}-1", "attempt") == b"1"
    assert fleet.events()[-1] == {
        "kind": "unit_assigned",
        "ai": "a",
        "text": f"u of session {s} goes to a (attempt 1)",
        "data": {"session_id": s, "unit_id": f"{s}-1", "attempt": 1, "unit": told},
    }


def test_one_that_fails_is_tried_elsewhere_and_then_fails_the_session(
    fleet: FleetUnderTest,
) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    for n in range(3):
        assert fleet.session(s)["state"] == "active"
        fleet.report(f"{s}-1", "failed", reason=f"reason {n}")
    assert [attempt["ai"] for attempt in fleet.unit(f"{s}-1")["attempts"]] == ["a", "b", "a"]
    assert fleet.session(s)["reason"] == "u failed 3 times, last: reason 2"
    assert fleet.queue("a") == fleet.queue("b") == []
    assert fleet.coordinator._fleet.assigned == {}
    failed = [fleet.redis.hget(f"coord:member:{ai}", "units_failed") for ai in ("a", "b")]
    assert failed == [b"2", b"1"]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_nothing_stays_behind_of_a_job_that_nobody_ran(fleet: FleetUnderTest, outcome: str) -> None:
    s = fleet.collaborate("a", plan=[{**UNIT[0], "tries": 1}])
    fleet.report(f"{s}-1", outcome)
    assert fleet.queue("a") == []
    assert 0 < fleet.redis.ttl(f"rq:job:{job_id('a', f'{s}-1', 1)}") <= 300


def test_an_output_is_kept(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    fleet.report(f"{s}-1", output={"x": "字"}, workspace={"y": 1})
    assert fleet.redis.hget(f"coord:unit:{s}-1", "output") == '{"x":"字"}'.encode()
    (done,) = [event["data"] for event in fleet.events() if event["kind"] == "unit_completed"]
    assert (done["output"], done["unit"]["state"]) == ({"x": "字"}, "completed")
    assert fleet.redis.hget(f"coord:unit:{s}-1", "attempt") == b"0"
    assert fleet.redis.hget("coord:member:a", "units_completed") == b"1"
    assert fleet.session(s)["workspace"]["y"][0] == 1


def test_lost_attempts_are_no_failures(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    for _ in range(4):
        for ai in ("a", "b"):
            fleet.say(ai, "goodbye")
            fleet.run()
            fleet.join(ai, skills=["k"])
    unit = fleet.unit(f"{s}-1")
    assert {attempt["outcome"] for attempt in unit["attempts"][:-1]} == {"lost"}
    assert (unit["state"], len(unit["attempts"])) == ("queued", 9)
