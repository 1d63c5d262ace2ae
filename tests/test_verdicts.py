"""Verdicts: whose count, what they give and take, and who is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.clock import iso
from coordinator.validation.watch import VERSION_STANDS_S
from tests.fleet import BEGINNING_MS, FleetUnderTest, changed, python
from tests.watched import look

PASSED: dict[str, Any] = {
    "verdict": "passed",
    "reason": "",
    "problem": "sound",
    "evaluator": "audio-0123456789ab",
    "workload": "0123456789ab",
    "score": 0.632,
    "costs": {"achieved": 1.5, "baseline": 2.0, "bound": 1.0},
    "cost_unit": "misses",
    "sandbox": "bubblewrap",
    "limits": {"cpu_s": 15.0},
    "timings": {"total_ms": 40.0},
    "tests": ["test_it"],
    "not_run": [],
    "dropped": [],
}
HELD = "coord:component:c"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """An AI whose component waits for two validators; another one listens."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    for validator in ("v", "w"):
        fleet.enroll(validator, key_id=f"key0000{validator}", role="validator")
    fleet.join("a", "b", specialization="audio")
    fleet.join("v", "w")
    fleet.say("a", "code_share", {"code": python("c")})
    fleet.run()
    return fleet


def item(fleet: FleetUnderTest) -> dict[str, Any]:
    """The component as whoever asks is shown it."""
    fleet.join("b", instance="b.1")
    base = fleet.sync("b")["global_knowledge_base"]
    return dict(base["shared_components"]["c"])


def verdict(fleet: FleetUnderTest) -> dict[str, Any]:
    return dict(json.loads(fleet.record("component", "c")["validation"]))


def test_a_verdict_is_stored_counts_and_is_told(fleet: FleetUnderTest) -> None:
    before, digest = fleet.state(), fleet.record("component", "c")["hash"]
    fleet.judge("v", "c", **PASSED, own="kept")
    after = fleet.state()
    found = {
        "validator": "v",
        "timestamp": iso(BEGINNING_MS),
        "previous_score": None,
        "regression": False,
    }
    assert verdict(fleet) == PASSED | found
    stored = fleet.record("component", "c")
    assert (stored["quality_score"], "validating" in stored) == ("0.632", False)
    assert fleet.redis.zrange("coord:best:components:sound", 0, -1, withscores=True) == [
        (b"c", 0.632)
    ]
    assert fleet.redis.exists("coord:validations", "rq:queue:coord.validation") == 0
    assert {name for name in changed(before, after) if not name.startswith("rq:")} == {
        *(HELD, "coord:best:components:sound", "coord:validations"),
        *("coord:credit:a", "coord:member:a", "coord:inbox:a", "coord:log", "coord:events"),
        *("coord:totals", "coord:verdicts", "coord:instance:v/v.1/c"),
    }
    told = {"kind": "component", "component_id": "c", "hash": digest, "attempt": 1}
    told |= {**PASSED, **found, "contributor": "a", "own": "kept"}
    assert fleet.told("a", "validation_result") == [told]
    assert (fleet.log()[-1]["payload"], fleet.log()[-1]["sender_id"]) == (told, "v")
    assert fleet.excluded() == "a,v"
    assert fleet.events()[-2:] == [
        {
            "kind": "credited",
            "ai": "a",
            "text": "a is credited with a contribution score of 0.632",
            "data": {"contribution_score": 0.632},
        },
        {
            "kind": "validated",
            "ai": "a",
            "text": "v validated component c of a: passed, 63.2% of the gap closed",
            "data": {
                **PASSED,
                **found,
                "kind": "component",
                "component_id": "c",
                "hash": digest,
                "contributors": ["a"],
            },
        },
    ]


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        ({"verdict": "failed", "reason": "test_x: no"}, "failed: test_x: no"),
        ({"verdict": "compiled"}, "compiled, not measured"),
        ({"verdict": "not_validated", "reason": "no rung"}, "not validated: no rung"),
    ],
)
def test_only_what_passed_has_a_score(
    fleet: FleetUnderTest, ended: dict[str, Any], text: str
) -> None:
    fleet.judge("v", "c", **ended)
    assert verdict(fleet)["verdict"] == ended["verdict"]
    assert "quality_score" not in fleet.record("component", "c")
    assert fleet.redis.exists("coord:best:components:sound", "coord:credit:a") == 0
    assert fleet.events()[-1]["text"] == f"v validated component c of a: {text}"
    assert (item(fleet)["quality_score"], item(fleet)["integration_tested"]) == (None, False)


