"""The page of all that is known, and the page of a problem."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import pytest
from redis import Redis
from starlette.testclient import TestClient

from coordinator.keys import RecordKey
from tests.dashboards import shown, words_of
from tests.fleet import FleetUnderTest, ManualClock, python

HOSTILE = "<script>alert('x')</script>/../\u202e?a=b#c"
EMPTY = "No pattern has been shared yet. Trainers share what they learn: coord up starts some."
PASSED = {"verdict": "passed", "problem": "buffer_cache", "cost_unit": "miss ratio"}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """Two AIs that make, and a validator that measures."""
    fleet = FleetUnderTest(redis, clock=ManualClock(), lease_s=3600)
    fleet.enroll("V", role="validator")
    fleet.join("AI_1", specialization="file_system")
    fleet.join("AI_2", specialization="audio")
    fleet.join("V")
    return fleet


def share_pattern(fleet: FleetUnderTest, ai: str, record_id: str, **own: Any) -> None:
    fleet.clock.advance(1)
    fleet.share_pattern(ai, record_id, **own)


def share_component(fleet: FleetUnderTest, ai: str, record_id: str, score: float | None) -> None:
    """Share it, and have it measured; it fails without a ``score``."""
    fleet.clock.advance(1)
    fleet.say(ai, "code_share", {"code": python(record_id)})
    fleet.run()
    verdict = {"reason": "it raised ValueError"} if score is None else {**PASSED, "score": score}
    fleet.judge("V", record_id, **verdict)


def rows_of(page: str) -> list[str]:
    """What stands in the rows of its table, without the moment of each."""
    body = re.search(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", body[1], re.DOTALL) if body else []
    return [re.sub(r" 20\d\d-.*", "", words_of(row)) for row in rows]


def test_an_empty_fleet_says_what_will_be_here(client: TestClient) -> None:
    page = client.get("/knowledge").text
    assert EMPTY in words_of(page)
    assert words_of(page).count("Nothing has passed a validation yet.") == 13
    assert rows_of(page) == []


def test_patterns_are_newest_first_and_what_they_say_of_themselves_is_a_claim(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    held_out = {"gap_closed": 0.5, "held_out": {"gap_closed": 0.25}}
    share_pattern(fleet, "AI_1", "p1", data=held_out)
    share_pattern(fleet, "AI_2", "p2", data={"gap_closed": 0.75}, derived_from="p1")
    share_pattern(fleet, "AI_2", "p3", data={"gap_closed": "<b>"})
    page = client.get("/knowledge").text
    assert rows_of(page) == [
        "p3 audio AI_2 0",
        "p2 audio AI_2 claims 75.0 % 0",
        "p1 file_system AI_1 claims 25.0 % 1",
    ]
    assert "Patterns (3) Components (0) Features (0)" in words_of(page)
    assert "measured score" not in page


def test_components_have_their_verdict_and_a_measured_score(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    share_component(fleet, "AI_1", "good", 0.5)
    share_component(fleet, "AI_1", "worse", -4.0)
    share_component(fleet, "AI_2", "broken", None)
    fleet.say("AI_2", "code_share", {"code": python("new")})
    fleet.run()
    page = client.get("/knowledge?kind=component").text
    assert rows_of(page) == [
        "new audio AI_2 waiting 0",
        "broken audio AI_2 failed 0",
        "worse file_system AI_1 passed \u2212400.0 % 0",
        "good file_system AI_1 passed 50.0 % 0",
    ]
    bars = re.findall(r'<rect class="(closed|lost)" x="([-.\d]+)" y="1" width="([.\d]+)"', page)
    assert bars == [("closed", "0", "50.0"), ("lost", "-20.0", "20.0"), ("closed", "0", "50.0")]
    assert "1 wait for a verdict." in words_of(page)


def test_each_problem_has_its_best(fleet: FleetUnderTest, client: TestClient) -> None:
    share_component(fleet, "AI_1", "good", 0.5)
    share_component(fleet, "AI_2", "better", 0.75)
    page = client.get("/knowledge").text
    assert shown(page, "problem-buffer_cache") == ("buffer_cache file_system 75.0 % better of AI_2")
    assert "Nothing has passed" in shown(page, "problem-cpu_scheduler")


def test_a_problem_says_what_it_is_and_ranks_what_passed(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    share_component(fleet, "AI_1", "good", 0.5)
    share_component(fleet, "AI_2", "better", 0.75)
    share_component(fleet, "AI_2", "gone", 1.0)
    fleet.say("AI_1", "os_component_share", {"component": python("feature")})
    fleet.run()
    fleet.judge("V", "feature", "feature", **PASSED, score=0.625)
    fleet.redis.delete(fleet.keys.record("component", "gone"))
    page = client.get("/knowledge/problem/buffer_cache").text
    assert rows_of(page) == [
        "1 better component audio AI_2 passed 75.0 % 0",
        "2 feature feature file_system AI_1 passed 62.5 % 0",
        "3 good component file_system AI_1 passed 50.0 % 0",
    ]
    assert "cost in miss ratio" in words_of(page)


def test_a_problem_that_nobody_solved_says_so(client: TestClient) -> None:
    page = client.get("/knowledge/problem/playout_delay").text
    assert "Nothing has passed a validation yet. What trainers of audio share" in words_of(page)


def test_what_is_no_problem_is_not_found(client: TestClient) -> None:
    answer = client.get("/knowledge/problem/x")
    assert answer.status_code == 404
    assert "'x' is no problem; there are buffer_cache, " in words_of(answer.text)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("search=ONE", ["alone", "one"]),
        ("specialization=audio", ["two", "alone"]),
        ("contributor=AI_1", ["one"]),
        ("contributor=AI_2&search=one&specialization=audio", ["alone"]),
        ("contributor=AI_1&specialization=audio", []),
        ("search=%25", []),
        ("search=&specialization=&contributor=", ["two", "alone", "one"]),
    ],
)
def test_a_filter_filters(
    fleet: FleetUnderTest, client: TestClient, query: str, ids: list[str]
) -> None:
    share_pattern(fleet, "AI_1", "one")
    share_pattern(fleet, "AI_2", "alone")
    share_pattern(fleet, "AI_2", "two")
    page = client.get(f"/knowledge?{query}").text
    assert [row.split()[0] for row in rows_of(page)] == ids
    assert ("No pattern fits." in words_of(page)) == (not ids)


def test_more_leads_on_and_keeps_the_filters(
    fleet: FleetUnderTest, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.knowledge.ROWS", 2)
    for n in range(3):
        share_pattern(fleet, "AI_1", f"p {n}/?")
    page = client.get("/knowledge?search=p&contributor=AI_1").text
    assert [row.split(" file_")[0] for row in rows_of(page)] == ["p 2/?", "p 1/?"]
    (more,) = re.findall(r'rel="next" href="([^"]*)"', page)
    assert "search=p&amp;specialization" not in more
    rest = client.get(more.replace("&amp;", "&")).text
    assert [row.split(" file_")[0] for row in rows_of(rest)] == ["p 0/?"]
    assert 'rel="next"' not in rest
    assert 'id="progress"' not in rest


@pytest.mark.parametrize(
    ("query", "status", "rule"),
    [
        ("kind=x", 400, "kind should be 'pattern', 'component' or 'feature'"),
        ("limit=1", 400, "is no parameter here"),
        ("contributor=a%20b", 400, "contributor is not an id"),
        ("cursor=gone", 400, "begin again without one"),
    ],
)
def test_what_breaks_a_rule_is_told(client: TestClient, query: str, status: int, rule: str) -> None:
    answer = client.get(f"/knowledge?{query}")
    assert answer.status_code == status
    assert rule in words_of(answer.text).lower()


def test_what_an_ai_wrote_is_text(fleet: FleetUnderTest, client: TestClient) -> None:
    share_pattern(fleet, "AI_1", HOSTILE, data={"gap_closed": 10**400})
    page = client.get("/knowledge").text
    assert rows_of(page)[0].startswith("<script>alert('x')</script>/../\\u202e?a=b#c file")
    assert "<script>alert" not in page
    (link,) = re.findall(r'href="(/knowledge/pattern/[^"]*)"', page)
    assert client.get(link).status_code == 200


@pytest.mark.parametrize("record_id", ["../up", "a/../b", "a/..", "./", "a//b", "a b?c#d&e;f"])
def test_a_link_leads_to_the_record_whatever_its_id(
    fleet: FleetUnderTest, client: TestClient, record_id: str
) -> None:
    share_pattern(fleet, "AI_1", record_id)
    (link,) = re.findall(r'href="(/knowledge/pattern/[^"]*)"', client.get("/knowledge").text)
    assert not {".", ".."} & set(link.split("/"))
    assert f"<h1>{escape(record_id)}</h1>" in client.get(link).text


def test_large_records_are_not_read_for_a_row(fleet: FleetUnderTest, client: TestClient) -> None:
    share_pattern(fleet, "AI_1", "large", data={"gap_closed": 0.5, "text": "x" * 100_000})
    assert rows_of(client.get("/knowledge").text) == ["large file_system AI_1 0"]


def test_what_strangers_spoiled_is_borne(fleet: FleetUnderTest, client: TestClient) -> None:
    share_pattern(fleet, "AI_1", "whole")
    key = RecordKey("pattern", "odd")
    stored: Any = {"contributor": "<b>", "timestamp": "never", "record": "[1]"}
    fleet.redis.hset(fleet.keys.record(*key), mapping=stored)
    fleet.redis.set(fleet.keys.record("pattern", "string"), "x")
    names: Any = {"odd": 2e12, "string": 2e12, "missing": 2e12, b"\xff": 2e12}
    fleet.redis.zadd(fleet.keys.records("pattern"), names)
    assert rows_of(client.get("/knowledge").text) == ["odd <b> 0", "whole file_system AI_1 0"]
