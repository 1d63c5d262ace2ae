"""Evaluators change: the best are measured again, and no fault of a validator's costs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.validation.models import ATTEMPTS
from coordinator.validation.watch import MOST_EVALUATORS, VERSION_STANDS_S
from tests.fleet import FleetUnderTest, python
from tests.watched import look, queued, share, take, verdict, waiting

STOOD_S = VERSION_STANDS_S + 6


@pytest.fixture
def judged(redis: Redis) -> FleetUnderTest:
    """Twelve components and a feature that one evaluator has measured, and one of another's."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v")
    share(fleet, "c")
    fleet.say("operator", "os_component_share", {"component": python("f", specialization="audio")})
    for n in range(11):
        fleet.say("operator", "code_share", {"code": python(f"c{n:02}", specialization="audio")})
    fleet.say("operator", "code_share", {"code": python("g", specialization="graphics")})
    fleet.run()
    fleet.judge("v", "f", "feature", verdict="passed", score=0.1, evaluator="sound-1")
    for n, record_id in enumerate(["c", *(f"c{n:02}" for n in range(11))]):
        score = 0.9 - n / 100
        fleet.judge("v", record_id, verdict="passed", score=score, evaluator="sound-1")
    fleet.judge("v", "g", verdict="passed", score=0.5, evaluator="shapes-1", problem="shapes")
    return fleet


def again(fleet: FleetUnderTest) -> list[str]:
    found: Any = fleet.redis.zrange("coord:validations", 0, -1)
    return sorted(member.decode() for member in found)


def test_the_best_are_measured_again_when_an_evaluator_is_new(judged: FleetUnderTest) -> None:
    judged.join("v", evaluators={"sound": "sound-2", "shapes": "shapes-1"})
    look(judged, STOOD_S + 6)
    best = ["c", *(f"c{n:02}" for n in range(9))]
    assert again(judged) == [*(f"component:{name}" for name in best), "feature:f"]
    assert len(queued(judged)) == 11
    assert judged.redis.hgetall("coord:evaluators") == {
        b"sound": b"sound-2",
        b"shapes": b"shapes-1",
    }
    assert verdict(judged)["evaluator"] == "sound-1"
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
    judged.join("v", evaluators={"sound": "sound-2"})
    look(judged, STOOD_S)
    ended = {"verdict": "passed", "score": score} if score else {"reason": "it is worse"}
    judged.judge("v", "c", **ended, evaluator="sound-2")
    told = judged.told("a", "validation_result")[-1]
    assert (told["previous_score"], told["regression"]) == (0.9, is_worse)
    assert judged.events()[-1]["text"] == f"v validated component c of a: {text}"
    assert judged.redis.zscore("coord:best:components:sound", "c") == score
    assert judged.record("component", "c").get("quality_score") == (str(score) if score else None)


def test_what_is_the_same_is_not_measured_again(judged: FleetUnderTest) -> None:
    judged.join("v", evaluators={"sound": "sound-1"})
    look(judged, STOOD_S + 6)
    judged.replace_coordinator("coordinator-2")
    look(judged, STOOD_S + 6)
    assert again(judged) == []


def test_who_is_no_validator_changes_nothing(judged: FleetUnderTest) -> None:
    judged.join("a", evaluators={"sound": "sound-2"})
    look(judged, STOOD_S + 6)
    assert (again(judged), judged.redis.exists("coord:evaluators")) == ([], 0)


def test_of_two_versions_the_one_that_came_last_counts(judged: FleetUnderTest) -> None:
    judged.enroll("w", key_id="key0000w", role="validator")
    judged.join("v", evaluators={"sound": "sound-2"})
    judged.clock.advance(1)
    judged.join("w", evaluators={"sound": "sound-1"})
    look(judged, STOOD_S + 6)
    assert judged.redis.hgetall("coord:evaluators") == {b"sound": b"sound-1"}
    assert again(judged) == []


def test_a_version_counts_once_it_has_stood_for_a_while(judged: FleetUnderTest) -> None:
    """The newest validator comes and goes, again and again."""
    judged.enroll("w", key_id="key0000w", role="validator")
    judged.join("v", evaluators={"sound": "sound-1"})
    for _ in range(3):
        judged.join("w", evaluators={"sound": "sound-2"})
        look(judged, VERSION_STANDS_S - 6)
        judged.say("w", "goodbye")
        look(judged, 6)
    assert (again(judged), judged.redis.exists("coord:evaluators")) == ([], 0)
    judged.join("w", evaluators={"sound": "sound-2"})
    look(judged, STOOD_S)
    assert len(again(judged)) == 11


def test_what_nobody_measures_any_more_is_forgotten(judged: FleetUnderTest) -> None:
    judged.join("v", evaluators={"sound": "sound-1"})
    look(judged, STOOD_S)
    assert judged.redis.hlen("coord:evaluators") == 1
    judged.say("v", "goodbye")
    look(judged, 3)
    assert judged.redis.exists("coord:evaluators") == 0
    judged.check_memory()


