"""The pages of what the fleet does together: sessions, and queues."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rq import Queue, Worker
from starlette.testclient import TestClient

from coordinator.jobs import job_id
from tests.dashboards import shown
from tests.fleet import FleetUnderTest

KINDS = ["propose_design", "implement_design", "measure_component", "develop_feature"]


@pytest.fixture
def busy(fleet: FleetUnderTest) -> FleetUnderTest:
    for ai in ("AI_1", "AI_2", "AI_3"):
        fleet.join(ai, specialization="audio", skills=KINDS)
    return fleet


def page(client: TestClient, **query: Any) -> str:
    answer = client.get("/collaborations", params=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def listed(text: str) -> list[str]:
    """The ids of the sessions on a page, in their order."""
    return re.findall(r'<tr id="\w+-session-([^"]*)"', text)


def test_an_empty_fleet_says_what_will_be_seen_here(client: TestClient) -> None:
    text = page(client)
    for told in ("coord collaborate", "coord request-feature", "once they have ended"):
        assert told in text
    assert listed(text) == []


def test_open_ones_feature_requests_and_ended_ones_have_lists_of_their_own(
    busy: FleetUnderTest, client: TestClient
) -> None:
    ended = busy.collaborate("AI_1", "AI_2")
    busy.order("cancel", session_id=ended, reason="no longer wanted")
    opened = busy.collaborate("AI_1", "AI_2")
    feature = busy.request_feature("AI_3", "audio_mixer")
    (busy_with,) = busy.session(feature)["participants"]
    busy.say(
        busy_with, "feature_response", {"request_id": feature, "accept": False, "reason": "no"}
    )
    busy.run()
    text = page(client)
    assert re.match(rf"Session .* {opened} feature_development active AI_1", shown(text, "open"))
    assert re.search(r"audio_mixer .* AI_3 active .*: no", shown(text, "features"))
    assert re.search(rf"{ended} .* cancelled .* no longer wanted", shown(text, "ended"))


def test_filters_filter(busy: FleetUnderTest, client: TestClient) -> None:
    one, two = busy.collaborate("AI_1", "AI_2"), busy.collaborate("AI_2", "AI_3")
    feature = busy.request_feature("AI_1", "audio_mixer")
    busy.order("cancel", session_id=two)
    found = {
        name: listed(page(client, **query))
        for name, query in {
            "state": {"state": "cancelled"},
            "an open state": {"state": "active", "type": "feature_development"},
            "type": {"type": "feature_request"},
            "ai": {"ai": "AI_3"},
            "nobody": {"ai": "AI_9"},
            "empty fields": {"ai": "", "state": "", "type": "feature_development"},
        }.items()
    }
    assigned = [feature] if "AI_3" in busy.session(feature)["participants"] else []
    assert found == {
        "state": [two],
        "an open state": [one],
        "type": [feature],
        "ai": [*assigned, two],
        "nobody": [],
        "empty fields": [one, two],
    }


def test_those_in_a_state_are_found_behind_many_in_others(
    busy: FleetUnderTest, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.collaborations.ENDED_LOOKED_AT", 1)
    monkeypatch.setattr("coordinator.session_reads.READ_AT_ONCE", 1)
    one, *_ = [busy.collaborate("AI_1", "AI_2") for _ in range(3)]
    busy.order("cancel", session_id=one)
    assert listed(page(client, state="cancelled")) == [one]
    assert listed(page(client, state="completed")) == []
    assert "there are more" not in page(client, state="completed")


def test_many_are_shown_in_pages(
    busy: FleetUnderTest, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.collaborations.ROWS", 2)
    ended = []
    for _ in range(5):
        ended.append(busy.collaborate("AI_1", "AI_2"))
        busy.order("cancel", session_id=ended[-1])
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(3):
        text = page(client, **query)
        seen += listed(text)
        more = re.search(r'rel="next" href="/collaborations\?cursor=([^"]*)"', text)
        query = {"cursor": more[1]} if more else {}
    assert sorted(seen) == sorted(ended)
    assert query == {}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"state": "odd"}, "state"),
        ({"ai": "no such name"}, "ai"),
        ({"cursor": "gone"}, "begin again without one"),
        ({"odd": "1"}, "is no parameter here"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    client: TestClient, query: dict[str, str], told: str
) -> None:
    answer = client.get("/collaborations", params=query)
    assert answer.status_code == 400
    assert told in answer.text


def test_the_numbers_are_those_that_the_coordinator_tells(
    busy: FleetUnderTest, client: TestClient
) -> None:
    sessions = '{"feature_development": {"active": 7, "pending": 2}, "feature_request": {"x": 1}}'
    units = '{"running": 1234, "queued": 5, "waiting": "many"}'
    busy.redis.hset(busy.keys.metrics, mapping={"sessions": sessions, "units": units})
    text = page(client)
    assert shown(text, "active") == "7 collaborations are under way, 2 look for partners"
    assert shown(text, "running-units") == "1,234 units run, 5 are queued"
    assert shown(text, "waiting-units").startswith("0 units")


def test_what_strangers_spoiled_spoils_no_page(busy: FleetUnderTest, client: TestClient) -> None:
    whole = busy.collaborate("AI_1", "AI_2")
    for n, stored in enumerate(("", "[]", '{"id": 1}', "[" * 5000)):
        busy.redis.hset(busy.keys.session(f"bad{n}"), "session", stored)
        busy.redis.zadd(busy.keys.sessions, {f"bad{n}": n})
    busy.redis.set(busy.keys.session("no-hash"), "x")
    busy.redis.zadd(busy.keys.sessions, {b"no-hash": 9, b"\xff": 10})
    busy.redis.set(busy.keys.metrics, "x")
    busy.redis.sadd("rq:queues", b"\xff", "coord.ai.x")
    busy.redis.hset("rq:worker:coord.ai.x", mapping={"queues": "coord.ai.x", "last_heartbeat": "?"})
    busy.redis.sadd("rq:workers", "rq:worker:coord.ai.x")
    busy.redis.set("rq:queue:coord.ai.x", "x")
    assert listed(page(client)) == [whole]
    assert client.get("/collaborations/queues").status_code == 200


def test_what_ais_wrote_is_text(busy: FleetUnderTest, client: TestClient) -> None:
    evil = '"><script>alert(1)</script>'
    feature = busy.request_feature("AI_1", evil)
    session_id = busy.collaborate("AI_1", "AI_2", description=evil, requirements={evil: [evil]})
    busy.order("cancel", session_id=session_id, reason=evil)
    for path in ("", f"/{feature}", f"/{session_id}"):
        text = client.get(f"/collaborations{path}").text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text


def test_queues_the_busiest_first(busy: FleetUnderTest, client: TestClient) -> None:
    session_id = busy.collaborate("AI_1", "AI_2")
    (unit_id,) = [one for one in busy.session(session_id)["units"] if busy.unit(one)["attempts"]]
    ai = busy.unit(unit_id)["attempts"][-1]["ai"]
    busy.redis.sadd("rq:queues", "rq:queue:coord.ai.AI_0", "rq:queue:mail")
    worker = Worker([Queue(busy.keys.queue(ai), connection=busy.redis)], busy.keys.queue(ai))
    worker.register_birth()
    busy.redis.hset(worker.key, mapping={"state": "busy", "current_job": job_id(ai, unit_id, 1)})
    text = client.get("/collaborations/queues").text
    queues = shown(text, "queues")
    assert queues.index(f"coord.ai.{ai} 1 0 0") < queues.index("coord.ai.AI_0 0 0 0")
    assert "mail" not in queues
    assert re.search(rf"{ai} .* busy {unit_id}", shown(text, "workers"))
    assert f'href="/collaborations/{session_id}/units/{unit_id}"' in text
    assert "coord.ai.AI_0" not in client.get(f"/collaborations/queues?search={ai.lower()}").text
