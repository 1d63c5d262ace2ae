"""Feature requests: who is chosen, who replaces whom, and what fulfils one."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from tests.fleet import FleetUnderTest


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """``a`` asks; ``b`` and ``c`` are capable of a file cache, ``n`` of networking."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a")
    fleet.join("b", "c", specialization="file_system")
    fleet.join("n", specialization="networking")
    return fleet


def update(fleet: FleetUnderTest, ai: str = "a") -> dict[str, Any]:
    return fleet.told(ai, "feature_update")[-1]


def share(fleet: FleetUnderTest, ai: str, target: str | None = None, **payload: Any) -> None:
    fleet.say(ai, "os_component_share", {"component": {"name": "file_cache"}, **payload}, target)
    fleet.run()


def test_it_is_assigned_and_all_others_hear_of_it(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "file_cache", speed="high")
    request = {"feature": "file_cache", "requirements": {"speed": "high"}}
    assert fleet.told("b", "feature_response") == [
        {"original_request": request, "requestor": "a", "request_id": r}
    ]
    assert fleet.log()[-1]["payload"] == {**request, "request_id": r}
    assert fleet.excluded() == "a,b"
    assert update(fleet) == {
        "request_id": r,
        "in_reply_to": "a-2",
        "feature": "file_cache",
        "status": "active",
        "assignees": ["b"],
        "declined": {},
        "reason": "",
        "component_id": None,
        "result": None,
    }


@pytest.mark.parametrize("feature", [".*", "a+b", "file cache (字)", "network_protocols", "os"])
def test_names_are_words_and_no_patterns(fleet: FleetUnderTest, feature: str) -> None:
    fleet.request_feature("a", feature)
    able = {"file cache (字)": ["b"], "network_protocols": ["n"]}
    assert update(fleet)["assignees"] == able.get(feature, [])


@pytest.mark.parametrize("what", ["load", "record", "units"])
def test_the_best_is_chosen(fleet: FleetUnderTest, what: str) -> None:
    plan = [{"name": "u", "kind": "k"}]
    if what == "load":
        fleet.say("b", "heartbeat", {"load": 0.5})
        fleet.run()
    else:
        fleet.join("b", specialization="file_system", skills=["k"])
        s = fleet.collaborate("b", plan=plan)
        if what == "record":
            for _ in range(3):
                fleet.report(f"{s}-1", "failed", reason="r")
    fleet.request_feature("a", "file_cache")
    assert update(fleet)["assignees"] == ["c"]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_with_nobody_capable_it_waits_for_somebody(
    fleet: FleetUnderTest, is_replaced: bool
) -> None:
    r = fleet.request_feature("a", "audio_mixer")
    assert update(fleet)["status"] == "pending"
    assert "nobody is there who is capable" in update(fleet)["reason"]
    assert fleet.session(r)["reason"] == update(fleet)["reason"]
    if is_replaced:
        fleet.replace_coordinator("coordinator-2")
    fleet.join("x", specialization="graphics")
    assert update(fleet)["status"] == "pending"
    fleet.join("y", specialization="audio")
    assert (update(fleet)["assignees"], update(fleet)["reason"]) == (["y"], "")


@pytest.mark.parametrize(
    ("feature", "reason"), [("x", "nobody capable"), ("file_cache", "it took")]
)
def test_it_expires(fleet: FleetUnderTest, feature: str, reason: str) -> None:
    fleet.request_feature("a", feature)
    fleet.pass_time(601)
    assert update(fleet)["status"] == "expired"
    assert update(fleet)["reason"].startswith(reason)


@pytest.mark.parametrize("how", ["declines", "leaves"])
def test_an_assignee_that_is_out_is_replaced(fleet: FleetUnderTest, how: str) -> None:
    r = fleet.request_feature("a", "file_cache")
    for ai in ("b", "c"):
        assert update(fleet)["assignees"] == [ai]
        if how == "declines":
            no = {"request_id": r, "accept": False, "reason": "no time"}
            fleet.say(ai, "feature_response", no)
        else:
            fleet.say(ai, "goodbye")
        fleet.run()
    assert (update(fleet)["status"], update(fleet)["assignees"]) == ("pending", [])
    assert update(fleet)["declined"] == (
        {"b": "no time", "c": "no time"} if how == "declines" else {}
    )


def test_who_was_not_assigned_cannot_decline(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "file_cache")
    fleet.say("n", "feature_response", {"request_id": r, "accept": False})
    fleet.say("c", "feature_response", {"request_id": "none", "accept": False})
    fleet.run()
    assert [fleet.error("n")["code"], fleet.error("c")["code"]] == ["not_asked", "not_found"]


def test_a_yes_needs_not_be_said(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "file_cache")
    before = fleet.session(r)
    fleet.say("b", "feature_response", {"request_id": r, "accept": True})
    fleet.run()
    assert fleet.session(r) == before


def test_who_has_it_is_told_when_it_has_ended(fleet: FleetUnderTest) -> None:
    r = fleet.request_feature("a", "file_cache")
    assert fleet.told("b", "feature_update") == []
    fleet.say("a", "cancel", {"session_id": r, "reason": "no need"})
    fleet.run()
    assert update(fleet, "b") == update(fleet)
    assert update(fleet, "b")["status"] == "cancelled"