def test_so_many_evaluators_are_known_at_most(
    judged: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.validation.watch.VERSION_STANDS_S", 0.0)
    for number, half in enumerate(("w", "x")):
        judged.enroll(half, key_id=f"key0000{half}", role="validator")
        names = range(number * 40, number * 40 + 40)
        judged.join(half, evaluators={f"s{name}": "1" for name in names})
    look(judged, 90 * 3)
    assert judged.redis.hlen("coord:evaluators") == MOST_EVALUATORS


SPOILED_LISTS = {
    "a list": [1, 2],
    "an object for a version": {"audio": {"x": 1}},
    "what nobody can write": {"audio": "\ud800"},
    "a word": "audio",
}


@pytest.mark.parametrize("spoiled", SPOILED_LISTS.values(), ids=SPOILED_LISTS.keys())
@pytest.mark.parametrize("where", ["evaluators", "profile"])
def test_a_spoiled_profile_stops_nobody(
    judged: FleetUnderTest, spoiled: object, where: str
) -> None:
    stored: Any = judged.redis.hget("coord:member:v", "profile")
    profile = json.loads(stored)
    profile["profile"] = spoiled if where == "profile" else {"evaluators": spoiled}
    judged.redis.hset("coord:member:v", "profile", json.dumps(profile))
    judged.replace_coordinator("coordinator-2")
    look(judged, STOOD_S)
    assert judged.coordinator.active
    assert judged.redis.exists("coord:evaluators") == 0


@pytest.fixture
def changed(judged: FleetUnderTest) -> FleetUnderTest:
    """The best wait for their verdict by another evaluator."""
    judged.join("v", evaluators={"sound": "sound-2"})
    look(judged, STOOD_S)
    return judged


def worth(fleet: FleetUnderTest) -> tuple[Any, ...]:
    """What component c has of its verdict."""
    best = fleet.redis.zscore("coord:best:components:sound", "c")
    record = fleet.record("component", "c")
    book = fleet.redis.hgetall("coord:credit:a")
    return best, record["quality_score"], record["validation"], book


def test_what_a_validator_could_not_measure_again_keeps_its_verdict(
    changed: FleetUnderTest,
) -> None:
    before, told = worth(changed), len(changed.inbox("a"))
    changed.judge("v", "c", verdict="not_validated", reason="no sandbox holds")
    assert (worth(changed), waiting(changed)) == (before, {})
    assert len(changed.inbox("a")) == told
    event = changed.events()[-1]
    assert (event["kind"], event["ai"], event["text"]) == (
        "validation_kept",
        "a",
        "component c of a was not measured again, and keeps its verdict: v could not: "
        "no sandbox holds",
    )
    changed.check_memory()


def test_what_is_lost_while_it_is_measured_again_keeps_its_verdict(
    changed: FleetUnderTest,
) -> None:
    before = worth(changed)
    for _ in range(ATTEMPTS):
        while queued(changed):
            take(changed)
        look(changed, 24)
    look(changed, 60)
    assert (worth(changed), again(changed)) == (before, [])
    assert {e["kind"] for e in changed.events()[-11:]} == {"validation_kept"}
    changed.check_memory()


def test_a_verdict_of_another_version_counts_and_leaves_it_waiting(
    changed: FleetUnderTest,
) -> None:
    for attempt, score in zip(range(2, ATTEMPTS + 1), (0.7, 0.6), strict=True):
        changed.judge("v", "c", verdict="passed", score=score, evaluator="sound-1")
        assert changed.record("component", "c")["quality_score"] == str(score)
        assert waiting(changed)["attempt"] == attempt
    changed.replace_coordinator("coordinator-2")
    assert waiting(changed)["evaluator"] == "sound-2"
    changed.judge("v", "c", verdict="passed", score=0.5, evaluator="sound-1")
    assert waiting(changed) == {}
    changed.judge("v", "c01", verdict="passed", score=0.5, evaluator="sound-2")
    assert waiting(changed, "c01") == {}
    changed.check_memory()


@pytest.mark.parametrize("ghost", ["ghost", b"\xff"])
def test_what_a_stranger_lists_among_the_best_is_not_measured(
    judged: FleetUnderTest, ghost: Any
) -> None:
    judged.redis.zadd("coord:best:components:sound", {ghost: 1})
    judged.join("v", evaluators={"sound": "sound-2"})
    look(judged, STOOD_S)
    assert "component:c" in again(judged)
    assert len(again(judged)) == 10
    assert judged.redis.exists("coord:component:ghost") == 0


WORKLOADS = {
    "a little, on the same": ("w1", 0.89, False),
    "more, on the same": ("w1", 0.87, True),
    "more, on another": ("w2", 0.66, False),
    "far more, on another": ("w2", 0.64, True),
}


@pytest.mark.parametrize(
    ("workload", "score", "is_worse"), WORKLOADS.values(), ids=WORKLOADS.keys()
)
def test_what_is_worse_goes_by_what_it_was_measured_on(
    redis: Redis, workload: str, score: float, is_worse: bool
) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v", evaluators={"sound": "sound-2"})
    share(fleet, "c")
    passed = {"verdict": "passed", "evaluator": "sound-1"}
    fleet.judge("v", "c", **passed, score=0.9, workload="w1")
    fleet.replace_coordinator("coordinator-2")
    look(fleet, STOOD_S)
    fleet.judge("v", "c", **passed | {"evaluator": "sound-2"}, score=score, workload=workload)
    assert (verdict(fleet)["previous_score"], verdict(fleet)["regression"]) == (0.9, is_worse)
