"""The page of one AI."""

from __future__ import annotations

import re

import pytest
from redis import Redis
from starlette.testclient import TestClient

from tests.dashboards import bearer, client_of, sign_in, token_of, words_of
from tests.fleet import FleetUnderTest, ManualClock, python


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fleet(redis: Redis, clock: ManualClock) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, clock=clock)
    fleet.join("AI_1", "AI_2", specialization="audio")
    return fleet


def actions_on(page: str) -> list[str]:
    return re.findall(r'href="/actions/(\w+)\?ai=AI_1&amp;to=%2Ffleet%2FAI_1"', page)


def test_what_it_is(fleet: FleetUnderTest, clock: ManualClock, client: TestClient) -> None:
    fleet.say("AI_1", "heartbeat", {"load": 0.5, "status": "training"})
    fleet.run()
    clock.advance(2)
    page = client.get("/fleet/AI_1").text
    words = words_of(page)
    assert "<title>AI_1 · coord</title>" in page
    assert "AI_1 new" in words
    assert "audio, there since 2025-06-15 15:06:40 UTC" in words
    assert "Status training Load 0.50 Heard of 2.0 s ago Capabilities pattern_recognition" in words
    assert "Instance AI_1.1 Comes by Redis" in words
    assert "Contribution 0.00 In sessions nothing yet" in words
    for where in ("/graph?ai=AI_1", "/fleet?capability=audio_processing"):
        assert f'href="{where}"' in page


def test_what_it_shared_is_listed_newest_first(
    fleet: FleetUnderTest, clock: ManualClock, client: TestClient
) -> None:
    for n in range(7):
        clock.advance(1)
        fleet.say("AI_1", "pattern_share", {"pattern": {"id": f"p{n}"}})
        fleet.run()
    fleet.say("AI_1", "code_share", {"code": python("c/1")})
    fleet.say("AI_2", "pattern_share", {"pattern": {"id": "of_another"}})
    fleet.run()
    page = client.get("/fleet/AI_1").text
    assert re.findall(r'<li id="pattern-(\w+)">', page) == ["p6", "p5", "p4", "p3", "p2"]
    assert 'href="/knowledge?kind=pattern&amp;contributor=AI_1">All 7 patterns' in page
    assert 'href="/knowledge/component/c/1"' in page
    assert "waiting" in page
    assert "It has shared no feature that is kept" in page


def test_its_sessions(fleet: FleetUnderTest, client: TestClient) -> None:
    session_id = fleet.collaborate("AI_1", "AI_2")
    fleet.ask("AI_2", participants=2)
    page = client.get("/fleet/AI_1").text
    assert re.findall(r'<tr id="session-(\w+)">', page) == [session_id]
    assert f'href="/collaborations/{session_id}"' in page


def test_one_without_a_session_says_so(client: TestClient) -> None:
    assert "It takes part in no session that is kept" in client.get("/fleet/AI_2").text


def test_one_that_is_away_is_told_as_it_was(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.say("AI_1", "goodbye")
    fleet.run()
    answer = client.get("/fleet/AI_1")
    words = words_of(answer.text)
    assert answer.status_code == 200
    assert "AI_1 away" in words
    assert "It is not there now. What is shown is of 2025-06-15 15:06:40 UTC" in words
    assert "Heard of" not in words


@pytest.mark.parametrize(
    ("ai", "why"),
    [("AI_9", "no ai 'ai_9' is there"), ("a b", "ai_id"), ("x" * 200, "ai_id")],
)
def test_one_that_never_was_is_not_found(client: TestClient, ai: str, why: str) -> None:
    answer = client.get(f"/fleet/{ai}")
    assert answer.status_code == 404
    assert why in words_of(answer.text).lower()


def test_who_may_act_is_shown_how(fleet: FleetUnderTest, client: TestClient) -> None:
    assert actions_on(client.get("/fleet/AI_1").text) == []
    sign_in(client, token_of(fleet, "Alice", "operator"))
    assert actions_on(client.get("/fleet/AI_1").text) == ["drain", "kick", "revoke"]
    fleet.say("AI_1", "goodbye")
    fleet.run()
    assert actions_on(client.get("/fleet/AI_1").text) == ["revoke"]


def test_what_it_said_is_for_operators(fleet: FleetUnderTest) -> None:
    client = client_of(fleet, asks_token=True)
    token = token_of(fleet, "Olga", "observer")
    page = client.get("/fleet/AI_1", headers=bearer(token)).text
    assert "What it said and was told is for operators" in page


@pytest.mark.parametrize(
    ("field", "value"), [("profile", "[" * 9999), ("contribution_score", "nan"), ("draining", "")]
)
def test_what_strangers_spoiled_of_a_member_is_borne(
    fleet: FleetUnderTest, client: TestClient, field: str, value: str
) -> None:
    fleet.redis.hset(fleet.keys.member("AI_1"), field, value)
    assert client.get("/fleet/AI_1").status_code == 200
