"""Queries of every kind: pushed to the one instance that asked, cut into pages, kept nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from coordinator import coordinator as coordinator_module
from coordinator.clock import iso
from coordinator.specializations import capabilities_of
from tests.fleet import BEGINNING_MS, FleetUnderTest, Pushes, changed

NOT_VALIDATED = {
    "quality_score": None,
    "integration_tested": False,
    "validation": {
        "verdict": "not_validated",
        "reason": "it has no source text in `code` or `implementation`",
        "validator": None,
        "timestamp": iso(BEGINNING_MS),
        "previous_score": None,
        "regression": False,
    },
}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "c", specialization="audio")
    fleet.join("b", specialization="graphics", capabilities=["x", "media_handling"])
    return fleet


@pytest.fixture
def pushes(fleet: FleetUnderTest) -> Iterator[Pushes]:
    pushes = Pushes(fleet.redis, fleet.keys)
    yield pushes
    pushes.close()


def share(fleet: FleetUnderTest, kind: str, count: int, **own: Any) -> None:
    field = {"pattern_share": "pattern", "code_share": "code", "os_component_share": "component"}
    for n in range(count):
        fleet.say("a", kind, {field[kind]: {"id": f"r{n}", **own}})
        fleet.run()
        fleet.clock.wall_ms += 1


def ask(fleet: FleetUnderTest, pushes: Pushes, what: str, **options: Any) -> dict[str, Any]:
    """The payload of the answer to a's query."""
    pushes.all()
    asked = fleet.say("a", "query", {"what": what, **options})
    fleet.run()
    ((channel, push),) = pushes.all()
    payload: dict[str, Any] = push["message"]["payload"]
    assert channel == "coord:to:a"
    assert payload.pop("in_reply_to") == asked
    return payload


def pages(
    fleet: FleetUnderTest, pushes: Pushes, what: str, **options: Any
) -> list[list[dict[str, Any]]]:
    """The items of every page until there is no cursor."""
    found = []
    while True:
        payload = ask(fleet, pushes, what, **options)
        found.append(payload["items"])
        if payload["cursor"] is None:
            return found
        options["cursor"] = payload["cursor"]
        assert len(found) < 50


def test_an_answer_is_pushed_and_kept_nowhere(fleet: FleetUnderTest, pushes: Pushes) -> None:
    before = fleet.state()
    fleet.say("a", "query", {"what": "counts"}, message_id="7")
    fleet.run()
    assert changed(before, fleet.state()) == {"coord:totals", "coord:instance:a/a.1"}
    ((channel, push),) = pushes.all()
    message = push.pop("message")
    assert channel == "coord:to:a"
    assert push == {"epoch": fleet.coordinator._fleet.epoch, "instance": "a.1"}
    assert message == {
        "message_id": message["message_id"],
        "sender_id": "hub",
        "message_type": "query_result",
        "timestamp": iso(BEGINNING_MS),
        "payload": {
            "what": "counts",
            "items": [
                {
                    "ais": 3,
                    "patterns": 0,
                    "components": 0,
                    "features": 0,
                    "open_validations": 0,
                    "messages": 4,
                    "messages_by_type": {"hello": 3, "query": 1},
                }
            ],
            "cursor": None,
            "total": 1,
            "in_reply_to": "7",
        },
        "target_ai": "a",
    }


def test_ais(fleet: FleetUnderTest, pushes: Pushes) -> None:
    fleet.say("b", "heartbeat", {"load": 0.5, "status": "busy"})
    fleet.run()
    said = {"joined_ms": BEGINNING_MS, "heartbeat_ms": BEGINNING_MS}
    idle = {
        "specialization": "audio",
        "capabilities": capabilities_of("audio"),
        "status": "ready",
        "load": 0.0,
        **said,
    }
    assert ask(fleet, pushes, "ais") == {
        "what": "ais",
        "items": [
            {"ai_id": "a", "instance": "a.1", "door": "a", **idle},
            {
                "ai_id": "b",
                "instance": "b.1",
                "door": "b",
                "specialization": "graphics",
                "capabilities": ["x", "media_handling"],
                "status": "busy",
                "load": 0.5,
                **said,
            },
            {"ai_id": "c", "instance": "c.1", "door": "c", **idle},
        ],
        "cursor": None,
        "total": 3,
    }


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"specialization": "audio"}, ["a", "c"]),
        ({"capability": "media_handling"}, ["a", "b", "c"]),
        ({"capability": "x"}, ["b"]),
        ({"specialization": "audio", "capability": "media_handling"}, ["a", "c"]),
        ({"specialization": "audio", "capability": "x"}, []),
        ({"specialization": "nothing"}, []),
    ],
    ids=str,
)
def test_ais_by_filter(
    fleet: FleetUnderTest, pushes: Pushes, wanted: dict[str, str], ids: list[str]
) -> None:
    payload = ask(fleet, pushes, "ais", filter=wanted)
    assert [item["ai_id"] for item in payload["items"]] == ids
    assert payload["total"] == len(ids)


