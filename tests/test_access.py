"""Who may say what: roles, restrictions, and those who are shut out."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator.access import STEERING, VALIDATING
from coordinator.dispatch import ROUTES
from coordinator.enrolment import Access
from tests.fleet import FleetUnderTest, changed

REFUSED = {"coord:events", "coord:inbox:a", "coord:instance:a/a.1", "coord:member:a"}
PATTERN = {"pattern": {"id": "p"}}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis)


def refused(fleet: FleetUnderTest, message_type: str, payload: Any = None) -> dict[str, Any]:
    """The error that a gets for that, which changes nothing else."""
    before = fleet.state()
    fleet.say("a", message_type, payload)
    fleet.run()
    assert changed(before, fleet.state()) == REFUSED
    return fleet.error("a")


def came(fleet: FleetUnderTest) -> list[str]:
    """The types of all that a has said and that took effect."""
    refusals = sum(event["kind"] == "refused" for event in fleet.events())
    assert refusals == 0
    return [name.decode() for name in fleet.redis.hkeys(fleet.keys.totals)]  # type: ignore[union-attr]


def test_what_each_role_may_say() -> None:
    listening = {name for name, route in ROUTES.items() if "observer" in route.senders}
    assert listening == {"hello", "heartbeat", "goodbye", "query"}
    verdicts = {name for name, route in ROUTES.items() if route.senders == VALIDATING}
    assert verdicts == {"validation_result"}
    for name, route in ROUTES.items():
        if name in verdicts:
            continue
        assert ("trainer" in route.senders) == ("validator" in route.senders)
        assert (
            route.senders >= STEERING or "operator" in route.senders or "gateway" in route.senders
        )
    own = {name for name, route in ROUTES.items() if route.senders == STEERING}
    assert own == {
        *("kick", "drain", "retry", "retract", "dead_drop", "dead_retry"),
        *("enroll", "rotate", "revoke", "archived"),
    }


def test_an_observer_listens(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="observer")
    fleet.join("a")
    fleet.say("a", "heartbeat")
    fleet.say("a", "query", {"what": "counts"})
    fleet.run()
    assert came(fleet) == ["enroll", "hello", "heartbeat", "query"]
    error = refused(fleet, "pattern_share", PATTERN)
    assert (error["code"], error["field"]) == ("forbidden", "message_type")
    assert "'pattern_share' is not for an observer, which only listens" in error["detail"]


@pytest.mark.parametrize(
    ("message_type", "payload"),
    [
        ("work_result", {"session_id": "s", "unit_id": "s-1", "attempt": 1, "outcome": "failed"}),
        ("payload", {"artifact": "0" * 64, "bytes": 1}),
        ("feature_request", {"feature": "x"}),
        ("cancel", {"session_id": "s"}),
        ("retract", {"id": "p"}),
    ],
)
def test_an_observer_does_nothing(
    fleet: FleetUnderTest, message_type: str, payload: dict[str, Any]
) -> None:
    fleet.enroll("a", role="observer")
    fleet.join("a")
    assert refused(fleet, message_type, payload)["code"] == "forbidden"


def test_an_observer_is_given_no_work(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="observer")
    fleet.join("a", specialization="audio", skills=["develop_feature"])
    fleet.join("b")
    request_id = fleet.request_feature("b", "audio_mixer")
    assert fleet.session(request_id)["participants"] == []
    fleet.enroll("a", role="trainer")
    fleet.join("c", specialization="audio")
    request_id = fleet.request_feature("b", "audio_synthesizer")
    assert fleet.session(request_id)["state"] == "active"


def test_nobody_waits_for_an_observer(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="observer")
    fleet.join("a", "b", "c", specialization="audio")
    assert fleet.sync("c")["active_ais"] == ["c", "a", "b"]
    assert [one["ai_id"] for one in fleet.sync("c")["collaboration_opportunities"]] == ["b"]
    session_id = fleet.ask("b")
    fleet.answer("c", session_id, accept=False)
    assert fleet.session(session_id)["state"] == "declined"
    request = {"type": "feature_development", "target_ai": "a"}
    fleet.say("b", "collaboration_request", request)
    fleet.run()
    assert fleet.error("b")["code"] == "unknown_target"


def test_a_validator_is_as_good_as_a_trainer(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="validator")
    fleet.join("a")
    fleet.say("a", "pattern_share", PATTERN)
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]
    assert refused(fleet, "retract", {"id": "p"})["code"] == "forbidden"


def test_an_ai_that_is_an_operator_does_what_either_may(fleet: FleetUnderTest) -> None:
    fleet.join("b")
    session_id = fleet.ask("b")
    fleet.enroll("a", role="operator")
    fleet.join("a")
    fleet.say("a", "pattern_share", PATTERN)
    fleet.say("a", "cancel", {"session_id": session_id})
    fleet.say("a", "retract", {"id": "p"})
    fleet.say("a", "kick", {"ai": "b", "reason": "out of order"})
    fleet.say("a", "enroll", {"ai": "c", "key_id": "abcd1234", "digest": "0" * 64})
    fleet.run()
    assert [event for event in fleet.events() if event["kind"] == "refused"] == []
    assert fleet.ids_in("pattern") == []
    assert fleet.session(session_id)["state"] == "cancelled"
    assert fleet.live() == ["a"]
    kicked = next(event for event in fleet.events() if event["kind"] == "kicked")
    assert kicked["data"] == {"by": "a", "reason": "out of order"}
    assert fleet.redis.hexists("coord:credentials:c", "abcd1234")


@pytest.mark.parametrize(
    ("order", "payload", "text"),
    [
        ("kick", {"reason": "broke"}, "operator (Alice) kicked b: broke"),
        ("drain", {}, "operator (Alice) drains b; 0 units are left"),
        ("revoke", {}, "operator (Alice) revoked all access of b: revoked by operator (Alice)"),
    ],
)
def test_the_events_tell_who_had_the_operator_say_it(
    fleet: FleetUnderTest, order: str, payload: dict[str, str], text: str
) -> None:
    fleet.join("b")
    fleet.order(order, ai="b", person="Alice", **payload)
    (event,) = [one for one in fleet.events() if one["text"].startswith("operator")]
    assert (event["text"], event["data"]["by"]) == (text, "operator (Alice)")


def test_who_had_it_said_must_be_somebody(fleet: FleetUnderTest) -> None:
    fleet.join("b")
    fleet.order("kick", ai="b", person="nobody at all")
    assert (fleet.error("operator")["field"], fleet.live()) == ("payload.person", ["b"])


def test_an_operator_must_be_there_to_steer(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="operator")
    fleet.say("a", "retract", {"id": "p"})
    fleet.run()
    assert fleet.error("a")["code"] == "rejoin"


def test_only_some_message_types(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", message_types=["code_share", "performance_report"])
    fleet.join("a")
    fleet.say("a", "heartbeat")
    fleet.say("a", "query", {"what": "counts"})
    fleet.say("a", "code_share", {"code": {"id": "c"}})
    fleet.run()
    assert came(fleet) == ["enroll", "hello", "heartbeat", "query", "code_share"]
    error = refused(fleet, "pattern_share", PATTERN)
    assert (error["code"], error["field"]) == ("forbidden", "message_type")
    assert error["detail"] == (
        "message_type 'pattern_share' is not among those that a was enrolled for: "
        "code_share, performance_report"
    )
    fleet.say("a", "goodbye")
    fleet.run()
    assert fleet.live() == []


def test_only_some_specializations(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", specializations=["audio", "graphics"])
    fleet.say("a", "hello", {"specialization": "security"})
    fleet.run()
    error = fleet.error("a")
    assert (error["code"], error["field"]) == ("forbidden", "payload.specialization")
    assert error["detail"] == (
        "payload.specialization 'security' is not what a was enrolled for, which is audio, graphics"
    )
    fleet.join("a", specialization="graphics")
    assert fleet.live() == ["a"]


@pytest.mark.parametrize("gateway", ["", "g1"])
@pytest.mark.parametrize(
    ("message_type", "payload"),
    [
        ("hello", {}),
        ("heartbeat", {}),
        ("pattern_share", PATTERN),
        ("query", {"what": "counts"}),
        ("work_result", {"session_id": "s", "unit_id": "s-1", "attempt": 1, "outcome": "failed"}),
        ("nonsense", {}),
    ],
)
def test_who_is_shut_out_says_nothing(
    fleet: FleetUnderTest, gateway: str, message_type: str, payload: dict[str, Any]
) -> None:
    fleet.join("a")
    fleet.order("revoke", ai="a")
    fleet.say("a", message_type, payload, gateway=gateway)
    fleet.run()
    error = fleet.error("a")
    assert error["code"] == "revoked"
    assert "a was shut out of the fleet" in error["detail"]
    assert fleet.live() == []


def test_who_was_enrolled_can_be_written_to(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.enroll("b")
    fleet.say("a", "pattern_share", PATTERN, "b")
    fleet.run()
    assert [m["message_type"] for m in fleet.inbox("b")] == ["pattern_share"]
    assert fleet.state()["coord:member:b"][1] == "stays"
    assert fleet.state()["coord:inbox:b"][1] == "expires"


def test_access_that_nobody_can_read_lets_nobody_in(fleet: FleetUnderTest) -> None:
    fleet.redis.hset("coord:member:a", "access", '{"role": "king"}')
    fleet.say("a", "hello")
    fleet.run()
    assert fleet.error("a")["code"] == "revoked"
    assert fleet.live() == []


def test_access_as_it_is_stored() -> None:
    access = Access("observer", ("audio",), ("query",), is_revoked=True)
    assert Access.from_json(access.to_json()) == access
    assert Access().to_json() == (
        '{"role":"trainer","specializations":null,"message_types":null,"is_revoked":false}'
    )
