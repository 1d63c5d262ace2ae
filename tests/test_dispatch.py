"""Bad input of every kind: its clear error goes to its sender, and nothing else changes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from redis import Redis

from tests.fleet import FleetUnderTest, changed, envelope

GOOD: dict[str, Any] = json.loads(envelope("m", "a", "goodbye"))
REFUSED = {"coord:inbox:a", "coord:member:a", "coord:events", "coord:instance:a/a.1"}
"""What a refusal writes: the error, its number, its event, and the number of what it refuses."""
"""A message that was well formed counts as one that came."""


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", specialization="audio")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    return fleet


def refused(fleet: FleetUnderTest, write: Any, writes: set[str] = REFUSED) -> dict[str, Any]:
    """The error that the one message of ``write`` gets; nothing else may have changed."""
    before, memory = fleet.state(), copy.deepcopy(fleet.coordinator._fleet.ais)
    mail, events = len(fleet.inbox("a")), len(fleet.events())
    write()
    fleet.run()
    assert changed(before, fleet.state()) <= writes
    assert fleet.coordinator._fleet.ais == memory
    assert fleet.coordinator.active
    assert len(fleet.inbox("a")) == mail + 1
    (event,) = fleet.events()[events:]
    error = fleet.error("a")
    assert (event["kind"], event["ai"], event["data"]) == ("refused", "a", error)
    assert event["text"] == f"refused a message of a: {error['detail']}"
    assert event["text"].isprintable()
    assert len(event["text"]) < 500
    return error


def send(fleet: FleetUnderTest, body: str | bytes) -> Any:
    """Writes ``body`` as the next message of a."""
    n = fleet.numbers["a", "a.1"] = fleet.numbers["a", "a.1"] + 1
    return lambda: fleet.write("a", body, instance="a.1", n=n)


def with_payload(payload: str, message_type: str = "pattern_share") -> str:
    return json.dumps(GOOD | {"message_type": message_type, "payload": "?"}).replace('"?"', payload)


def without(field: str) -> str:
    return json.dumps({k: v for k, v in GOOD.items() if k != field})


UNREADABLE: dict[str, tuple[str | bytes, str, str, str]] = {
    "nothing": ("", "not_json", "", "is not JSON"),
    "not JSON": ("hello", "not_json", "", "is not JSON"),
    "not UTF-8": (b"\xff\xfe", "not_json", "", "is not JSON"),
    "cut off": (envelope("m", "a", "hello")[:-1], "not_json", "", "is not JSON"),
    "not an object": ("[1]", "bad_envelope", "", "should be an object"),
    "missing field": (without("timestamp"), "bad_envelope", "timestamp", "is missing"),
    "missing payload": (without("payload"), "bad_envelope", "payload", "is missing"),
    "wrong type": (
        json.dumps(GOOD | {"message_id": 7}),
        "bad_envelope",
        "message_id",
        "should be a valid string",
    ),
    "extra top key": (
        json.dumps(GOOD | {"priority": 1}),
        "bad_envelope",
        "priority",
        "put it inside payload",
    ),
    "extra top key with a line break": (
        json.dumps(GOOD | {"a\nb" * 1000: 1}),
        "bad_envelope",
        "",
        "put it inside payload",
    ),
    "257 KiB": (
        with_payload('{"reason": "' + "x" * 257 * 1024 + '"}'),
        "too_large",
        "",
        "more than the 262144 bytes that are allowed",
    ),
    "unknown type": (
        json.dumps(GOOD | {"message_type": "dance"}),
        "unknown_type",
        "message_type",
        "'dance' is unknown; known are hello, heartbeat, goodbye, pattern_share",
    ),
    "foreign sender": (
        json.dumps(GOOD | {"sender_id": "b"}),
        "foreign_sender",
        "sender_id",
        "sender_id is 'b', but this message came from 'a'",
    ),
    "hub as sender": (
        json.dumps(GOOD | {"sender_id": "hub"}),
        "foreign_sender",
        "sender_id",
        "nobody may speak in another's name",
    ),
    "id with a space": (
        json.dumps(GOOD | {"sender_id": "a b"}),
        "bad_envelope",
        "sender_id",
        "is not an id",
    ),
    "id with a line break": (
        json.dumps(GOOD | {"sender_id": "a\n"}),
        "bad_envelope",
        "sender_id",
        "is not an id",
    ),
    "nonsense timestamp": (
        json.dumps(GOOD | {"timestamp": "soon"}),
        "bad_envelope",
        "timestamp",
        "is not ISO 8601",
    ),
    "NaN": (with_payload('{"pattern": {"id": "p", "x": NaN}}'), "not_json", "payload", "no NaN"),
    "infinity": (with_payload('{"pattern": {"x": -Infinity}}'), "not_json", "payload", "no NaN"),
    "1e999": (with_payload('{"pattern": {"x": [1e999]}}'), "not_json", "payload", "no infinity"),
    "NaN in a goodbye": (with_payload('{"x": NaN}', "goodbye"), "not_json", "payload", "no NaN"),
    "NaN in a hello": (with_payload('{"x": NaN}', "hello"), "not_json", "payload", "no NaN"),
    "NaN in a heartbeat": (with_payload('{"x": 1e999}', "heartbeat"), "not_json", "payload", ""),
    "deep nesting": (with_payload("[" * 9999 + "]" * 9999), "not_json", "", "recursion limit"),
    "60,000 digits": (with_payload("9" * 60_000), "not_json", "", "number out of range"),
    "lone surrogate": (with_payload('{"x": "\\ud800"}'), "not_json", "", "is not JSON"),
    "NUL": (with_payload('{"x": "\0"}'), "not_json", "", "control character"),
    "NUL in an id": (
        json.dumps(GOOD | {"sender_id": "a\0"}),
        "bad_envelope",
        "sender_id",
        "is not an id",
    ),
    "endless target": (
        json.dumps(GOOD | {"target_ai": "x" * 1000}),
        "bad_envelope",
        "target_ai",
        "at most 64 characters",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_message_that_breaks_a_rule_of_the_envelope(fleet: FleetUnderTest, name: str) -> None:
    body, code, field, words = UNREADABLE[name]
    error = refused(fleet, send(fleet, body))
    in_reply_to = "m" if code in ("unknown_type", "foreign_sender") else None
    assert (error["code"], error["in_reply_to"]) == (code, in_reply_to)
    assert words in error["detail"]
    if "line break" not in name:
        assert error.get("field", "") == field


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"instance": "a.1"},
        {"n": 9},
        {"instance": "", "n": 9},
        *({"instance": "a.1", "n": n} for n in (0, -4, "x", 10**30)),
    ],
    ids=str,
)
def test_an_entry_that_is_not_numbered(fleet: FleetUnderTest, fields: dict[str, Any]) -> None:
    body = envelope("m", "a", "goodbye")
    before = fleet.redis.get("coord:instance:a/a.1")
    written = REFUSED - {"coord:instance:a/a.1"}
    error = refused(fleet, lambda: fleet.write("a", body, **fields), written)
    assert error["code"] == "bad_entry"
    assert "needs the fields body, instance and n" in error["detail"]
    assert fleet.redis.get("coord:instance:a/a.1") == before
    # It must say so every time: what has no number is no repeat.
    refused(fleet, lambda: fleet.write("a", body, **fields), written)


def test_an_entry_without_a_body(fleet: FleetUnderTest) -> None:
    def write() -> None:
        fleet.redis.xadd("coord:ingress:a", {"instance": "a.1", "n": 99})

    assert refused(fleet, write)["code"] == "not_json"


BAD_PAYLOADS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no pattern": ("pattern_share", {}, "payload.pattern", "is missing or empty"),
    "empty pattern": ("pattern_share", {"pattern": {}}, "payload.pattern", "is missing or empty"),
    "empty code": ("code_share", {"code": {}}, "payload.code", "is missing or empty"),
    "empty component": ("os_component_share", {"component": None}, "payload.component", "empty"),
    "a list": ("pattern_share", {"pattern": [1]}, "payload.pattern", "should be an object"),
    "bad id": ("pattern_share", {"pattern": {"id": "a\nb"}}, "payload.pattern.id", "control"),
    "wrong kind": (
        "pattern_share",
        {"pattern": {"confidence": "very"}},
        "payload.pattern.confidence",
        "should be a valid number",
    ),
    "bad specialization": (
        "hello",
        {"specialization": "two words"},
        "payload.specialization",
        "is not a word",
    ),
    "long name": (
        "performance_report",
        {"component_id": "c", "performance": {"k\n" * 10_000: "fast"}},
        "",
        "should be a valid number",
    ),
    "no numbers": (
        "performance_report",
        {"component_id": "c", "performance": {}},
        "payload.performance",
        "at least 1 item",
    ),
    "unknown query": ("query", {"what": "secrets"}, "payload.what", "'ais'"),
    "unknown filter": (
        "query",
        {"what": "ais", "filter": {"colour": "red"}},
        "payload.filter.colour",
        "is no filter of ais; known are capability, specialization",
    ),
    "long unknown filter": ("query", {"what": "counts", "filter": {"c\n" * 9999: ""}}, "", "none"),
    "no component": (
        "query",
        {"what": "benchmarks"},
        "payload.filter",
        "component_id is missing",
    ),
}


@pytest.mark.parametrize("name", BAD_PAYLOADS)
def test_a_payload_that_breaks_a_rule(fleet: FleetUnderTest, name: str) -> None:
    message_type, payload, field, words = BAD_PAYLOADS[name]
    error = refused(fleet, lambda: fleet.say("a", message_type, payload, message_id="7"))
    assert (error["code"], error["in_reply_to"]) == ("bad_payload", "7")
    assert words in error["detail"]
    if field:
        assert error["field"] == field
        assert error["detail"].startswith("payload.")


@pytest.mark.parametrize("load", [10**400, 10**4000, -(10**400)], ids=["e400", "e4000", "-e400"])
def test_a_load_beyond_all_numbers_is_not_noted(fleet: FleetUnderTest, load: int) -> None:
    fleet.say("a", "heartbeat", {"load": 0.5})
    fleet.say("a", "heartbeat", {"load": load})
    fleet.run()
    assert fleet.redis.hget("coord:ai:a", "load") == b"0.5"
    assert fleet.redis.xlen("coord:dead") == 0
    assert [event["kind"] for event in fleet.events()] == ["joined", "joined", "shared"]


def test_a_target_that_never_joined(fleet: FleetUnderTest) -> None:
    def write() -> None:
        fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "nobody")

    error = refused(fleet, write)
    assert (error["code"], error["field"]) == ("unknown_target", "target_ai")
    assert "'nobody' names no AI that ever joined" in error["detail"]


@pytest.mark.parametrize("target", ["hub", "a b", "a\nb", "*", "../x"])
def test_targets_that_nobody_can_be(fleet: FleetUnderTest, target: str) -> None:
    def write() -> None:
        fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, target)

    assert refused(fleet, write)["code"] == "unknown_target"


@pytest.mark.parametrize("message_type", ["retract", "dead_drop", "dead_retry"])
def test_the_operators_types_are_not_an_ais(fleet: FleetUnderTest, message_type: str) -> None:
    payload = {"id": "p" if message_type == "retract" else "1-0"}
    error = refused(fleet, lambda: fleet.say("a", message_type, payload))
    assert (error["code"], error["field"]) == ("forbidden", "message_type")
    assert f"'{message_type}' is the operator's alone" in error["detail"]


@pytest.mark.parametrize("message_type", ["hello", "heartbeat", "goodbye"])
def test_the_operators_id_is_no_ais(fleet: FleetUnderTest, message_type: str) -> None:
    before = fleet.state()
    fleet.say("operator", message_type)
    fleet.run()
    error = fleet.error("operator")
    assert (error["code"], error["field"]) == ("forbidden", "sender_id")
    assert fleet.live() == ["a", "b"]
    assert changed(before, fleet.state()) == {
        "coord:doors",
        "coord:events",
        "coord:inbox:operator",
        "coord:ingress:operator",
        "coord:instance:operator/operator.1",
        "coord:member:operator",
    }


def test_nobody_comes_in_by_the_hubs_door(fleet: FleetUnderTest) -> None:
    fleet.say("hub", "hello")
    fleet.run()
    assert fleet.error("hub")["code"] == "foreign_sender"
    assert fleet.live() == ["a", "b"]


@pytest.mark.parametrize(
    ("message_type", "payload"),
    [
        ("heartbeat", {}),
        ("goodbye", {}),
        ("pattern_share", {"pattern": {"id": "q"}}),
        ("code_share", {"code": {"id": "q"}}),
        ("os_component_share", {"component": {"id": "q"}}),
        ("performance_report", {"component_id": "q", "performance": {"ms": 1}}),
        ("query", {"what": "counts"}),
    ],
)
def test_who_is_not_registered_is_told_to_rejoin(
    fleet: FleetUnderTest, message_type: str, payload: dict[str, Any]
) -> None:
    before = fleet.state()
    fleet.say("stranger", message_type, payload, message_id="7")
    fleet.run()
    error = fleet.error("stranger")
    assert (error["code"], error["in_reply_to"]) == ("rejoin", "7")
    assert "stranger is not registered, or its lease has ended; say hello" in error["detail"]
    assert changed(before, fleet.state()) == {
        "coord:doors",
        "coord:events",
        "coord:inbox:stranger",
        "coord:ingress:stranger",
        "coord:instance:stranger/stranger.1",
        "coord:member:stranger",
    }
    stored = fleet.redis.xrange("coord:inbox:stranger")[0][1]
    assert stored[b"instance"] == b"stranger.1"


def test_another_instance_is_told_that_it_is_superseded(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    fleet.say("a", "pattern_share", {"pattern": {"id": "q"}}, instance="a.2")
    fleet.run()
    error = fleet.error("a")
    assert error["code"] == "superseded"
    assert "a is held by instance a.1, and this message came from a.2" in error["detail"]
    assert changed(before, fleet.state()) == {
        "coord:events",
        "coord:inbox:a",
        "coord:instance:a/a.2",
        "coord:member:a",
    }
    assert fleet.redis.xrevrange("coord:inbox:a", count=1)[0][1][b"instance"] == b"a.2"


def test_bad_and_good_ones_in_one_batch(fleet: FleetUnderTest) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "q1"}})
    send(fleet, "nonsense")()
    fleet.say("a", "pattern_share", {"pattern": {}})
    fleet.say("a", "pattern_share", {"pattern": {"id": "q2"}})
    fleet.run()
    assert fleet.ids_in("pattern") == ["p", "q1", "q2"]
    errors = [m["payload"]["code"] for m in fleet.inbox("a") if m["message_type"] == "error"]
    assert errors == ["not_json", "bad_payload"]


def test_a_line_break_in_a_name_makes_no_second_log_line(
    fleet: FleetUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "coord")
    fleet.say("a", "hello", instance="evil\nINFO forged")
    fleet.say("a", "goodbye", {"reason": "bye\nINFO forged"})
    fleet.run()
    lines = [record.getMessage() for record in caplog.records]
    assert any("a is held by instance" in line for line in lines)
    assert any("a left" in line for line in lines)
    assert [line for line in lines if not line.isprintable()] == []
