"""What is shared waits for its validation, within limits; the share itself is never refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from coordinator.clock import iso
from coordinator.keys import RecordKey
from coordinator.validation.jobs import VALIDATION_FUNCTION, VALIDATION_LIMIT_S, validation_job_id
from coordinator.validation.models import record_hash
from tests.fleet import BEGINNING_MS, FleetUnderTest, python

QUEUE = "rq:queue:coord.validation"
HOUR_S = 3600
NOT_VALIDATED = {
    "verdict": "not_validated",
    "validator": None,
    "previous_score": None,
    "regression": False,
}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """An AI that shares, and two that validate."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    for validator in ("v", "w"):
        fleet.enroll(validator, key_id=f"key0000{validator}", role="validator")
    fleet.join("a", specialization="audio")
    fleet.join("v", "w")
    return fleet


def share(fleet: FleetUnderTest, *records: dict[str, Any], ai: str = "a") -> None:
    """In one batch."""
    for record in records:
        fleet.say(ai, "code_share", {"code": record})
    fleet.run()


def queued(fleet: FleetUnderTest) -> list[str]:
    """The ids of the records whose jobs lie in the queue, the next one first."""
    queue = Queue("coord.validation", connection=fleet.redis, serializer=JSONSerializer)
    return [job.args[1] for job in queue.jobs]


def verdict(fleet: FleetUnderTest, record_id: str, kind: str = "component") -> dict[str, Any]:
    """What is stored of it, but when that was; {} if there is none."""
    found = json.loads(fleet.record(kind, record_id).get("validation", "{}"))
    found.pop("timestamp", None)
    return dict(found)


def test_a_component_is_queued_as_rq_itself_would(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"))
    queue = Queue("coord.validation", connection=fleet.redis, serializer=JSONSerializer)
    assert queue in Queue.all(connection=fleet.redis)
    (job,) = queue.jobs
    digest = fleet.record("component", "c")["hash"]
    assert digest == record_hash(python("c"), "audio")
    assert job.id == validation_job_id(RecordKey("component", "c"), digest, 1)
    assert re.fullmatch(r"validation-[0-9a-f]{16}-[0-9a-f]{12}-1", job.id)
    assert (job.func_name, job.args) == (VALIDATION_FUNCTION, ["component", "c", digest, 1])
    assert (job.get_status(), job.timeout, job.result_ttl, job.failure_ttl) == (
        "queued",
        VALIDATION_LIMIT_S,
        300,
        300,
    )
    assert (job.description, job.kwargs) == ("validation of component c", {})
    assert fleet.redis.zrange("coord:validations", 0, -1, withscores=True) == [
        (b"component:c", BEGINNING_MS)
    ]
    assert json.loads(fleet.record("component", "c")["validating"]) == {
        "hash": digest,
        "attempt": 1,
        "queued_ms": BEGINNING_MS,
    }
    assert verdict(fleet, "c") == {}


@pytest.mark.parametrize(
    "language", [" Python", "python3", "PY", "cpp", "C++", "cxx", "cc", "", None]
)
@pytest.mark.parametrize(
    ("message_type", "field", "source"),
    [
        ("code_share", "code", {"code": "x"}),
        ("os_component_share", "component", {"implementation": "x"}),
        ("os_component_share", "component", {"implementation": {"audio": "x"}}),
        ("os_component_share", "component", {"code": "x"}),
    ],
)
def test_what_is_queued(
    fleet: FleetUnderTest, message_type: str, field: str, source: Any, language: str | None
) -> None:
    named = {} if language is None else {"language": language}
    fleet.say("a", message_type, {field: {"id": "r", **named, **source}})
    fleet.run()
    assert queued(fleet) == ["r"]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({}, "it has no source text in `code` or `implementation`"),
        ({"code": " \n"}, "it has no source text in `code` or `implementation`"),
        ({"implementation": {"audio": 1}}, "it has no source text in `code` or `implementation`"),
        ({"implementation": ["x"]}, "it has no source text in `code` or `implementation`"),
        (
            {"code": "x", "language": "rust"},
            "only Python and C++ are validated; its language is 'rust'",
        ),
        (
            {"code": "x", "language": 3},
            "only Python and C++ are validated; its language is 'a int'",
        ),
    ],
)
def test_what_cannot_be_validated_says_so_at_once(
    fleet: FleetUnderTest, own: dict[str, Any], reason: str
) -> None:
    fleet.say("a", "os_component_share", {"component": {"id": "r", **own}})
    fleet.run()
    assert verdict(fleet, "r", "feature") == NOT_VALIDATED | {"reason": reason}
    assert (queued(fleet), fleet.redis.exists("coord:validations")) == ([], 0)
    assert fleet.log()[-1]["message_type"] == "os_component_share"
    (told,) = fleet.told("a", "validation_result")
    assert (told["component_id"], told["reason"], told["attempt"]) == ("r", reason, 0)