def test_what_passed_is_shown_with_its_score(fleet: FleetUnderTest) -> None:
    fleet.judge("v", "c", **PASSED)
    shown = item(fleet)
    assert (shown["quality_score"], shown["integration_tested"]) == (0.632, True)
    assert "validation" not in shown


@pytest.mark.parametrize(
    ("role", "code", "detail"),
    [
        (None, "forbidden", "by `coord enroll x --role validator`"),
        ("trainer", "forbidden", "by `coord enroll x --role validator`"),
        ("operator", "forbidden", "by `coord enroll x --role validator`"),
        ("observer", "forbidden", "by `coord enroll x --role validator`"),
    ],
)
def test_nobody_but_a_validator_is_believed(
    fleet: FleetUnderTest, role: str | None, code: str, detail: str
) -> None:
    if role:
        fleet.enroll("x", key_id="key0000x", role=role)
    before = fleet.record("component", "c")
    fleet.judge("x", "c", **PASSED)
    assert fleet.error("x")["code"] == code
    assert detail in fleet.error("x")["detail"]
    assert fleet.record("component", "c") == before


def test_people_at_a_shell_are_no_validators(fleet: FleetUnderTest) -> None:
    fleet.judge("operator", "c", **PASSED)
    assert fleet.error("operator")["code"] == "forbidden"
    assert "validation" not in fleet.record("component", "c")


def test_a_validator_that_was_shut_out_is_not_believed(fleet: FleetUnderTest) -> None:
    fleet.order("revoke", ai="v")
    fleet.judge("v", "c", **PASSED)
    assert fleet.error("v")["code"] == "revoked"
    assert "validation" not in fleet.record("component", "c")


def test_a_work_horse_is_believed_after_its_agent_has_gone(fleet: FleetUnderTest) -> None:
    fleet.say("v", "goodbye")
    fleet.run()
    fleet.judge("v", "c", **PASSED)
    assert verdict(fleet)["validator"] == "v"


def test_nobody_validates_what_he_wrote(fleet: FleetUnderTest) -> None:
    fleet.say("v", "code_share", {"code": python("own")})
    fleet.run()
    fleet.judge("v", "own", **PASSED)
    assert (fleet.error("v")["code"], fleet.error("v")["field"]) == (
        "forbidden",
        "payload.component_id",
    )
    assert "validation" not in fleet.record("component", "own")
    fleet.judge("w", "own", **PASSED)
    assert fleet.record("component", "own")["quality_score"] == "0.632"


def test_what_is_not_there_is_not_found(fleet: FleetUnderTest) -> None:
    fleet.judge("v", "nowhere", **PASSED)
    assert fleet.error("v")["code"] == "not_found"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"score": None},
        {"verdict": "failed"},
        {"verdict": "good"},
        {"score": 1.5},
        {"problem": ""},
        {"score": float("nan")},
        {"score": "0.5"},
        {"kind": "pattern"},
        {"hash": "x"},
        {"attempt": 0},
        {"reason": "x" * 501},
        {"tests": ["x"] * 101},
        {"costs": {"achieved": "x"}},
    ],
)
def test_a_verdict_that_is_none_is_refused(fleet: FleetUnderTest, spoiled: dict[str, Any]) -> None:
    before = fleet.record("component", "c")
    fleet.judge("v", "c", **PASSED | {"kind": "component"} | spoiled)
    assert fleet.error("v")["code"] in ("bad_payload", "not_json")
    assert fleet.record("component", "c") == before


@pytest.mark.parametrize(
    "other", [{"hash": "0" * 64}, {"attempt": 2}], ids=["another hash", "a later attempt"]
)
def test_what_nobody_asked_for_changes_nothing(
    fleet: FleetUnderTest, other: dict[str, Any]
) -> None:
    before = fleet.state()
    fleet.judge("v", "c", **PASSED | other)
    assert changed(before, fleet.state()) == {"coord:totals", "coord:instance:v/v.1/c"}


