"""The page Fleet: who is there, and how they do."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from tests.dashboards import bearer, client_of, shown, token_of
from tests.fleet import FleetUnderTest, ManualClock

SILENT_S = 8
"""More than half of a lease."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def ais_on(page: str) -> list[str]:
    """Whom the table lists."""
    return re.findall(r'<tr id="ai-([^"]+)">', page)


def test_an_empty_fleet_says_how_to_fill_it(client: TestClient) -> None:
    answer = client.get("/fleet")
    assert answer.status_code == 200
    assert shown(answer.text, "live") == "0 AIs are there"
    assert "coord up --trainers 3" in answer.text
    assert "Who joins and who leaves is seen here at once" in answer.text


def test_each_ai_is_told_with_how_it_does(
    fleet: FleetUnderTest, clock: ManualClock, client: TestClient
) -> None:
    fleet.join("AI_1", specialization="audio")
    fleet.say("AI_1", "heartbeat", {"load": 0.25, "status": "training"})
    fleet.run()
    work = {"units_completed": 1, "units_failed": 1200, "collaborations_completed": 2}
    fleet.redis.hset(fleet.keys.member("AI_1"), mapping=work | {"contribution_score": 3.456})  # type: ignore[arg-type]
    clock.advance(5)
    row = shown(client.get("/fleet").text, "ai-AI_1")
    done = "1 unit, 1,200 failed, 2 collaborations"
    assert row == f"AI_1 audio training new 0.25 5.0 s ago 3.46 {done}"


def test_what_is_to_be_noticed_is_said_in_words(
    fleet: FleetUnderTest, clock: ManualClock, client: TestClient
) -> None:
    fleet.join("AI_1", "AI_2", "AI_3")
    fleet.order("drain", ai="AI_2")
    for _ in range(8):
        clock.advance(SILENT_S)
        fleet.say("AI_2", "heartbeat")
        fleet.say("AI_3", "heartbeat")
        fleet.say("AI_1", "heartbeat")
        fleet.run()
    clock.advance(SILENT_S)
    fleet.say("AI_3", "heartbeat")
    fleet.run()
    fleet.join("AI_4")
    page = client.get("/fleet").text
    marks = [re.findall("silent|draining|new", shown(page, f"ai-AI_{n}")) for n in (1, 2, 3, 4)]
    assert marks == [["silent"], ["draining", "silent"], [], ["new"]]


def test_the_numbers_on_top(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.join("AI_1", "AI_2", specialization="audio")
    fleet.join("AI_3", specialization="own")
    fleet.say("AI_1", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    fleet.ask("AI_1", participants=2)
    page = client.get("/fleet").text
    numbers = [shown(page, name) for name in ("live", "records", "open-sessions")]
    assert numbers == ["3 AIs are there", "1 record is kept", "1 session is open"]
    assert shown(page, "specialization-audio") == "audio 2"
    assert shown(page, "specialization-own") == "own 1"
    assert "specialization-graphics" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["AI_1", "AI_10", "Other"]),
        ("?search=ai_1", ["AI_1", "AI_10"]),
        ("?search=ai_1&specialization=own&capability=", ["AI_10"]),
        ("?capability=audio_processing", ["AI_1", "Other"]),
        ("?search=%25", []),
        ("?cursor=AI_1", ["AI_10", "Other"]),
    ],
)
def test_filters_and_pages(
    fleet: FleetUnderTest, client: TestClient, query: str, found: list[str]
) -> None:
    fleet.join("AI_1", "Other", specialization="audio")
    fleet.join("AI_10", specialization="own")
    assert ais_on(client.get(f"/fleet{query}").text) == found


def test_the_next_page_keeps_the_filters(
    fleet: FleetUnderTest, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.fleet.ROWS", 1)
    fleet.join("AI_1", "AI_2", "Other", specialization="audio")
    page = client.get("/fleet?search=AI&specialization=audio").text
    assert "1 of 2, by name" in page
    (link,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert link == "/fleet?cursor=AI_1&amp;specialization=audio&amp;search=AI"


def test_when_nothing_passes_the_filters_that_is_said(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.join("AI_1")
    assert "No AI that is there passes the filters" in client.get("/fleet?search=x").text


def test_a_filter_that_cannot_be_is_refused(client: TestClient) -> None:
    answer = client.get("/fleet?search=" + "x" * 65)
    assert (answer.status_code, "search" in answer.text) == (400, True)


def test_an_observer_sees_who_is_there(fleet: FleetUnderTest) -> None:
    fleet.join("AI_1")
    client = client_of(fleet, asks_token=True)
    token = token_of(fleet, "Olga", "observer")
    page = client.get("/fleet", headers=bearer(token)).text
    assert ais_on(page) == ["AI_1"]


def test_keys_that_strangers_spoiled_stop_no_page(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.join("AI_1", "AI_2", specialization="audio")
    for key in (fleet.keys.member("AI_1"), fleet.keys.specialization("audio"), fleet.keys.totals):
        fleet.redis.set(key, "spoiled")
    fleet.redis.hset(fleet.keys.ai("AI_2"), mapping={"load": 1e308, "status": "<i>" * 21})
    page = client.get("/fleet").text
    assert ais_on(page) == ["AI_1", "AI_2"]
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "1e+308" in page
