"""Events as all who read the history are told them: what was written, or nothing."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest

from coordinator.events import (
    MODELS,
    Credited,
    Shared,
    UnitChanged,
    Validated,
    parse_event,
    read_event,
)
from coordinator.history import Line
from tests.archives import history
from tests.fleet import BEGINNING_MS, FleetUnderTest, python

PATTERN = {"kind": "pattern", "id": "p", "specialization": "audio", "contributors": ["a"]}
PATTERN |= {"record": {"id": "p"}, "hash": ""}
ATTEMPT = {"ai": "a", "began_ms": 1, "ended_ms": None, "outcome": "", "reason": ""}
UNIT = {"id": "u", "session_id": "s", "name": "n", "kind": "k", "attempts": [ATTEMPT]}


def line(event: str, data: Any) -> Line:
    told = {"event": event, "ai": "a", "text": "t", "data": data}
    return Line("event", "events", 7, 7, BEGINNING_MS, "f.1", told)


@pytest.fixture
def lines() -> list[Line]:
    """What a fleet that did a little of everything has told."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as redis:
        fleet = FleetUnderTest(redis)
        fleet.join("a", "b", specialization="audio", skills=["k"])
        fleet.enroll("v", role="validator")
        fleet.join("v", evaluators={"sound": "sound-1"})
        fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
        fleet.say("b", "code_share", {"code": python("c", derived_from="p")})
        fleet.run()
        fleet.judge("v", "c", verdict="passed", score=0.5, evaluator="sound-1")
        session_id = fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "k"}])
        fleet.report(f"{session_id}-1", output={"lines": 3})
        fleet.say("b", "pattern_share", {"pattern": {"id": "p"}})
        fleet.order("retract", id="p")
        fleet.say("a", "goodbye")
        fleet.run()
        return history(redis)


def test_all_that_the_coordinator_writes_of_those_kinds_is_read(lines: list[Line]) -> None:
    told = [line for line in lines if line.kind == "event" and line.data["event"] in MODELS]
    events = [read_event(line) for line in told]
    assert None not in events
    assert {event.event for event in events if event} == {
        *("joined", "left", "shared", "validated", "credited", "retracted", "refused"),
        *("session_opened", "session_active", "session_completed"),
        *("unit_assigned", "unit_completed"),
    }


def test_what_they_say(lines: list[Line]) -> None:
    events = [event for line in lines if (event := parse_event(line))]
    shared = [event for event in events if isinstance(event, Shared)]
    assert [str(event.record_key) for event in shared] == ["pattern p", "component c"]
    assert shared[0].origins is None
    assert [(origin.name, origin.is_use) for origin in shared[1].origins or ()] == [
        ("pattern:p", True)
    ]
    (verdict,) = (event for event in events if isinstance(event, Validated))
    assert (verdict.score, verdict.found["score"], "hash" in verdict.found) == (0.5, 0.5, False)
    assert {e.ai: e.contribution_score for e in events if isinstance(e, Credited)}["b"] == 0.5
    last = [event for event in events if isinstance(event, UnitChanged)][-1]
    assert (last.tried.outcome, last.output) == ("completed", {"lines": 3})


def test_other_lines_are_no_event_that_is_read() -> None:
    assert parse_event(Line("gap", "events", 1, 2, 0, "f.1")) is None
    assert read_event(line("message", {"message": "{"})) is None
    assert read_event(line("enrolled", {})) is None


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("shared", None),
        ("shared", "{"),
        ("shared", []),
        ("shared", {}),
        ("shared", PATTERN | {"origins": [1]}),
        ("shared", PATTERN | {"contributors": 5}),
        ("shared", PATTERN | {"contributors": []}),
        ("shared", PATTERN | {"kind": "virus"}),
        ("shared", PATTERN | {"specialization": "a b"}),
        ("validated", {"kind": "component", "component_id": "c", "verdict": "passed"}),
        ("credited", {"contribution_score": float("nan")}),
        ("session_active", {"session": {"id": "s"}}),
        ("unit_lost", {"unit": UNIT, "attempt": 0}),
        ("unit_lost", {"unit": UNIT, "attempt": 2}),
        ("retracted", {"id": "p", "kinds": ["virus"]}),
    ],
    ids=str,
)
def test_what_is_not_as_it_was_written_is_none(event: str, data: Any) -> None:
    assert parse_event(line(event, data)) is None
    with pytest.raises(ValueError):
        read_event(line(event, data))


def test_those_are_what_is_changed_above() -> None:
    assert isinstance(parse_event(line("shared", PATTERN)), Shared)
    assert isinstance(parse_event(line("unit_lost", {"unit": UNIT, "attempt": 1})), UnitChanged)