def test_pages_of_ais(fleet: FleetUnderTest, pushes: Pushes) -> None:
    found = pages(fleet, pushes, "ais", limit=2)
    assert [[item["ai_id"] for item in page] for page in found] == [["a", "b"], ["c"]]
    assert [len(page) for page in pages(fleet, pushes, "ais", limit=3)] == [3]


@pytest.mark.parametrize(
    ("what", "kind", "own"),
    [
        ("patterns", "pattern_share", {"pattern": {"id": "r0"}}),
        ("components", "code_share", {"code": {"id": "r0"}, **NOT_VALIDATED}),
        (
            "features",
            "os_component_share",
            {
                "component": {"id": "r0"},
                **NOT_VALIDATED,
                "performance_benchmarks": {},
            },
        ),
    ],
)
def test_records(
    fleet: FleetUnderTest, pushes: Pushes, what: str, kind: str, own: dict[str, Any]
) -> None:
    share(fleet, kind, 1)
    assert ask(fleet, pushes, what) == {
        "what": what,
        "items": [
            {
                "id": "r0",
                "specialization": "audio",
                "contributor": "a",
                "timestamp": iso(BEGINNING_MS),
                "revision": 1,
                "usage_count": 0,
                **own,
            }
        ],
        "cursor": None,
        "total": 1,
    }


def test_pages_of_records_the_newest_first(fleet: FleetUnderTest, pushes: Pushes) -> None:
    share(fleet, "pattern_share", 5)
    found = pages(fleet, pushes, "patterns", limit=2)
    assert [[item["id"] for item in page] for page in found] == [["r4", "r3"], ["r2", "r1"], ["r0"]]


def test_records_by_filter(fleet: FleetUnderTest, pushes: Pushes) -> None:
    share(fleet, "pattern_share", 2)
    fleet.say("a", "pattern_share", {"pattern": {"id": "g", "specialization": "graphics"}})
    fleet.run()
    payload = ask(fleet, pushes, "patterns", filter={"specialization": "graphics"})
    assert [item["id"] for item in payload["items"]] == ["g"]
    assert payload["total"] == 1
    assert ask(fleet, pushes, "patterns", filter={"specialization": "x"})["items"] == []


def test_a_cursor_that_is_gone(fleet: FleetUnderTest, pushes: Pushes) -> None:
    asked = fleet.say("a", "query", {"what": "patterns", "cursor": "gone"})
    fleet.run()
    ((_, push),) = pushes.all()
    assert push["message"]["message_type"] == "error"
    assert push["message"]["payload"] == {
        "in_reply_to": asked,
        "code": "bad_payload",
        "detail": "payload.cursor 'gone' is no longer there; begin again without a cursor",
        "field": "payload.cursor",
    }


def test_benchmarks_the_newest_first(fleet: FleetUnderTest, pushes: Pushes) -> None:
    for n in range(3):
        report = {"component_id": "c", "performance": {"n": n}}
        fleet.say("a", "performance_report", report)
    fleet.run()
    wanted = {"component_id": "c"}
    payload = ask(fleet, pushes, "benchmarks", filter=wanted, limit=2)
    assert [item["metrics"]["n"] for item in payload["items"]] == [2, 1]
    assert payload["items"][0] == {
        "reporter": "a",
        "timestamp": iso(BEGINNING_MS),
        "metrics": {"n": 2},
    }
    assert ask(fleet, pushes, "benchmarks", filter={"component_id": "x"})["items"] == []


