"""The pages of one session: its units on a timeline, its workspace, and a unit."""

from __future__ import annotations

import json
import re

import pytest
from starlette.testclient import TestClient

from tests.dashboards import client_of, shown, sign_in, token_of, words_of
from tests.fleet import FleetUnderTest

PLAN = [
    {"name": "design", "kind": "draw"},
    {"name": "build", "kind": "draw", "needs": ["design"]},
]


@pytest.fixture
def session_id(fleet: FleetUnderTest) -> str:
    """A session of two units, of which the first has failed once."""
    fleet.join("AI_1", "AI_2", skills=["draw"])
    session_id = fleet.collaborate("AI_1", "AI_2", plan=PLAN, description="An arch")
    fleet.report(f"{session_id}-1", "failed", reason="the pencil broke")
    return session_id


def page(client: TestClient, session_id: str, more: str = "") -> str:
    answer = client.get(f"/collaborations/{session_id}{more}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_who_ran_what_when(client: TestClient, fleet: FleetUnderTest, session_id: str) -> None:
    text = page(client, session_id)
    first, second = (attempt["ai"] for attempt in fleet.unit(f"{session_id}-1")["attempts"])
    assert f"Session {session_id}, asked for by AI_1 at" in words_of(text)
    told = re.findall(r'aria-label="(attempt[^"]*)"', text)
    assert len(told) == 1
    assert re.fullmatch(
        rf"attempt 1 by {first}: failed, \S+ s: the pencil broke;"
        rf" attempt 2 by {second}: queued, \S+ s",
        told[0],
    )
    assert shown(text, f"row-{session_id}-2") == "build waits for design"
    assert re.search(
        rf"design draw queued .* {first} failed .* the pencil broke {second} queued",
        shown(text, "units"),
    )
    assert re.search(rf"{first} .*0 1 0", shown(text, "parts"))


def test_one_that_ended_says_why_and_what_came_of_it(
    client: TestClient, fleet: FleetUnderTest, session_id: str
) -> None:
    summary = {"text": "an arch of 3 m", "metres": 3}
    fleet.report(f"{session_id}-1", output={"lines": [1, 2]})
    fleet.report(f"{session_id}-2", output={"summary": summary, "component": {"id": "arch"}})
    text = page(client, session_id)
    assert shown(text, "outcome") == "an arch of 3 m"
    assert '"metres": 3' in shown(text, "result")
    assert 'href="/knowledge/feature/arch"' in text
    assert "to cancel it" not in text
    assert "tried again" not in text
    other = fleet.collaborate("AI_1", "AI_2", plan=PLAN)
    fleet.order("cancel", session_id=other, reason="enough arches")
    assert shown(page(client, other), "reason") == "operator cancelled it: enough arches"


def test_a_unit_has_a_page_of_its_own(
    client: TestClient, fleet: FleetUnderTest, session_id: str
) -> None:
    fleet.report(f"{session_id}-1", output={"lines": ["<b>", 2]})
    text = page(client, session_id, f"/units/{session_id}-1")
    assert "the pencil broke" in text
    assert "&#34;lines&#34;: [&#34;&lt;b&gt;&#34;, 2]" in text
    assert f'href="/collaborations/{session_id}/units/{session_id}-2"' in text


def test_many_units_are_shown_in_pages(client: TestClient, fleet: FleetUnderTest) -> None:
    fleet.join("AI_1", "AI_2", skills=["draw"])
    plan = [{"name": f"line-{n}", "kind": "draw"} for n in range(120)]
    session_id = fleet.collaborate("AI_1", "AI_2", plan=plan)
    seen, more = [], ""
    for _ in range(3):
        text = page(client, session_id, more)
        seen += re.findall(r'<tr id="unit-([^"]*)"', text)
        found = re.search(r'rel="next" href="[^"?]*(\?cursor=[^"]*)"', text)
        more = found[1] if found else ""
    assert seen == [f"{session_id}-{n}" for n in range(1, 121)]
    assert more == ""


@pytest.mark.parametrize("more", ["", "/units/none-1", "/workspace"])
def test_one_that_is_gone_is_said_to_be_gone(client: TestClient, more: str) -> None:
    answer = client.get(f"/collaborations/none{more}")
    assert answer.status_code == 404
    assert "No session 'none' is kept" in words_of(answer.text)


def test_a_unit_of_another_session_is_not_found(client: TestClient, session_id: str) -> None:
    answer = client.get(f"/collaborations/{session_id}/units/other-1")
    assert answer.status_code == 404
    assert "has no unit" in answer.text


def test_the_workspace(client: TestClient, fleet: FleetUnderTest, session_id: str) -> None:
    values = {f"key-{n:02}": {"n": n, "evil": "<script>"} for n in range(12)}
    fleet.report(f"{session_id}-1", workspace=values)
    first = page(client, session_id, "/workspace")
    rest = page(client, session_id, "/workspace?cursor=key-09")
    keys = re.findall(r'<section id="key-([^"]*)"', first + rest)
    assert keys == sorted(values)
    assert "<script>" not in re.sub(r"<script (src|type)", "", first)
    assert re.search(r"Version 1, written by .*AI_", first)


def test_the_workspace_is_for_operators(fleet: FleetUnderTest, session_id: str) -> None:
    found = {}
    for role in ("observer", "operator"):
        client = client_of(fleet, asks_token=True)
        sign_in(client, token_of(fleet, f"an_{role}", role))
        path = f"/collaborations/{session_id}"
        found[role] = (
            client.get(f"{path}/workspace").status_code,
            "/workspace" in client.get(path).text,
        )
    assert found == {"observer": (403, False), "operator": (200, True)}


def test_who_may_act_is_led_to_where_one_acts(
    fleet: FleetUnderTest, operator: str, session_id: str
) -> None:
    client = client_of(fleet)
    path = f"/collaborations/{session_id}"
    assert "Sign in</a> as an operator to cancel it" in page(client, session_id)
    sign_in(client, operator)
    there = path.replace("/", "%2F")
    assert f'href="/actions/cancel?session_id={session_id}&amp;to={there}"' in page(
        client, session_id
    )
    for _ in range(2):
        fleet.report(f"{session_id}-1", "failed", reason="again")
    text = page(client, session_id)
    assert f'href="/actions/retry?unit_id={session_id}-1&amp;to={there}"' in text
    assert "/actions/cancel" not in text


def test_units_that_strangers_spoiled_are_left_out(
    client: TestClient, fleet: FleetUnderTest, session_id: str
) -> None:
    odd = fleet.unit(f"{session_id}-1") | {"needs": ["<i>", "x" * 5000], "name": "<i>" * 5000}
    odd["attempts"] = [{"ai": "<i>", "began_ms": n, "outcome": "<i> odd"} for n in range(3000)]
    fleet.redis.hset(fleet.keys.unit(f"{session_id}-1"), "unit", json.dumps(odd))
    fleet.redis.hset(fleet.keys.unit(f"{session_id}-2"), "unit", "[]")
    text = page(client, session_id)
    assert re.findall(r'<tr id="unit-([^"]*)"', text) == [f"{session_id}-1"]
    assert "<i>" not in text
    assert len(text) < 100_000
    assert "<i>" not in page(client, session_id, f"/units/{session_id}-1")
