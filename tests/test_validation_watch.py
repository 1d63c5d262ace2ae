"""Validations that were lost are tried again, and the best are measured by what is new."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator import credit
from coordinator.keys import Keys, RecordKey
from coordinator.validation.watch import LOOKED_AT_ONCE
from tests.fleet import FleetUnderTest, python
from tests.watched import QUEUE, job, look, queued, share, take, verdict, waiting


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """An AI whose component waits for a validator."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v")
    share(fleet, "c")
    return fleet


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
        ("coord:best:components:sound", "string"),
        ("coord:validations", "strange"),
        ("coord:member:a", "string"),
        ("coord:member:a", "number"),
        ("coord:derived:component:c", "string"),
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
        case "number":
            fleet.redis.hset(key, "validations_queued", "x")
        case "strange":
            fleet.redis.zadd(key, {"pattern:x": 1, "x": 2, b"\xff:1": 3})
    fleet.replace_coordinator("coordinator-2")
    fleet.join("v", evaluators={"sound": "sound-2"})
    look(fleet, 60)
    fleet.join("a", specialization="audio")
    fleet.say("a", "code_share", {"code": python("d")})
    fleet.join("b")
    assert fleet.coordinator.active
    assert fleet.record("component", "d") != {}


SPOILED_FIELDS = {
    "a score that is huge": ("validation", '{"verdict": "passed", "score": ' + "9" * 400 + "}"),
    "a score that is none": ("validation", '{"verdict": "passed", "score": NaN}'),
    "an infinite score": ("validation", '{"verdict": "passed", "score": 1e999}'),
    "a hash": ("validating", '{"hash": "\\ud800", "attempt": 3, "queued_ms": 1}'),
    "an attempt": ("validating", '{"hash": "' + "a" * 64 + '", "attempt": 99, "queued_ms": 1}'),
    "names": ("contributors", '["\\ud800"]'),
    "origins": ("origins", '["component:\\ud800", 7]'),
    "who is credited": ("credited", "[1, 2]"),
}


@pytest.mark.parametrize(("field", "junk"), SPOILED_FIELDS.values(), ids=SPOILED_FIELDS.keys())
def test_a_spoiled_field_costs_its_record_at_most(
    fleet: FleetUnderTest, field: str, junk: str
) -> None:
    share(fleet, "d")
    for _ in range(2):
        take(fleet)
        take(fleet)
        look(fleet, 18)
    take(fleet)
    take(fleet)
    fleet.redis.hset("coord:component:c", field, junk)
    fleet.replace_coordinator("coordinator-2")
    look(fleet, 27)
    assert verdict(fleet, "d")["verdict"] == "not_validated"
    assert fleet.redis.exists("coord:validations") == 0
    share(fleet, "c")
    fleet.judge("v", "c", verdict="passed", score=0.5)
    assert fleet.record("component", "c")["quality_score"] == "0.5"
    assert fleet.redis.exists("coord:dead") == 0


def test_a_record_on_which_the_watch_fails_waits_no_longer(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    share(fleet, "d")
    read = credit.read_ledger

    def fail_on_c(connection: Redis, keys: Keys, record: RecordKey) -> credit.Ledger:
        if record.id == "c":
            raise KeyError("spoiled")
        return read(connection, keys, record)

    monkeypatch.setattr("coordinator.credit.read_ledger", fail_on_c)
    for _ in range(3):
        take(fleet)
        take(fleet)
        look(fleet, 21)
    assert (waiting(fleet), waiting(fleet, "d")) == ({}, {})
    assert "validation" not in fleet.record("component", "c")
    assert verdict(fleet, "d")["verdict"] == "not_validated"
    assert "gave up the validation of component c" in caplog.text
    fleet.check_memory()