def test_an_answer_is_cut_to_the_size_of_a_message(fleet: FleetUnderTest, pushes: Pushes) -> None:
    share(fleet, "pattern_share", 8, text="字" * 20_000)
    found = pages(fleet, pushes, "patterns", limit=8)
    assert [item["id"] for page in found for item in page] == [f"r{n}" for n in range(7, -1, -1)]
    sizes = [len(json.dumps(page, ensure_ascii=False).encode()) for page in found]
    assert max(sizes) <= fleet.settings.message_max_bytes


def test_one_item_that_is_larger_is_sent_alone(fleet: FleetUnderTest, pushes: Pushes) -> None:
    share(fleet, "pattern_share", 3, text="x" * 261_000)
    found = pages(fleet, pushes, "patterns")
    assert [[item["id"] for item in page] for page in found] == [["r2"], ["r1"], ["r0"]]


def test_many_ais_with_much_to_say_are_cut_too(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    names = [f"n{n:03}" for n in range(80)]
    capabilities = [f"{n}".ljust(64, "c") for n in range(64)]
    fleet.join("a", *names, capabilities=capabilities)
    pushes = Pushes(redis, fleet.keys)
    found = pages(fleet, pushes, "ais", limit=100)
    pushes.close()
    assert len(found) > 1
    assert [item["ai_id"] for page in found for item in page] == ["a", *names]


def test_many_large_reports_are_cut_too(fleet: FleetUnderTest, pushes: Pushes) -> None:
    for n in range(5):
        performance = {"n": n, **{f"{i}" + "x" * 800: 1 for i in range(100)}}
        fleet.say("a", "performance_report", {"component_id": "c", "performance": performance})
    fleet.run()
    payload = ask(fleet, pushes, "benchmarks", filter={"component_id": "c"})
    assert [item["metrics"]["n"] for item in payload["items"]] == [4, 3, 2]
    assert (payload["cursor"], payload["total"]) == (None, 5)


def test_a_read_that_fails_costs_its_answer_alone(
    fleet: FleetUnderTest, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        monkeypatch.undo()
        raise KeyError("a fault of ours")

    monkeypatch.setattr(coordinator_module, "answer", failing)
    fleet.say("a", "query", {"what": "counts"})
    fleet.say("a", "query", {"what": "counts"}, message_id="second")
    fleet.run()
    answers = [push["message"] for _, push in pushes.all()]
    assert [answer["message_type"] for answer in answers] == ["error", "query_result"]
    assert answers[0]["payload"]["code"] == "internal"
    assert answers[1]["payload"]["in_reply_to"] == "second"
    assert fleet.coordinator.active


def test_a_workspace_comes_in_pages_with_its_versions(
    fleet: FleetUnderTest, pushes: Pushes
) -> None:
    s = fleet.collaborate("a", "b")
    for key, value in (("two", 2), ("one", {"x": [1]}), ("two", 22)):
        fleet.say("b", "workspace_update", {"session_id": s, "key": key, "value": value})
    fleet.run()
    written = {"by": "b", "ms": BEGINNING_MS}
    one = {"key": "one", "value": {"x": [1]}, "version": 1, **written}
    two = {"key": "two", "value": 22, "version": 2, **written}
    of_it = {"filter": {"session_id": s}}
    assert pages(fleet, pushes, "workspace", **of_it) == [[one, two]]
    assert pages(fleet, pushes, "workspace", limit=1, **of_it) == [[one], [two]]
    assert ask(fleet, pushes, "workspace", **of_it)["total"] == 2


def test_a_workspace_is_for_those_who_take_part(fleet: FleetUnderTest, pushes: Pushes) -> None:
    s = fleet.collaborate("b", "c")
    of_it = {"filter": {"session_id": s}}
    refused = ask(fleet, pushes, "workspace", **of_it)
    assert (refused["code"], refused["field"]) == ("not_a_participant", "payload.filter.session_id")
    fleet.enroll("a", role="operator")
    assert ask(fleet, pushes, "workspace", **of_it)["items"] == []
    gone = ask(fleet, pushes, "workspace", filter={"session_id": "nothing"})
    assert gone["code"] == "not_found"
