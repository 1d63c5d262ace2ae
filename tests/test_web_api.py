"""The HTTP API: what its endpoints answer, read by a client in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis
from starlette.testclient import TestClient

from coordinator.session_reads import read_session_ids
from tests.fleet import FleetUnderTest, python
from web import schemas
from web.app import make_app
from web.docs_page import example_of
from web.endpoints import ENDPOINTS, ROOT, Endpoint
from web.openapi import plain_path
from web.parameters import PageQuery
from web.settings import WebSettings
from workers.ranking import EVERY_PROBLEM

PROBLEM = EVERY_PROBLEM[0].name


@pytest.fixture(params=["valkey"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """Reads alone: one server is enough, and fakeredis says nothing of itself."""
    return str(request.param)


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """A fleet in which there is something of everything."""
    fleet = FleetUnderTest(redis)
    fleet.join("AI_1", specialization="file_system", capabilities=["caching"])
    fleet.join("AI_2", specialization="security", skills=["echo"])
    fleet.enroll("Validator_1", role="validator")
    fleet.join("Validator_1")
    fleet.say("AI_1", "pattern_share", {"pattern": {"id": "a/pattern", "confidence": 0.5}})
    fleet.say("AI_1", "code_share", {"code": python("component-1", specialization="file_system")})
    derived = {"id": "pattern-2", "derived_from": "a/pattern"}
    fleet.say("AI_2", "pattern_share", {"pattern": derived})
    performance = {"component_id": "component-1", "performance": {"hits": 0.75}}
    fleet.say("AI_2", "performance_report", performance)
    fleet.run()
    fleet.judge("Validator_1", "component-1", verdict="passed", score=0.5, problem=PROBLEM)
    plan = [{"name": "echo", "kind": "echo", "participant": 1}]
    session_id = fleet.collaborate("AI_1", "AI_2", plan=plan)
    update = {"session_id": session_id, "key": "notes", "value": {"x": 1}}
    fleet.say("AI_1", "workspace_update", update)
    fleet.run()
    request_id = fleet.request_feature("AI_1", "undo")
    feature = {"component": {"id": "feature-1", "name": "undo"}, "original_requestor": "AI_1"}
    fleet.say("AI_2", "os_component_share", feature | {"feature_name": "undo"})
    fleet.run()
    assert request_id
    fleet.bury(body='{"message_type": "hello"}')
    place = {"log": 1, "events": 2, "epoch": "e", "ms": 3}
    redis.hset(fleet.keys.archives, "archive-1", json.dumps(place))
    return fleet


@pytest.fixture
def client(fleet: FleetUnderTest) -> Iterator[TestClient]:
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    with TestClient(app, "http://localhost:8600") as client:
        yield client


def get(client: TestClient, path: str, status: int = 200) -> Any:
    response = client.get(ROOT + path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def refusal(client: TestClient, path: str, status: int) -> tuple[str, str, str]:
    error = get(client, path, status)["error"]
    assert set(error) == {"code", "detail", "field"}
    return error["code"], error["detail"], error["field"]


def session_of(fleet: FleetUnderTest, state: str) -> str:
    ids = read_session_ids(fleet.redis, fleet.keys)
    (found,) = [one for one in ids if fleet.session(one)["state"] == state]
    return found


LISTS = [one for one in ENDPOINTS if one.is_list]
PAGED = [one for one in LISTS if issubclass(one.query, PageQuery)]


def example(endpoint: Endpoint, fleet: FleetUnderTest) -> str:
    """A path of ``endpoint`` that leads to something in ``fleet``."""
    ids = {"ai_id": "AI_1", "name": PROBLEM, "session_id": session_of(fleet, "active")}
    kind = endpoint.path.split("/")[1].removesuffix("s")
    ids["id"] = {"component": "component-1", "feature": "feature-1"}.get(kind, "a/pattern")
    path = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], plain_path(endpoint.path))
    return path + ("?component_id=component-1" if endpoint.name == "benchmarks" else "")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.name)
def test_what_is_told_is_what_the_document_says(
    client: TestClient, fleet: FleetUnderTest, endpoint: Endpoint
) -> None:
    answer = get(client, example(endpoint, fleet))
    items = answer["items"] if endpoint.is_list else [answer]
    assert items
    for item in items:
        endpoint.schema.model_validate(item)
    shown = {name for item in items for name in item}
    assert endpoint.schema is schemas.HistoryLine or shown >= {
        name for name, field in endpoint.schema.model_fields.items() if field.is_required()
    }


@pytest.mark.parametrize("endpoint", PAGED, ids=lambda one: one.name)
def test_pages_of_one_make_the_whole(
    client: TestClient, fleet: FleetUnderTest, endpoint: Endpoint
) -> None:
    path = example(endpoint, fleet)
    whole = get(client, path)
    assert whole["cursor"] is None
    items, cursor = [], ""
    while cursor is not None:
        given = f"?limit=1&cursor={cursor}" if cursor else "?limit=1"
        page = get(client, path + given)
        assert len(page["items"]) <= 1
        assert page["total"] == whole["total"] or endpoint.name == "audit"
        items += page["items"]
        cursor = page["cursor"]
    assert items == whole["items"]


def test_status_has_no_more_ais_than_asked_for(client: TestClient) -> None:
    found = get(client, "/status?limit=1")
    assert found["connected_ais"] == 3
    assert (found["ai_list"], [ai["ai_id"] for ai in found["ais"]]) == (["AI_1"], ["AI_1"])
    assert found["coordinator"]["active"] == "coordinator-1"


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/ais?specialization=security", ["AI_2"]),
        ("/ais?capability=caching", ["AI_1"]),
        ("/ais?specialization=none", []),
        ("/components?specialization=file_system", ["component-1"]),
        ("/components?specialization=audio", []),
        ("/patterns?contributor=AI_2", ["pattern-2"]),
        ("/components?contributor=AI_2", []),
        ("/features?contributor=AI_2&specialization=security", ["feature-1"]),
        ("/patterns?search=PATTERN", ["pattern-2", "a/pattern"]),
        ("/patterns?search=pattern&contributor=AI_1", ["a/pattern"]),
        ("/patterns?search=*", []),
        ("/sessions?type=feature_request", ["undo"]),
        ("/sessions?ai=Validator_1", []),
        ("/audit?kind=enrolled", ["Validator_1"]),
        ("/audit?ai=AI_9", []),
        ("/members", ["Validator_1"]),
    ],
)
def test_filters_find_what_fits(client: TestClient, path: str, ids: list[str]) -> None:
    items = get(client, path)["items"]
    shown = [
        item.get("ai_id", item.get("ai", item.get("id")))
        if "requirements" not in item
        else item["requirements"].get("feature", item["requirements"])
        for item in items
    ]
    assert [one["feature"] if isinstance(one, dict) else one for one in shown] == ids


@pytest.mark.parametrize(
    ("path", "total"),
    [
        ("/patterns?contributor=AI_2", 1),
        ("/patterns?search=a", None),
        ("/patterns?contributor=AI_2&specialization=security", None),
    ],
)
def test_records_are_counted_where_an_index_does(
    client: TestClient, path: str, total: int | None
) -> None:
    assert get(client, path)["total"] == total


def test_an_ai_is_told_with_its_work(client: TestClient) -> None:
    found = get(client, "/ais/AI_1")
    assert found["contribution_score"] == 0.5
    assert (found["specialization"], found["units_completed"]) == ("file_system", 0)


def test_the_best_of_a_problem(client: TestClient) -> None:
    (best,) = get(client, f"/problems/{PROBLEM}/best")["items"]
    assert (best["kind"], best["id"], best["quality_score"]) == ("component", "component-1", 0.5)
    problems = get(client, "/problems")["items"]
    assert [one["name"] for one in problems] == [problem.name for problem in EVERY_PROBLEM]
    assert problems[0]["best"]["contributor"] == "AI_1"


def test_lineage_leads_to_what_came_of_it(client: TestClient) -> None:
    found = get(client, "/lineage/a/pattern?depth=1")
    assert found["edges"] == [
        {"parent": "pattern:a/pattern", "child": "pattern:pattern-2", "is_use": True}
    ]


def test_history_names_what_is_missing_and_goes_on(
    client: TestClient, fleet: FleetUnderTest
) -> None:
    fleet.redis.xtrim(fleet.keys.log, maxlen=1, approximate=False)
    lines = get(client, "/history")
    gaps = [line for line in lines["items"] if line["kind"] == "gap"]
    assert [(gap["source"], gap["first"]) for gap in gaps] == [("log", 1)]
    assert get(client, f"/history?cursor={lines['resume']}")["items"] == []
    fleet.say("AI_1", "pattern_share", {"pattern": {"id": "pattern-3"}})
    fleet.run()
    (more,) = [
        line
        for line in get(client, f"/history?cursor={lines['resume']}")["items"]
        if line["kind"] == "message"
    ]
    assert more["payload"]["pattern"]["id"] == "pattern-3"


def test_history_begins_where_it_is_told(client: TestClient, fleet: FleetUnderTest) -> None:
    last = get(client, "/status")["coordinator"]["log"]
    items = get(client, f"/history?from={last}")["items"]
    assert [line["n"] for line in items if line["source"] == "log"] == [last]


@pytest.mark.parametrize(
    ("path", "status", "code", "field", "said"),
    [
        *(
            (f"/ais?limit={n}", 400, "bad_request", "limit", "a whole number from 1 to 1000")
            for n in ("0", "1001", "x", "", "1_0", "5.0", "%2B5", "-1", "9" * 5000)
        ),
        ("/ais?limit=1&limit=2", 400, "bad_request", "limit", "more than once"),
        ("/ais?colour=red", 400, "bad_request", "colour", "known are limit, cursor, special"),
        ("/counts?a=1", 400, "bad_request", "a", "takes none"),
        ("/ais/AI_1?ai_id=AI_2", 400, "bad_request", "ai_id", "takes none"),
        ("/ais?specialization=%20x", 400, "bad_request", "specialization", "is not a word"),
        ("/benchmarks", 400, "bad_request", "component_id", "required"),
        ("/patterns?contributor=a%20b", 400, "bad_request", "contributor", "is not an id"),
        ("/patterns?search=", 400, "bad_request", "search", "at least 1 character"),
        (f"/patterns?search={'x' * 129}", 400, "bad_request", "search", "at most 128 characters"),
        ("/sessions?state=asleep", 400, "bad_request", "state", "'pending', 'active'"),
        ("/patterns?cursor=gone", 400, "bad_cursor", "cursor", "begin again without"),
        ("/sessions?cursor=gone", 400, "bad_cursor", "cursor", "begin again without"),
        *(
            (f"/audit?cursor={cursor}", 400, "bad_cursor", "cursor", "begin again without")
            for cursor in ("x", "0", "00", "", "%00", "9" * 300)
        ),
        ("/dead?cursor=x", 400, "bad_cursor", "cursor", "begin again without"),
        ("/history?cursor=x", 400, "bad_cursor", "cursor", "begin again without"),
        ("/history?from=0", 400, "bad_request", "from", "a whole number from 1 on"),
        ("/ais/AI_9", 404, "not_found", "ai_id", "no AI 'AI_9'"),
        ("/ais/%20", 404, "not_found", "ai_id", "is not an id"),
        ("/components/none", 404, "not_found", "id", "no component 'none'"),
        ("/lineage/none", 404, "not_found", "id", "no pattern, component or feature"),
        ("/sessions/none", 404, "not_found", "session_id", "no session 'none'"),
        ("/sessions/none/units", 404, "not_found", "session_id", "no session 'none'"),
        ("/sessions/none/workspace", 404, "not_found", "session_id", "no session 'none'"),
        ("/problems/none/best", 404, "not_found", "name", PROBLEM),
        ("/none", 404, "not_found", "", "/api/v1/openapi.json"),
        ("/ais/", 404, "not_found", "", "/api/v1/openapi.json"),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, path: str, status: int, code: str, field: str, said: str
) -> None:
    found, detail, at = refusal(client, path, status)
    assert (found, at) == (code, field)
    assert said in detail


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(client: TestClient, method: str) -> None:
    response = client.request(method, f"{ROOT}/ais")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "bad_method")
    assert response.headers["allow"] == "GET, HEAD"


def test_head_says_what_get_would(client: TestClient) -> None:
    assert client.head(f"{ROOT}/counts").status_code == 200


def test_what_strangers_stored_is_answered_as_json(
    client: TestClient, fleet: FleetUnderTest
) -> None:
    key = fleet.keys.record("pattern", "a/pattern")
    fleet.redis.hset(key, "record", '{"id": "a/pattern", "x": NaN, "y": [1e999, "\\ud800"]}')
    text = client.get(f"{ROOT}/patterns/a/pattern").text
    assert json.loads(text, parse_constant=pytest.fail)["pattern"] == {
        "id": "a/pattern",
        "x": None,
        "y": [None, "\ud800"],
    }


def test_a_fault_is_one_line_in_the_log_and_no_traceback(
    client: TestClient, fleet: FleetUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.redis.delete(fleet.keys.log)
    fleet.redis.set(fleet.keys.log, "spoiled")
    code, detail, _ = refusal(client, "/history", 500)
    assert (code, "log" in detail) == ("internal", True)
    (record,) = caplog.records
    assert record.exc_info is None
    assert re.search(r"could not be answered: .*WRONGTYPE.*\(\w+\.py:\d+\)", record.getMessage())


def test_there_is_no_session_that_is_not_told_whole(fleet: FleetUnderTest) -> None:
    with pytest.raises(ValidationError):
        schemas.Session.model_validate(fleet.session(session_of(fleet, "active")))


def test_every_example_is_a_path_that_is_understood(client: TestClient) -> None:
    for endpoint in ENDPOINTS:
        response = client.get(example_of(endpoint))
        assert response.status_code in (200, 404), response.text
        assert "is not" not in response.text
