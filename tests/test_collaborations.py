"""Asking, answering, workspaces, results, and components that end a session."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from tests.fleet import FleetUnderTest, changed, python

UNIT = [{"name": "u", "kind": "k", "participant": 1, "tries": 2}]
NOTHING = {"coord:events", "coord:totals"}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600, workspace_max_bytes=1024)
    fleet.join("a", "b", "c", specialization="networking", skills=["k"])
    return fleet


def without_plan(session: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in session.items() if name != "plan"}


def refused(fleet: FleetUnderTest, ai: str, message_type: str, payload: dict[str, Any]) -> str:
    """The code with which a message is refused, which changes no session."""
    before = fleet.state()
    fleet.say(ai, message_type, payload)
    fleet.run()
    touched = changed(before, fleet.state())
    assert not any(name.startswith(("coord:session", "coord:unit", "rq:")) for name in touched)
    return str(fleet.error(ai)["code"])


def test_the_request_is_passed_on_once_with_what_the_asked_must_know(
    fleet: FleetUnderTest,
) -> None:
    s = fleet.ask("a", description="d", target_ai="", own=[1])
    request = fleet.log()[-1]
    assert (request["sender_id"], request["message_type"]) == ("a", "collaboration_request")
    assert request["payload"] == {
        "type": "feature_development",
        "description": "d",
        "target_ai": "",
        "own": [1],
        "session_id": s,
        "initiator": "a",
        "partner_specialization": "networking",
    }
    assert fleet.excluded() == "a"
    assert fleet.told("a", "collaboration_update")[-1]["status"] == "pending"
    opened = fleet.events()[-1]
    assert (opened["kind"], opened["ai"]) == ("session_opened", "a")
    assert opened["data"] == {"session_id": s, "session": without_plan(fleet.session(s))}


def test_a_target_alone_is_asked(fleet: FleetUnderTest) -> None:
    before = fleet.log()
    s = fleet.ask("a", target_ai="b", participants=1)
    assert fleet.log() == before
    assert fleet.told("b", "collaboration_request")[-1]["session_id"] == s
    sent, opened = fleet.events()[-2:]
    assert (sent["kind"], sent["ai"], opened["kind"]) == ("message", "b", "session_opened")
    assert json.loads(sent["data"]["message"]) == fleet.inbox("b")[-1]
    assert refused(fleet, "c", "collaboration_response", {"session_id": s, "accept": True}) == (
        "not_asked"
    )
    fleet.answer("b", s)
    assert fleet.session(s)["state"] == "active"
    (answer,) = [
        json.loads(event["data"]["message"])
        for event in fleet.events()
        if event["kind"] == "message" and event["ai"] == "a"
    ]
    assert (answer["message_type"], answer["sender_id"]) == ("collaboration_response", "b")


@pytest.mark.parametrize("target", ["operator", "hub", "a", "nobody", "*", "a b"])
def test_who_cannot_be_asked(fleet: FleetUnderTest, target: str) -> None:
    request = {"type": "feature_development", "target_ai": target}
    assert refused(fleet, "a", "collaboration_request", request) == "unknown_target"


def test_a_target_that_declines(fleet: FleetUnderTest) -> None:
    s = fleet.ask("a", target_ai="b")
    fleet.answer("b", s, accept=False, reason="busy\n字")
    session = fleet.session(s)
    assert (session["state"], session["reason"]) == ("declined", "busy\n字")
    assert fleet.told("a", "collaboration_response")[-1]["reason"] == "busy\n字"
    assert fleet.told("a", "collaboration_update")[-1]["status"] == "declined"


def test_all_decline(fleet: FleetUnderTest) -> None:
    s = fleet.ask("a")
    fleet.answer("b", s, accept=False)
    fleet.answer("b", s, accept=False)
    assert fleet.session(s)["state"] == "pending"
    fleet.answer("c", s, accept=False)
    assert fleet.session(s)["state"] == "declined"


def test_a_no_of_somebody_who_came_later_speaks_for_itself_alone(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    s = fleet.ask("a")
    fleet.join("b", "c")
    fleet.answer("b", s, accept=False)
    fleet.answer("c", s)
    assert fleet.session(s)["state"] == "active"


def test_yes_after_no(fleet: FleetUnderTest) -> None:
    s = fleet.ask("a", participants=3)
    fleet.answer("b", s, accept=False)
    fleet.answer("b", s)
    session = fleet.session(s)
    assert (session["participants"], session["refusals"], session["declined"]) == (
        ["a", "b"],
        0,
        {},
    )


@pytest.mark.parametrize(
    ("who", "accept", "code"),
    [("a", True, "bad_payload"), ("a", False, "bad_payload"), ("b", True, "bad_payload")],
)
def test_who_takes_part_cannot_answer(
    fleet: FleetUnderTest, who: str, accept: bool, code: str
) -> None:
    s = fleet.ask("a", participants=3)
    fleet.answer("b", s)
    answer = {"session_id": s, "accept": accept}
    assert refused(fleet, who, "collaboration_response", answer) == code


def test_a_late_yes_and_a_late_no(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    answer = {"session_id": s, "accept": True}
    assert refused(fleet, "c", "collaboration_response", answer) == "session_full"
    before = fleet.state()
    fleet.answer("c", s, accept=False)
    assert changed(before, fleet.state()) == {"coord:instance:c/c.1", "coord:totals"}


def test_a_joint_component_needs_one_of_each_specialization(fleet: FleetUnderTest) -> None:
    fleet.join("d", specialization="process_manager")
    s = fleet.ask("a", type="cross_specialization")
    answer = {"session_id": s, "accept": True}
    assert refused(fleet, "b", "collaboration_response", answer) == "session_full"
    fleet.answer("d", s)
    assert fleet.session(s)["participants"] == ["a", "d"]


def test_a_feature_request_is_no_collaboration(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "file_cache")
    answer = {"session_id": r, "accept": True}
    assert refused(fleet, "b", "collaboration_response", answer) == "not_asked"


def test_too_many_at_a_time(fleet: FleetUnderTest) -> None:
    for _ in range(3):
        fleet.collaborate("a", "b")
    request = {"type": "feature_development"}
    assert refused(fleet, "a", "collaboration_request", request) == "busy"
    s = fleet.ask("c")
    assert (
        refused(fleet, "b", "collaboration_response", {"session_id": s, "accept": True}) == "busy"
    )


def test_the_same_message_again_has_no_effect(fleet: FleetUnderTest) -> None:
    s = fleet.ask("a", participants=3)
    fleet.answer("b", s)
    before = fleet.state()
    fleet.say("a", "collaboration_request", {"type": "feature_development"}, n=2)
    fleet.say("b", "collaboration_response", {"session_id": s, "accept": True}, n=2)
    fleet.run()
    assert changed(before, fleet.state()) == set()


# -- workspaces ------------------------------------------------------------------------------------


def test_a_workspace_is_written_and_told_to_the_others(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    update = {"session_id": s, "key": "k", "value": {"x": [1]}, "expected_version": 0}
    fleet.say("a", "workspace_update", update)
    fleet.run()
    assert fleet.told("b", "workspace_update") == [{**update, "version": 1}]
    assert fleet.told("a", "workspace_update") == []
    assert fleet.events()[-1] == {
        "kind": "workspace_updated",
        "ai": "a",
        "text": f"a wrote k of session {s}, version 1",
        "data": {"session_id": s, "key": "k", "version": 1, "value": {"x": [1]}},
    }
    stored = fleet.state()[f"coord:workspace:{s}"][0]
    assert stored == {"k": '{"value":{"x":[1]},"version":1,"by":"a","ms":1750000000000}'}


def test_who_may_write_and_what(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b")
    update: dict[str, Any] = {"session_id": s, "key": "k", "value": 1}
    fleet.say("a", "workspace_update", update)
    fleet.run()
    assert refused(fleet, "c", "workspace_update", update) == "not_a_participant"
    assert refused(fleet, "b", "workspace_update", {**update, "value": "x" * 1024}) == "too_large"
    stale = {**update, "expected_version": 0}
    assert refused(fleet, "b", "workspace_update", stale) == "stale_version"
    assert fleet.error("b")["version"] == 1
    assert refused(fleet, "b", "workspace_update", {**update, "session_id": "x"}) == "not_found"


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "change"),
    [
        ("a", {}),
        ("b", {"attempt": 2}),
        ("b", {"unit_id": "x"}),
        ("b", {"session_id": "x"}),
        ("stranger", {}),
    ],
)
def test_late_stale_and_forged_results_change_nothing(
    fleet: FleetUnderTest, who: str, change: dict[str, Any]
) -> None:
    s = fleet.collaborate("a", "b", plan=UNIT)
    result = {"session_id": s, "unit_id": f"{s}-1", "attempt": 1, "outcome": "completed"}
    before = fleet.state()
    fleet.say(who, "work_result", result | change)
    fleet.run()
    touched = changed(before, fleet.state())
    assert touched <= {
        *(f"coord:instance:{who}/{who}.1", "coord:totals"),
        *("coord:doors", "coord:ingress:stranger"),
    }


def test_the_result_of_an_attempt_that_was_lost_changes_nothing(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=UNIT)
    fleet.say("b", "goodbye")
    fleet.run()
    unit = fleet.unit(f"{s}-1")
    result = {"session_id": s, "unit_id": f"{s}-1", "attempt": 1, "outcome": "completed"}
    fleet.say("b", "work_result", result)
    fleet.run()
    assert fleet.unit(f"{s}-1") == unit


def test_progress_is_told(fleet: FleetUnderTest) -> None:
    s = fleet.collaborate("a", "b", plan=UNIT)
    fleet.report(f"{s}-1", "running", progress=0.5)
    fleet.report(f"{s}-1", "running", progress=0.25)
    unit = fleet.unit(f"{s}-1")
    assert (unit["state"], unit["progress"]) == ("running", 0.5)
    assert fleet.told("a", "collaboration_update")[-1]["unit"] == {
        "id": f"{s}-1",
        "name": "u",
        "state": "running",
        "ai": "b",
        "attempt": 1,
    }


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        ({"output": {"component": "none"}}, "output.component should be an object"),
        ({"output": {"component": {"id": "a\nb"}}}, "output.component.id is not a record's id"),
        ({"workspace": {"fits": 1, "large": "x" * 2000}}, "the workspace of session"),
    ],
)
def test_a_result_that_cannot_be_used_has_failed(
    fleet: FleetUnderTest, result: dict[str, Any], fault: str
) -> None:
    s = fleet.collaborate("a", "b", plan=UNIT)
    fleet.report(f"{s}-1", **result)
    first, _ = fleet.unit(f"{s}-1")["attempts"]
    assert first["outcome"] == "failed"
    assert first["reason"].startswith(f"its result cannot be used: {fault}")
    assert fleet.session(s)["workspace"] == {}
    assert fleet.coordinator._fleet.sessions[s].workspace == {}


# -- components that end a session -----------------------------------------------------------------


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("named", ["by session_id", "by its own id"])
def test_old_clients_end_a_session_by_a_component(
    fleet: FleetUnderTest, named: str, is_begun: bool
) -> None:
    fleet.join("x", "y")
    s = fleet.collaborate("x", "y") if is_begun else fleet.ask("x", target_ai="y")
    if named == "by session_id":
        share = {"component": {"name": "n"}, "collaboration_complete": True, "session_id": s}
    else:
        share = {"component": {"id": f"collab_{s}", "name": "n"}}
    fleet.say("y", "os_component_share", share, "x")
    fleet.run()
    session = fleet.session(s)
    assert (session["state"], session["participants"]) == ("completed", ["x", "y"])
    stored = fleet.ids_in("feature")
    assert session["component_id"] == stored[0]
    assert fleet.told("x", "os_component_share")[-1]["component"]["id"] == stored[0]
    assert fleet.told("x", "collaboration_update")[-1]["status"] == "completed"


def test_who_was_not_asked_ends_nothing(fleet: FleetUnderTest) -> None:
    share = {"component": {"name": "n"}, "collaboration_complete": True}
    for s in (fleet.ask("a", target_ai="b"), fleet.collaborate("a", "b", plan=UNIT)):
        named = {**share, "session_id": s}
        assert refused(fleet, "c", "os_component_share", named) == "not_a_participant"
    assert fleet.ids_in("feature") == []


REFUSED_SHARES: dict[str, dict[str, Any]] = {
    "new": {"component": python("new")},
    "its own": {"component": python("own", "x = 2")},
    "its own, begun from": {"component": python("own", derived_from="of-a")},
    "another's": {"component": python("of-a", "x = 2")},
    "none": {"component": {}},
    "begun from nothing": {"component": python("new", derived_from={})},
    "by the session's id": {"component": python("collab_session")},
    "of no language": {"component": python("new", language="rust")},
}


@pytest.mark.parametrize("share", REFUSED_SHARES.values(), ids=REFUSED_SHARES.keys())
@pytest.mark.parametrize("is_begun", [False, True])
def test_what_is_refused_changes_neither_memory_nor_redis(
    fleet: FleetUnderTest, share: dict[str, Any], is_begun: bool
) -> None:
    fleet.say("a", "os_component_share", {"component": python("of-a")})
    fleet.say("c", "os_component_share", {"component": python("own")})
    s = fleet.collaborate("a", "b", plan=UNIT) if is_begun else fleet.ask("a", target_ai="b")
    component = dict(share["component"])
    if component.get("id") == "collab_session":
        component["id"] = f"collab_{s}"
    before = fleet.state()
    told = {"component": component, "collaboration_complete": True, "session_id": s}
    assert refused(fleet, "c", "os_component_share", told)
    assert changed(before, fleet.state()) <= {
        *("coord:inbox:c", "coord:member:c", "coord:events", "coord:fleet", "coord:instance:c/c.1")
    }
    fleet.check_memory()


def test_a_component_of_an_unknown_session_is_stored_like_any(fleet: FleetUnderTest) -> None:
    fleet.say("b", "os_component_share", {"component": {"id": "collab_none"}})
    fleet.run()
    assert fleet.ids_in("feature") == ["collab_none"]
