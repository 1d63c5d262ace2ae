"""Validations that were lost are tried again, and the best are measured by what is new."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.validation_jobs import validation_job_id
from coordinator.validation_watch import LOOKED_AT_ONCE
from tests.fleet import FleetUnderTest, python

QUEUE = "rq:queue:coord.validation"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """An AI whose component waits for a validator."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v")
    share(fleet, "c")
    return fleet


def share(fleet: FleetUnderTest, *ids: str) -> None:
    for record_id in ids:
        fleet.say("a", "code_share", {"code": python(record_id)})
    fleet.run()


def job(fleet: FleetUnderTest, attempt: int = 1, record_id: str = "c") -> str:
    """The key of the job of that attempt."""
    digest = fleet.record("component", record_id)["hash"]
    return f"rq:job:{validation_job_id('component', record_id, digest, attempt)}"


def take(fleet: FleetUnderTest) -> str:
    """Be a worker that takes the next job, and says that it has begun; the job's key."""
    taken: Any = fleet.redis.lpop(QUEUE)
    key = f"rq:job:{taken.decode()}"
    fleet.redis.hset(key, mapping={"status": "started", "last_heartbeat": "1"})
    return key


def waiting(fleet: FleetUnderTest, record_id: str = "c") -> dict[str, Any]:
    return dict(json.loads(fleet.record("component", record_id).get("validating", "{}")))


def queued(fleet: FleetUnderTest) -> list[str]:
    found: Any = fleet.redis.lrange(QUEUE, 0, -1)
    return [f"rq:job:{name.decode()}" for name in found]


def look(fleet: FleetUnderTest, seconds: float) -> None:
    """Let time pass as it does, look by look."""
    for _ in range(int(seconds / 3)):
        fleet.pass_time(3)


def verdict(fleet: FleetUnderTest, record_id: str = "c") -> dict[str, Any]:
    return dict(json.loads(fleet.record("component", record_id)["validation"]))


# -- jobs that were lost ---------------------------------------------------------------------------


def test_what_lies_in_the_queue_waits_for_ever(fleet: FleetUnderTest) -> None:
    look(fleet, 60)
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([job(fleet)], 1)


@pytest.mark.parametrize("how", ["silent", "finished", "failed", "gone", "spoiled"])
def test_a_job_without_a_sign_of_life_is_tried_again(fleet: FleetUnderTest, how: str) -> None:
    key = take(fleet)
    if how in ("finished", "failed"):
        fleet.redis.hset(key, "status", how)
    if how in ("gone", "spoiled"):
        fleet.redis.delete(key)
    if how == "spoiled":
        fleet.redis.set(key, "junk")
    look(fleet, 15)
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([], 1)
    look(fleet, 3)
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([job(fleet, 2)], 2)
    assert fleet.redis.zcard("coord:validations") == 1
    assert how == "gone" or fleet.redis.ttl(key) == 300
    assert (fleet.events()[-1]["kind"], fleet.events()[-1]["ai"]) == ("validation_lost", "a")


def test_one_that_lives_is_left_alone(fleet: FleetUnderTest) -> None:
    key = take(fleet)
    for second in range(0, 60, 6):
        fleet.redis.hset(key, "last_heartbeat", str(second))
        look(fleet, 6)
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([], 1)


def test_one_that_was_put_back_has_its_time_anew(fleet: FleetUnderTest) -> None:
    taken: Any = fleet.redis.lpop(QUEUE)
    look(fleet, 12)
    fleet.redis.lpush(QUEUE, taken)
    look(fleet, 6)
    fleet.redis.lpop(QUEUE)
    look(fleet, 12)
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([], 1)


def test_the_wall_clock_loses_no_job(fleet: FleetUnderTest) -> None:
    take(fleet)
    look(fleet, 6)
    fleet.clock.step_wall(3600)
    look(fleet, 6)
    assert waiting(fleet)["attempt"] == 1


def test_after_a_takeover_it_has_its_time_anew(fleet: FleetUnderTest) -> None:
    take(fleet)
    look(fleet, 12)
    fleet.replace_coordinator("coordinator-2")
    look(fleet, 12)
    assert waiting(fleet)["attempt"] == 1
    look(fleet, 9)
    assert queued(fleet) == [job(fleet, 2)]


def test_three_times_are_enough(fleet: FleetUnderTest) -> None:
    fleet.join("b")
    for _ in range(3):
        take(fleet)
        look(fleet, 21)
    reason = (
        "its validation was lost 3 times, and RQ last called its job started: share it again to "
        "have it tried again"
    )
    assert (verdict(fleet)["verdict"], verdict(fleet)["reason"]) == ("not_validated", reason)
    assert (queued(fleet), waiting(fleet)) == ([], {})
    assert fleet.redis.exists("coord:validations") == 0
    (told,) = fleet.told("a", "validation_result")
    assert (told["reason"], told["validator"], told["contributor"]) == (reason, None, "a")
    assert (fleet.log()[-1]["payload"], fleet.log()[-1]["sender_id"]) == (told, "hub")
    assert fleet.excluded() == "a"
    share(fleet, "c")
    assert (queued(fleet), waiting(fleet)["attempt"]) == ([job(fleet)], 1)
    assert fleet.redis.ttl(job(fleet)) == -1


def test_a_late_verdict_of_a_lost_attempt_is_as_good_as_any(fleet: FleetUnderTest) -> None:
    take(fleet)
    look(fleet, 18)
    assert len(queued(fleet)) == 1
    fleet.judge("v", "c", verdict="passed", score=0.5, attempt=1)
    assert verdict(fleet)["verdict"] == "passed"
    assert (queued(fleet), waiting(fleet)) == ([], {})