def test_the_second_verdict_on_the_same_changes_nothing(fleet: FleetUnderTest) -> None:
    fleet.judge("v", "c", **PASSED)
    before = fleet.state()
    fleet.judge("w", "c", verdict="failed", reason="it is not mine")
    assert changed(before, fleet.state()) == {"coord:totals", "coord:instance:w/w.1/c"}


def test_a_component_of_several_tells_each_of_them(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", "b", "c", skills=["k"])
    fleet.join("v")
    s = fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "k"}])
    fleet.report(f"{s}-1", output={"component": python("f", implementation="x")})
    fleet.judge("v", "f", "feature", **PASSED)
    (contributor,) = {ai for ai in ("a", "b", "c") if fleet.told(ai, "validation_result")}
    assert fleet.excluded() == f"{contributor},v"
    assert fleet.record("feature", "f")["contributor"] == contributor
    assert fleet.redis.zscore("coord:best:features:sound", "f") == 0.632


def test_the_best_are_listed_by_what_they_were_measured_by(fleet: FleetUnderTest) -> None:
    fleet.say("b", "code_share", {"code": python("both", specializations=["audio", "graphics"])})
    fleet.run()
    fleet.judge("v", "c", **PASSED)
    fleet.judge("v", "both", **PASSED | {"problem": "sound_and_shapes", "score": 0.3})
    assert fleet.redis.zrange("coord:best:components:sound", 0, -1) == [b"c"]
    assert fleet.redis.zrange("coord:best:components:sound_and_shapes", 0, -1) == [b"both"]


def test_what_is_measured_by_another_problem_is_listed_there_alone(redis: Redis) -> None:
    """As by a validator of another version."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v", evaluators={"sound": "sound-2"})
    fleet.say("a", "code_share", {"code": python("c")})
    fleet.run()
    fleet.judge("v", "c", **PASSED)
    look(fleet, VERSION_STANDS_S + 6)
    fleet.judge("v", "c", **PASSED | {"problem": "noise", "evaluator": "sound-2"})
    assert fleet.redis.exists("coord:best:components:sound") == 0
    assert fleet.redis.zrange("coord:best:components:noise", 0, -1) == [b"c"]
    fleet.check_memory()


def test_what_changes_while_it_is_validated_is_judged_as_it_is(fleet: FleetUnderTest) -> None:
    old = fleet.record("component", "c")["hash"]
    fleet.say("a", "code_share", {"code": python("c", "y = 2")})
    fleet.run()
    fleet.judge("v", "c", **PASSED, hash=old)
    assert "validation" not in fleet.record("component", "c")
    fleet.judge("v", "c", verdict="failed", reason="it is worse")
    assert verdict(fleet)["verdict"] == "failed"


def test_a_change_for_the_worse_takes_back_what_it_earned(fleet: FleetUnderTest) -> None:
    fleet.judge("v", "c", **PASSED)
    assert fleet.redis.hget("coord:member:a", "contribution_score") == b"0.632"
    fleet.say("a", "code_share", {"code": python("c", "y = 2")})
    fleet.run()
    fleet.judge("v", "c", verdict="failed", reason="it is worse")
    assert float(fleet.redis.hget("coord:member:a", "contribution_score") or 0) == 0


@pytest.mark.parametrize("restart", [False, True])
def test_a_change_that_nobody_validates_takes_it_back_soon(
    fleet: FleetUnderTest, restart: bool
) -> None:
    fleet.judge("v", "c", **PASSED)
    fleet.say("a", "code_share", {"code": python("c", language="rust")})
    fleet.run()
    if restart:
        fleet.replace_coordinator("coordinator-2")
    fleet.pass_time(3)
    assert float(fleet.redis.hget("coord:member:a", "contribution_score") or 0) == 0
    assert "validating" not in fleet.record("component", "c")
    assert verdict(fleet)["verdict"] == "not_validated"
    assert fleet.redis.exists("coord:validations") == 0
