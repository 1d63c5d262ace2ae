"""What RQ says of units whose AI says nothing; all of it is data that anybody may have written."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

import pytest
from redis import Redis

from coordinator.job_watch import LOOKED_AT_ONCE
from tests.fleet import FleetUnderTest

UNIT = [{"name": "u", "kind": "k", "tries": 1}]
REQUEST = {"type": "feature_development", "participants": 1, "plan": UNIT}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", skills=["k"])
    return fleet


def end(fleet: FleetUnderTest, unit_id: str, status: str, **result: Any) -> None:
    """What RQ leaves of a job that ended so."""
    job = fleet.job(unit_id)
    fleet.redis.hset(f"rq:job:{job}", "status", status)
    if result:
        fields: dict[Any, Any] = {"type": "1", **result}
        fleet.redis.xadd(f"rq:results:{job}", fields)


def look(fleet: FleetUnderTest) -> None:
    """Twice, as an end counts only when it is seen again."""
    fleet.pass_time(1.5)
    fleet.pass_time(1.5)


def returned(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def result_of(s: str, **more: Any) -> dict[str, Any]:
    return {"session_id": s, "unit_id": f"{s}-1", "attempt": 1, "outcome": "completed", **more}


def test_a_result_that_got_lost_is_found(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    end(fleet, f"{s}-1", "finished", return_value=returned(result_of(s, output={"x": 1})))
    fleet.pass_time(1.5)
    assert fleet.session(s)["state"] == "active"
    fleet.pass_time(1.5)
    assert fleet.session(s)["state"] == "completed"
    assert fleet.redis.hget(f"coord:unit:{s}-1", "output") == b'{"x":1}'


def test_a_job_that_began_is_running(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    end(fleet, f"{s}-1", "started")
    fleet.pass_time(1.5)
    assert fleet.unit(f"{s}-1")["state"] == "running"


@pytest.mark.parametrize(
    ("joined_by", "comes_by"),
    [("", ""), ("g1", ""), ("g1", "g1")],
    ids=["Redis", "both", "gateway"],
)
def test_a_result_on_its_way_comes_first(redis: Redis, joined_by: str, comes_by: str) -> None:
    """Whether by the door of the AI's agent, or of its work-horse."""
    fleet = FleetUnderTest(redis, lease_s=3600, batch_max_messages=1)
    fleet.join("a", skills=["k"], gateway=joined_by)
    fleet.say("a", "collaboration_request", REQUEST, gateway=joined_by)
    fleet.run()
    s = str(fleet.told("a", "collaboration_update")[-1]["session_id"])
    end(fleet, f"{s}-1", "failed")
    for _ in range(3):
        fleet.say("a", "heartbeat", instance="a.1/u/1", gateway=comes_by)
    fleet.say("a", "work_result", result_of(s), instance="a.1/u/1", gateway=comes_by)
    for _ in range(3):
        fleet.clock.advance(1.5)
        fleet.coordinator.step()
        assert fleet.session(s)["state"] == "active"
    fleet.run()
    assert fleet.session(s)["state"] == "completed"


def test_a_work_horse_that_was_killed(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    traceback = base64.b64encode(zlib.compress(b"first\nWork-horse terminated\n")).decode()
    end(fleet, f"{s}-1", "failed", exc_string=traceback)
    look(fleet)
    assert fleet.session(s)["reason"] == "u failed 1 times, last: Work-horse terminated"


@pytest.mark.parametrize(
    ("status", "result", "reason"),
    [
        ("failed", {}, "its RQ job failed"),
        ("canceled", {}, "its RQ job failed"),
        ("failed", {"exc_string": "junk"}, "its RQ job failed"),
        ("finished", {}, "its RQ job finished without a result"),
        ("finished", {"return_value": "junk"}, "its RQ job finished without a result"),
        ("finished", {"return_value": returned([1])}, "its RQ job finished without a result"),
        ("finished", {"type": "x"}, "its RQ job finished without a result"),
        ("finished", {"return_value": returned({})}, "with something that is no result"),
        ("finished", {"return_value": returned({"x": "\ud800"})}, "a result that is no JSON"),
        ("finished", {"return_value": returned({"x": float("nan")})}, "a result that is no JSON"),
        ("finished", {"return_value": returned({"x": "y" * 300_000})}, "has 300008 bytes"),
    ],
)
def test_what_ends_without_a_result_has_failed(
    fleet: FleetUnderTest, status: str, result: dict[str, Any], reason: str
) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    end(fleet, f"{s}-1", status, **result)
    look(fleet)
    assert fleet.coordinator.active
    assert reason in fleet.session(s)["reason"]


class Evil:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


def test_nothing_is_unpickled(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    pickled = base64.b64encode(pickle.dumps(Evil())).decode()
    end(fleet, f"{s}-1", "finished", return_value=pickled)
    look(fleet)
    assert fleet.session(s)["state"] == "failed"


@pytest.mark.parametrize("harm", ["deleted", "retyped", "its results retyped"])
def test_a_job_that_somebody_harmed(fleet: FleetUnderTest, harm: str) -> None:
    s = fleet.collaborate("a", plan=UNIT)
    job = fleet.job(f"{s}-1")
    if harm == "its results retyped":
        end(fleet, f"{s}-1", "finished")
        fleet.redis.set(f"rq:results:{job}", "x")
    else:
        fleet.redis.delete(f"rq:job:{job}")
    if harm == "retyped":
        fleet.redis.set(f"rq:job:{job}", "x")
    look(fleet)
    assert fleet.session(s)["state"] == "failed"
    assert fleet.queue("a") == []


def test_two_units_of_a_session_end_at_once(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", plan=[*UNIT, {"name": "v", "kind": "k", "tries": 1}])
    end(fleet, f"{s}-1", "failed")
    end(fleet, f"{s}-2", "failed")
    look(fleet)
    assert fleet.coordinator.active
    assert fleet.session(s)["state"] == "failed"
    assert [fleet.unit(f"{s}-{n}")["state"] for n in (1, 2)] == ["failed", "cancelled"]


def test_all_are_looked_at_in_turn(fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOOKED_AT_ONCE > 1
    monkeypatch.setattr("coordinator.job_watch.LOOKED_AT_ONCE", 1)
    s = fleet.collaborate("a", plan=[{"name": f"u{n}", "kind": "k"} for n in range(3)])
    for n in (1, 2, 3):
        end(fleet, f"{s}-{n}", "started")
    for n in (1, 2, 3):
        assert fleet.unit(f"{s}-{n}")["state"] == "queued"
        fleet.pass_time(1.5)
        assert fleet.unit(f"{s}-{n}")["state"] == "running"