def test_many_are_looked_at_in_turn(fleet: FleetUnderTest) -> None:
    ids = [f"c{n}" for n in range(LOOKED_AT_ONCE)]
    fleet.say("operator", "os_component_share", {"component": python("f")})
    for record_id in ids:
        fleet.say("operator", "code_share", {"code": python(record_id)})
    fleet.run()
    while queued(fleet):
        take(fleet)
    look(fleet, 45)
    attempts = {waiting(fleet, record_id)["attempt"] for record_id in ["c", *ids]}
    assert attempts == {2}


@pytest.mark.parametrize(
    ("key", "spoil"),
    [
        ("coord:validations", "string"),
        ("coord:evaluators", "string"),
        ("coord:component:c", "string"),
        ("coord:component:c", "gone"),
        ("coord:component:c", "validating"),
        ("coord:credit:a", "string"),
        ("coord:best:components:audio", "string"),
        ("coord:validations", "strange"),
        (QUEUE, "string"),
    ],
)
def test_what_strangers_spoil_stops_nobody(fleet: FleetUnderTest, key: str, spoil: str) -> None:
    for _ in range(2):
        take(fleet)
        look(fleet, 18)
    match spoil:
        case "string":
            fleet.redis.delete(key)
            fleet.redis.set(key, "junk")
        case "gone":
            fleet.redis.delete(key)
        case "validating":
            fleet.redis.hset(key, "validating", '{"attempt": "x"}')
        case "strange":
            fleet.redis.zadd(key, {"pattern:x": 1, "x": 2, b"\xff:1": 3})
    fleet.replace_coordinator("coordinator-2")
    fleet.join("v", evaluators={"audio": "audio-2"})
    look(fleet, 60)
    fleet.say("a", "code_share", {"code": python("d")})
    fleet.join("b")
    assert fleet.coordinator.active
    assert fleet.record("component", "d") != {}


# -- evaluators ------------------------------------------------------------------------------------


@pytest.fixture
def judged(fleet: FleetUnderTest) -> FleetUnderTest:
    """Twelve components and a feature that one evaluator has measured, and one of another's."""
    fleet.say("operator", "os_component_share", {"component": python("f", specialization="audio")})
    for n in range(11):
        fleet.say("operator", "code_share", {"code": python(f"c{n:02}", specialization="audio")})
    fleet.say("operator", "code_share", {"code": python("g", specialization="graphics")})
    fleet.run()
    fleet.judge("v", "f", "feature", verdict="passed", score=0.1, evaluator="audio-1")
    for n, record_id in enumerate(["c", *(f"c{n:02}" for n in range(11))]):
        score = 0.9 - n / 100
        fleet.judge("v", record_id, verdict="passed", score=score, evaluator="audio-1")
    fleet.judge("v", "g", verdict="passed", score=0.5, evaluator="graphics-1")
    return fleet


def again(fleet: FleetUnderTest) -> list[str]:
    found: Any = fleet.redis.zrange("coord:validations", 0, -1)
    return sorted(member.decode() for member in found)


def test_the_best_are_measured_again_when_an_evaluator_is_new(judged: FleetUnderTest) -> None:
    judged.join("v", evaluators={"audio": "audio-2", "graphics": "graphics-1"})
    look(judged, 9)
    best = ["c", *(f"c{n:02}" for n in range(9))]
    assert again(judged) == [*(f"component:{name}" for name in best), "feature:f"]
    assert len(queued(judged)) == 11
    assert judged.redis.hgetall("coord:evaluators") == {
        b"audio": b"audio-2",
        b"graphics": b"graphics-1",
    }
    assert verdict(judged)["evaluator"] == "audio-1"
    assert judged.record("component", "c")["quality_score"] == "0.9"


@pytest.mark.parametrize(
    ("score", "is_worse", "text"),
    [
        (0.895, False, "passed, 89.5% of the gap closed"),
        (0.5, True, "passed, 50.0% of the gap closed; it was 90.0% before"),
        (None, True, "failed: it is worse; it was 90.0% before"),
    ],
)
def test_a_regression_is_told(
    judged: FleetUnderTest, score: float | None, is_worse: bool, text: str
) -> None:
    judged.join("v", evaluators={"audio": "audio-2"})
    look(judged, 3)
    ended = {"verdict": "passed", "score": score} if score else {"reason": "it is worse"}
    judged.judge("v", "c", **ended, evaluator="audio-2")
    told = judged.told("a", "validation_result")[-1]
    assert (told["previous_score"], told["regression"]) == (0.9, is_worse)
    assert judged.events()[-1]["text"] == f"v validated component c of a: {text}"
    assert judged.redis.zscore("coord:best:components:audio", "c") == score
    assert judged.record("component", "c").get("quality_score") == (str(score) if score else None)


def test_what_is_the_same_is_not_measured_again(judged: FleetUnderTest) -> None:
    judged.join("v", evaluators={"audio": "audio-1"})
    look(judged, 9)
    judged.replace_coordinator("coordinator-2")
    look(judged, 9)
    assert again(judged) == []


def test_who_is_no_validator_changes_nothing(judged: FleetUnderTest) -> None:
    judged.join("a", evaluators={"audio": "audio-2"})
    look(judged, 9)
    assert (again(judged), judged.redis.exists("coord:evaluators")) == ([], 0)


def test_of_two_versions_the_one_that_came_last_counts(judged: FleetUnderTest) -> None:
    judged.enroll("w", key_id="key0000w", role="validator")
    judged.join("v", evaluators={"audio": "audio-2"})
    judged.clock.advance(1)
    judged.join("w", evaluators={"audio": "audio-1"})
    look(judged, 30)
    assert judged.redis.hgetall("coord:evaluators") == {b"audio": b"audio-1"}
    assert again(judged) == []
