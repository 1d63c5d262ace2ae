"""What is shared: kept once under its first contributor, counted, and never believed as a score."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.clock import iso
from coordinator.messages import to_json
from coordinator.validation.models import record_hash
from tests.fleet import BEGINNING_MS, FleetUnderTest, Pushes, changed

SHARES = [
    ("pattern", "pattern_share", "pattern"),
    ("component", "code_share", "code"),
    ("feature", "os_component_share", "component"),
]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", specialization="audio")
    fleet.join("b", specialization="graphics")
    return fleet


def unproved(
    kind: str, record: dict[str, Any], specialization: str, later_ms: int = 0
) -> dict[str, str]:
    """What is stored of the worth of a record without any source text."""
    if kind == "pattern":
        return {}
    verdict = {
        "verdict": "not_validated",
        "reason": "it has no source text in `code` or `implementation`",
        "validator": None,
        "timestamp": iso(BEGINNING_MS + later_ms),
        "previous_score": None,
        "regression": False,
    }
    return {
        "hash": record_hash(record, specialization),
        "hash_ms": str(BEGINNING_MS),
        "validation": to_json(verdict),
    }


@pytest.mark.parametrize(("kind", "message_type", "field"), SHARES)
def test_a_share_is_stored_and_told_to_the_others(
    fleet: FleetUnderTest, kind: str, message_type: str, field: str
) -> None:
    before = fleet.state()
    record = {"id": "r 1/ü", "name": "n", "confidence": 0.9, "own": {"x": [1, None]}}
    fleet.say("a", message_type, {field: record, "extra": 1})
    fleet.run()
    after = fleet.state()
    assert changed(before, after) == {
        f"coord:{kind}:r 1/ü",
        f"coord:{kind}s",
        f"coord:{kind}s:audio",
        f"coord:{kind}s:of:a",
        "coord:log",
        "coord:events",
        "coord:totals",
        "coord:instance:a/a.1",
        *([] if kind == "pattern" else ["coord:inbox:a", "coord:member:a", "coord:verdicts"]),
    }
    stored, expiry = after[f"coord:{kind}:r 1/ü"]
    assert expiry == "stays"
    assert json.loads(stored.pop("record")) == record
    assert stored == {
        "specialization": "audio",
        "in:audio": "1",
        "contributor": "a",
        "timestamp": iso(BEGINNING_MS),
        "revision": "1",
        **unproved(kind, record, "audio"),
    }
    assert after[f"coord:{kind}s"][0] == {"r 1/ü": BEGINNING_MS}
    assert after[f"coord:{kind}s:audio"][0] == {"r 1/ü": BEGINNING_MS}
    assert after[f"coord:{kind}s:of:a"][0] == {"r 1/ü": BEGINNING_MS}
    told = fleet.log()[-1]
    assert told == {
        "message_id": "a-2",
        "sender_id": "a",
        "message_type": message_type,
        "timestamp": iso(BEGINNING_MS),
        "payload": {field: record, "extra": 1},
        "target_ai": None,
    }
    assert fleet.redis.xrevrange("coord:log", count=1)[0][1][b"exclude"] == b"a"
    (shared,) = [event for event in fleet.events() if event["kind"] == "shared"]
    assert shared == {
        "kind": "shared",
        "ai": "a",
        "text": f"a shared {kind} r 1/ü (audio)",
        "data": {
            "kind": kind,
            "id": "r 1/ü",
            "specialization": "audio",
            "contributors": ["a"],
            "record": record,
            "hash": stored.get("hash", ""),
        },
    }


@pytest.mark.parametrize(("kind", "message_type", "field"), SHARES)
def test_the_first_contributor_is_kept_and_revisions_are_counted(
    fleet: FleetUnderTest, kind: str, message_type: str, field: str
) -> None:
    fleet.say("a", message_type, {field: {"id": "r", "own": 1}})
    fleet.run()
    fleet.clock.advance(2)
    fleet.say("a", message_type, {field: {"id": "r", "own": 2, "specialization": "audio"}})
    fleet.say("a", message_type, {field: {"id": "r", "own": 3, "specialization": "audio"}})
    fleet.run()
    stored = fleet.record(kind, "r")
    record = {"id": "r", "own": 3, "specialization": "audio"}
    assert json.loads(stored.pop("record")) == record
    assert stored == {
        "specialization": "audio",
        "in:audio": "1",
        "contributor": "a",
        "timestamp": iso(BEGINNING_MS),
        "revision": "3",
        **unproved(kind, record, "audio", later_ms=2000),
    }
    assert fleet.redis.zrange(f"coord:{kind}s", 0, -1, withscores=True) == [
        (b"r", BEGINNING_MS + 2000)
    ]


@pytest.mark.parametrize("when", ["in one batch", "later", "after a reload"])
@pytest.mark.parametrize(("kind", "message_type", "field"), SHARES)
def test_nobody_replaces_what_is_anothers(
    fleet: FleetUnderTest, kind: str, message_type: str, field: str, when: str
) -> None:
    fleet.say("a", message_type, {field: {"id": "r", "own": 1}})
    if when != "in one batch":
        fleet.run()
    if when == "after a reload":
        fleet.replace_coordinator("coordinator-2")
    fleet.say("b", message_type, {field: {"id": "r", "own": 2}})
    fleet.run()
    assert fleet.error("b") == {
        "in_reply_to": "b-2",
        "code": "forbidden",
        "detail": f"payload.{field}.id 'r' is a {kind} of a, which nobody else may replace; give "
        "yours another id, or none to be given one",
        "field": f"payload.{field}.id",
    }
    stored = fleet.record(kind, "r")
    assert json.loads(stored["record"]) == {"id": "r", "own": 1}
    assert (stored["contributor"], stored["revision"]) == ("a", "1")
    assert fleet.ids_in(kind, "graphics") == []
    assert [m["sender_id"] for m in fleet.log() if m["message_type"] == message_type] == ["a"]


def test_an_operator_may_replace_a_record_or_retract_it_so_that_its_id_is_free(
    fleet: FleetUnderTest,
) -> None:
    fleet.enroll("boss", role="operator")
    fleet.join("boss")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    for n, who in enumerate(["operator", "boss"]):
        fleet.say(who, "pattern_share", {"pattern": {"id": "p", "own": n}})
        fleet.run()
        stored = fleet.record("pattern", "p")
        assert json.loads(stored["record"])["own"] == n
        assert stored["contributor"] == "a"
    fleet.order("retract", id="p")
    fleet.say("b", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    assert fleet.record("pattern", "p")["contributor"] == "b"


@pytest.mark.parametrize(("kind", "message_type", "field"), SHARES)
def test_what_has_no_id_is_given_one_that_the_others_see(
    fleet: FleetUnderTest, kind: str, message_type: str, field: str
) -> None:
    fleet.say("a", message_type, {field: {"own": 1}})
    fleet.say("a", message_type, {field: {"own": 2, "id": None}})
    fleet.run()
    ids = [message["payload"][field]["id"] for message in fleet.log()[-2:]]
    assert len(set(ids)) == 2
    assert sorted(fleet.ids_in(kind)) == sorted(ids)
    assert [json.loads(fleet.record(kind, i)["record"])["own"] for i in ids] == [1, 2]


def test_a_claim_stays_a_claim(fleet: FleetUnderTest) -> None:
    for n, confidence in enumerate([0.1, 0.99, 0.5]):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n}", "confidence": confidence}})
        fleet.say("a", "code_share", {"code": {"id": f"c{n}", "quality_score": confidence}})
        fleet.run()
        fleet.clock.advance(1)
    assert fleet.ids_in("pattern") == ["p0", "p1", "p2"]
    assert fleet.ids_in("component") == ["c0", "c1", "c2"]
    assert "quality_score" not in fleet.record("component", "c1")
    fleet.join("c")
    base = fleet.sync("c")["global_knowledge_base"]
    assert list(base["shared_patterns"]) == ["p2", "p1", "p0"]
    assert [item["quality_score"] for item in base["shared_components"].values()] == [None] * 3


def test_a_share_for_one_is_stored_for_all_and_sent_to_it_alone(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    pushes = Pushes(fleet.redis, fleet.keys)
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "b", message_id="7")
    fleet.run()
    (push,) = pushes.all()
    pushes.close()
    assert changed(before, fleet.state()) == {
        "coord:pattern:p",
        "coord:patterns",
        "coord:patterns:audio",
        "coord:patterns:of:a",
        "coord:inbox:b",
        "coord:member:b",
        "coord:events",
        "coord:totals",
        "coord:instance:a/a.1",
    }
    epoch = fleet.coordinator._fleet.epoch
    message = fleet.inbox("b")[-1]
    assert push == ("coord:to:b", {"epoch": epoch, "n": 2, "after": 2, "message": message})
    assert message["target_ai"] == "b"
    event = fleet.events()[-1]
    assert (event["kind"], event["ai"], event["text"]) == (
        "message",
        "b",
        "a sent pattern_share to b",
    )
    assert event["data"]["message_id"] == "7"
    assert json.loads(event["data"]["message"]) == message


def test_a_share_for_one_who_is_away_waits_for_it(fleet: FleetUnderTest) -> None:
    fleet.say("b", "goodbye")
    fleet.run()
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "b")
    fleet.run()
    assert fleet.inbox("b")[-1]["payload"] == {"pattern": {"id": "p"}}
    assert fleet.state()["coord:inbox:b"][1] == "expires"


def test_to_the_operator(fleet: FleetUnderTest) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "operator")
    fleet.run()
    assert fleet.inbox("operator")[-1]["message_id"] == "a-2"


def test_the_operator_may_share_too(fleet: FleetUnderTest) -> None:
    fleet.say("operator", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    stored = fleet.record("pattern", "p")
    assert (stored["contributor"], stored["specialization"]) == ("operator", "general")


def test_reports_are_kept_and_passed_on(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    fleet.say("a", "performance_report", {"component_id": "c", "performance": {"ms": 3, "r": 0.5}})
    fleet.run()
    assert changed(before, fleet.state()) == {
        "coord:benchmarks:c",
        "coord:log",
        "coord:totals",
        "coord:instance:a/a.1",
    }
    ((_, stored),) = fleet.stream("coord:benchmarks:c")
    assert json.loads(stored.pop("metrics")) == {"ms": 3, "r": 0.5}
    assert stored == {"reporter": "a", "ms": str(BEGINNING_MS)}
    assert fleet.log()[-1]["payload"]["component_id"] == "c"


def test_the_reports_of_a_component_are_bounded(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, benchmarks_keep=3)
    fleet.join("a")
    for n in range(7):
        report = {"component_id": f"c{n % 2}", "performance": {"n": n}}
        fleet.say("a", "performance_report", report)
    fleet.run()
    kept = [json.loads(fields["metrics"])["n"] for _, fields in fleet.stream("coord:benchmarks:c0")]
    assert kept == [2, 4, 6]
    assert len(fleet.stream("coord:benchmarks:c1")) == 3


def test_retract_takes_a_record_back_whatever_it_is(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    for _, message_type, field in SHARES:
        fleet.say("a", message_type, {field: {"id": "r"}})
    fleet.say("a", "performance_report", {"component_id": "r", "performance": {"ms": 1}})
    fleet.run()
    fleet.say("operator", "retract", {"id": "r"})
    fleet.run()
    after = fleet.state()
    assert changed(before, after) == {
        "coord:doors",
        "coord:events",
        "coord:inbox:a",
        "coord:ingress:operator",
        "coord:instance:a/a.1",
        "coord:instance:operator/operator.1",
        "coord:log",
        "coord:member:a",
        "coord:totals",
        "coord:verdicts",
    }
    assert fleet.events()[-1] == {
        "kind": "retracted",
        "ai": "operator",
        "text": "operator retracted pattern, component, feature r",
        "data": {"id": "r", "kinds": ["pattern", "component", "feature"]},
    }


def test_a_record_is_listed_under_each_of_its_contributors_until_it_is_retracted(
    fleet: FleetUnderTest,
) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    fleet.clock.advance(2)
    fleet.say("operator", "pattern_share", {"pattern": {"id": "p", "own": 2}})
    fleet.run()
    indexes = [fleet.keys.records_of("pattern", ai) for ai in ("a", "operator")]
    listed = [fleet.redis.zrange(index, 0, -1, withscores=True) for index in indexes]
    assert listed == [[(b"p", BEGINNING_MS + 2000)]] * 2
    fleet.replace_coordinator("coordinator-2")
    fleet.order("retract", id="p")
    assert fleet.redis.exists(*indexes) == 0


def test_retract_leaves_the_others_alone(fleet: FleetUnderTest) -> None:
    for record_id in ("p", "q"):
        fleet.say("a", "pattern_share", {"pattern": {"id": record_id}})
        fleet.say("b", "code_share", {"code": {"id": record_id}})
    fleet.say("operator", "retract", {"id": "p"})
    fleet.run()
    assert fleet.ids_in("pattern") == fleet.ids_in("pattern", "audio") == ["q"]
    assert fleet.ids_in("component") == fleet.ids_in("component", "graphics") == ["q"]


def test_a_record_that_changed_its_specialization_is_found_and_retracted_everywhere(
    fleet: FleetUnderTest,
) -> None:
    for specialization in ("audio", "graphics"):
        pattern = {"id": "p", "specialization": specialization}
        fleet.say("a", "pattern_share", {"pattern": pattern})
    fleet.run()
    fleet.say("a", "query", {"what": "patterns", "filter": {"specialization": "audio"}})
    pushes = Pushes(fleet.redis, fleet.keys)
    fleet.run()
    ((_, push),) = pushes.all()
    pushes.close()
    assert push["message"]["payload"]["items"] == []


@pytest.mark.parametrize("record_id", ["nothing", "*"])
def test_retract_of_nothing(fleet: FleetUnderTest, record_id: str) -> None:
    fleet.say("operator", "retract", {"id": record_id}, message_id="7")
    fleet.run()
    error: dict[str, Any] = fleet.error("operator")
    assert (error["code"], error["field"], error["in_reply_to"]) == ("not_found", "payload.id", "7")
    assert f"names no pattern, component or feature: {record_id!r}" in error["detail"]


def test_a_record_that_changed_its_specialization_is_retracted_everywhere(
    fleet: FleetUnderTest,
) -> None:
    for specialization in ("audio", "graphics"):
        fleet.say("a", "pattern_share", {"pattern": {"id": "p", "specialization": specialization}})
    fleet.run()
    fleet.say("operator", "retract", {"id": "p"})
    fleet.run()
    assert not [key for key in fleet.state() if key.startswith("coord:pattern")]