def test_what_a_session_made_is_validated_too(fleet: FleetUnderTest) -> None:
    fleet.join("a", specialization="audio", skills=["k"])
    s = fleet.collaborate("a", plan=[{"name": "u", "kind": "k"}])
    component = {"language": "python", "implementation": "x"}
    fleet.report(f"{s}-1", output={"component": component})
    assert fleet.session(s)["state"] == "completed"
    assert queued(fleet) == [f"collab_{s}"]


def test_what_is_the_same_keeps_its_place_and_its_verdict(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"), python("d"))
    fleet.judge("v", "d", verdict="passed", score=0.5)
    before = fleet.state()
    share(fleet, python("c", name="another"), python("d", name="another"))
    after = fleet.state()
    assert queued(fleet) == ["c"]
    for name in ("coord:validations", QUEUE, "coord:best:components:sound", "coord:member:a"):
        assert after[name] == before[name]
    assert verdict(fleet, "d")["verdict"] == "passed"


@pytest.mark.parametrize(
    "change",
    [
        {"code": "y"},
        {"language": "cpp"},
        {"specialization": "graphics"},
        {"test_cases": ["test_x"]},
        {"implementation": "y"},
        {"specializations": ["audio"]},
    ],
)
def test_what_changed_loses_its_verdict_and_is_queued_anew(
    fleet: FleetUnderTest, change: dict[str, Any]
) -> None:
    share(fleet, python("c"))
    fleet.judge("v", "c", verdict="passed", score=0.5)
    assert fleet.record("component", "c")["quality_score"] == "0.5"
    share(fleet, python("c") | change)
    stored = fleet.record("component", "c")
    assert {"validation", "quality_score"} & stored.keys() == set()
    assert queued(fleet) == ["c"]
    assert fleet.redis.exists("coord:best:components:sound") == 0


def test_since_when_it_is_what_it_is(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"))
    for advance_s, own in (
        (1, {"name": "another"}),
        (1, {"code": "x = 2"}),
        (1, {"code": "x = 2"}),
    ):
        fleet.clock.advance(advance_s)
        share(fleet, python("c") | own)
    assert fleet.record("component", "c")["hash_ms"] == str(BEGINNING_MS + 2000)


def test_what_changed_while_it_waited_is_queued_once(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"), python("d"))
    share(fleet, python("c", "x = 2"))
    assert queued(fleet) == ["d", "c"]
    assert fleet.redis.zcard("coord:validations") == 2
    left = fleet.redis.ttl(
        f"rq:job:{validation_job_id(RecordKey('component', 'c'), old_hash(), 1)}"
    )
    assert left == 300


def old_hash() -> str:
    return record_hash(python("c"), "audio")


def test_what_changed_into_something_else_leaves_the_queue(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"))
    share(fleet, python("c", language="rust"))
    assert queued(fleet) == []
    assert verdict(fleet, "c")["verdict"] == "not_validated"


@pytest.mark.parametrize("reload", [False, True])
def test_an_ai_has_so_many_validated_in_an_hour(redis: Redis, reload: bool) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600, validations_per_hour=2)
    fleet.join("a", "b")
    share(fleet, python("c1"))
    fleet.clock.advance(10)
    share(fleet, python("c2"))
    if reload:
        fleet.replace_coordinator("coordinator-2")
    share(fleet, python("c3"))
    share(fleet, python("c4"), ai="b")
    assert queued(fleet) == ["c1", "c2", "c4"]
    reason = (
        "a had 2 components validated within the hour, which is the most "
        f"(COORD_VALIDATIONS_PER_HOUR): share it again after {iso(BEGINNING_MS + HOUR_S * 1000)}"
    )
    assert verdict(fleet, "c3") == NOT_VALIDATED | {"reason": reason}
    (told,) = fleet.told("a", "validation_result")
    digest = record_hash(python("c3"), "general")
    assert told == NOT_VALIDATED | {
        "kind": "component",
        "component_id": "c3",
        "hash": digest,
        "attempt": 0,
        "contributor": "a",
        "reason": reason,
        "timestamp": iso(BEGINNING_MS + 10_000),
    }
    assert [m["payload"]["code"]["id"] for m in fleet.log() if m["message_type"] == "code_share"][
        2
    ] == "c3"


def test_the_next_hour_it_is_validated_when_it_is_shared_again(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600, validations_per_hour=1)
    fleet.join("a")
    share(fleet, python("c1"), python("c2"))
    fleet.clock.advance(HOUR_S)
    share(fleet, python("c2"))
    assert queued(fleet) == ["c1", "c2"]
    assert verdict(fleet, "c2") == {}
    share(fleet, python("c3"))
    assert queued(fleet) == ["c1", "c2"]


def test_so_many_wait_at_most(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600, validations_open_max=1)
    fleet.join("a", "b")
    share(fleet, python("c"))
    share(fleet, python("d"), ai="b")
    assert queued(fleet) == ["c"]
    assert "1 components wait to be validated" in verdict(fleet, "d")["reason"]
    assert fleet.redis.hget("coord:member:b", "validations_queued") is None


def test_what_waits_without_a_job_takes_nobodys_place(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600, validations_open_max=2)
    fleet.enroll("v", role="validator")
    fleet.join("a", "b", "v")
    for name in ("c", "d"):
        share(fleet, python(name))
        fleet.judge("v", name, verdict="passed", score=0.5)
        share(fleet, python(name, language="rust"))
    assert fleet.redis.zcard("coord:validations") == 2
    share(fleet, python("e"), python("f"), python("g"), ai="b")
    assert queued(fleet) == ["e", "f"]


def test_people_are_not_counted(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, validations_per_hour=1)
    share(fleet, python("c"), python("d"), ai="operator")
    assert queued(fleet) == ["c", "d"]
    assert fleet.redis.exists("coord:member:operator") == 0


def test_a_record_that_is_taken_back_takes_all_of_it_along(fleet: FleetUnderTest) -> None:
    share(fleet, python("c"), python("d"))
    fleet.judge("v", "c", verdict="passed", score=0.5)
    assert fleet.redis.zscore("coord:best:components:sound", "c") == 0.5
    assert float(fleet.redis.hget("coord:member:a", "contribution_score") or 0) > 0
    fleet.order("retract", id="c")
    fleet.order("retract", id="d")
    kept = {name for name in fleet.state() if not name.startswith("rq:job")}
    assert not kept & {"coord:component:c", "coord:component:d", QUEUE, "coord:validations"}
    assert fleet.redis.exists("coord:best:components:sound") == 0
    assert float(fleet.redis.hget("coord:member:a", "contribution_score") or 0) == 0
    fleet.judge("v", "d", verdict="passed", score=0.9, hash=record_hash(python("d"), "audio"))
    assert fleet.error("v")["code"] == "not_found"
    assert fleet.redis.exists("coord:component:d") == 0
    share(fleet, python("c"))
    assert queued(fleet) == ["c"]