@pytest.mark.parametrize("who", ["b", "n"])
@pytest.mark.parametrize(
    ("target", "payload"),
    [
        (None, {}),
        ("a", {}),
        ("a", {"original_requestor": "a", "feature_name": "file_cache", "component": {"x": 1}}),
        (None, {"component": {"component_name": "file_cache"}}),
    ],
    ids=str,
)
def test_the_first_answer_fulfils_it(
    fleet: FleetUnderTest, who: str, target: str | None, payload: dict[str, Any]
) -> None:
    r = fleet.request_feature("a", "file_cache")
    share(fleet, who, target, **payload)
    session = fleet.session(r)
    assert session["state"] == "completed"
    assert session["component_id"] == fleet.ids_in("feature")[0]
    assert update(fleet)["component_id"] == session["component_id"]
    assert len(fleet.told("a", "os_component_share")) == (1 if target else 0)


@pytest.mark.parametrize(
    ("who", "target", "payload"),
    [
        ("a", None, {}),
        ("b", "n", {}),
        ("b", None, {"original_requestor": "n"}),
        ("b", "a", {"feature_name": "other"}),
        ("b", "a", {"component": {"id": "x"}}),
    ],
)
def test_what_does_not_fulfil_it(
    fleet: FleetUnderTest, who: str, target: str | None, payload: dict[str, Any]
) -> None:
    r = fleet.request_feature("a", "file_cache")
    share(fleet, who, target, **payload)
    assert fleet.session(r)["state"] == "active"


def test_two_requests_for_one_feature(fleet: FleetUnderTest) -> None:
    one, other = (fleet.request_feature(ai, "file_cache") for ai in ("a", "n"))
    share(fleet, "b", "a")
    assert (fleet.session(one)["state"], fleet.session(other)["state"]) == ("completed", "active")
    share(fleet, "b")
    assert fleet.session(other)["state"] == "completed"


def test_a_worker_develops_it_and_the_requestor_is_given_it(fleet: FleetUnderTest) -> None:
    fleet.join("w", specialization="audio", skills=["develop_feature"])
    r = fleet.request_feature("a", "audio_mixer")
    assert fleet.queue("w") == [fleet.job(f"{r}-1")]
    fleet.report(f"{r}-1", output={"component": {"name": "mixer"}, "summary": {"x": 1}})
    assert (update(fleet)["status"], update(fleet)["result"]) == ("completed", {"x": 1})
    given = next(m for m in fleet.inbox("a") if m["message_type"] == "os_component_share")
    assert (given["sender_id"], given["payload"]["feature_name"]) == ("w", "audio_mixer")
    assert fleet.redis.hget("coord:member:w", "features_implemented") == b"1"


@pytest.mark.parametrize("who", ["v", "w"])
def test_of_several_assignees_one_may_fail_or_leave(redis: Redis, who: str) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600, feature_assignees=2, unit_tries=2)
    fleet.join("a")
    fleet.join("v", "w", specialization="audio", skills=["develop_feature"])
    r = fleet.request_feature("a", "audio_mixer")
    fleet.report(f"{r}-1", "failed", reason="r")
    assert fleet.unit(f"{r}-1")["attempts"][-1]["ai"] == "w"
    fleet.say(who, "goodbye")
    fleet.run()
    (left,) = fleet.session(r)["units"]
    assert fleet.unit(left)["state"] == "queued"
    other = "w" if who == "v" else "v"
    assert (fleet.session(r)["participants"], fleet.queue(other)) == ([other], [fleet.job(left)])


def test_a_worker_that_fails_is_replaced(fleet: FleetUnderTest) -> None:
    fleet.join("v", "w", specialization="audio", skills=["develop_feature"])
    r = fleet.request_feature("a", "audio_mixer")
    for _ in range(3):
        fleet.report(f"{r}-1", "failed", reason="no idea")
    assert (update(fleet)["assignees"], update(fleet)["declined"]) == (["w"], {"v": "no idea"})
    assert (fleet.queue("v"), fleet.queue("w")) == ([], [fleet.job(f"{r}-2")])
    assert not fleet.redis.exists(f"coord:unit:{r}-1")


def test_so_many_at_a_time(fleet: FleetUnderTest) -> None:
    for _ in range(11):
        fleet.say("a", "feature_request", {"feature": "file_cache"})
    fleet.run()
    assert fleet.error("a")["code"] == "busy"
    assert len(fleet.coordinator._fleet.sessions) == 10


def test_one_that_is_assigned_to_nobody_ends_when_its_asker_leaves(fleet: FleetUnderTest) -> None:
    waiting = fleet.request_feature("a", "audio_mixer")
    assigned = fleet.request_feature("a", "file_cache")
    fleet.say("a", "goodbye")
    fleet.run()
    session = fleet.session(waiting)
    assert (session["state"], session["reason"]) == ("cancelled", "a asked for it and has left")
    assert fleet.session(assigned)["state"] == "active"
    fleet.join("w", specialization="audio")
    assert fleet.told("w", "feature_response") == []
