"""Errors as pages for people and as JSON for programs, and the files that pages load."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from tests.dashboards import client_of, sign_in
from tests.fleet import FleetUnderTest
from web.guards import Bodies

STYLE = "/static/coord.css"


@pytest.fixture(params=["fakeredis"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """What is shown here is the application's affair."""
    return str(request.param)


@pytest.mark.parametrize(
    ("path", "status", "heading"),
    [
        ("/none", 404, "There is nothing here"),
        ("/fleet/AI_9", 404, "There is nothing here"),
        ("/fleet?x=1", 400, "That cannot be asked"),
        ("/fleet/%00", 404, "There is nothing here"),
        ("/none/<script>alert(1)</script>", 404, "There is nothing here"),
        ("/sign-out", 405, "That cannot be done here"),
    ],
)
def test_people_get_a_page_and_programs_json(
    client: TestClient, path: str, status: int, heading: str
) -> None:
    page = client.get(path)
    assert page.status_code == status
    assert f"<h1>{heading}</h1>" in page.text
    assert "<script>alert" not in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    told = client.get(path, headers={"Accept": "*/*"})
    assert (told.status_code, set(told.json())) == (status, {"error"})


def test_the_api_answers_json_whoever_asks(client: TestClient) -> None:
    for path in ("/api/v1/none", "/static/none.js"):
        assert client.get(path).json()["error"]["code"] == "not_found"


def test_without_a_server_people_are_told_and_may_try_again(
    client: TestClient, fleet: FleetUnderTest
) -> None:
    server = cast(Any, fleet.redis.connection_pool.connection_kwargs["server"])
    server.connected = False
    page, style, form = (client.get(path) for path in ("/fleet?search=AI", STYLE, "/sign-in"))
    assert (page.status_code, page.headers["retry-after"]) == (503, "2")
    assert "<h1>Not at the moment</h1>" in page.text
    assert '<a class="button" href="/fleet?search=AI">Try again</a>' in page.text
    assert [style.status_code, form.status_code] == [200, 200]
    server.connected = True
    assert client.get("/fleet").status_code == 200


def test_trying_again_leads_to_no_other_site(
    client: TestClient, fleet: FleetUnderTest, operator: str
) -> None:
    sign_in(client, operator)
    server = cast(Any, fleet.redis.connection_pool.connection_kwargs["server"])
    server.connected = False
    page = client.get("http://localhost//evil.example/x")
    assert page.status_code == 503
    assert '<a class="button" href="/">Try again</a>' in page.text


@pytest.mark.parametrize("asks_token", [False, True])
def test_files_are_kept_by_browsers_and_asked_for_anew(
    fleet: FleetUnderTest, asks_token: bool
) -> None:
    client = client_of(fleet, asks_token=asks_token)
    first, head = client.get(STYLE), client.head(STYLE)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    assert (head.headers["etag"], head.content) == (first.headers["etag"], b"")
    again = client.get(STYLE, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/vendor",
        "/static/vendor/",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/%00",
        "/static/" + "x" * 3000,
    ],
)
def test_nothing_but_those_files_is_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("host", ["localhost:x", "[", "localhost:99999999", "localhost:²"])
def test_a_host_that_is_none_is_refused_and_breaks_nothing(
    fleet: FleetUnderTest, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = cast(Any, {"Host": host.encode("latin-1"), "Accept": "text/html"})
    local = client_of(fleet).get("/none", headers=headers)
    elsewhere = client_of(fleet, is_local=False).get("/none", headers=headers)
    assert local.status_code in (400, 404)
    assert elsewhere.status_code == 404
    assert "could not be answered" not in caplog.text


# -- bodies ----------------------------------------------------------------------------------------


def scope_of(length: int) -> dict[str, Any]:
    headers = [(b"content-length", str(length).encode())]
    return {"type": "http", "method": "POST", "path": "/", "headers": headers}


async def deaf(_: Message) -> None:
    raise AssertionError("nothing is answered here")


def test_a_request_begins_once_its_body_is_there() -> None:
    parts = iter([(b"a=", True), (b"1", False)])
    taken: list[Message] = []

    async def receive() -> Message:
        body, more = next(parts)
        return {"type": "http.request", "body": body, "more_body": more}

    async def app(_: Any, receive: Any, __: Any) -> None:
        assert next(parts, None) is None
        taken.append(await receive())

    asyncio.run(Bodies(app, 10)(scope_of(3), receive, deaf))
    assert taken == [{"type": "http.request", "body": b"a=1", "more_body": False}]


def test_a_body_that_does_not_come_ends_the_request() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def app(*_: Any) -> None:
        raise AssertionError("it began without")

    with pytest.raises(Exception, match=r"the form took longer than 0.01 s"):
        asyncio.run(Bodies(app, 0.01)(scope_of(3), receive, deaf))


def test_who_goes_while_a_body_comes_is_not_answered() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def app(*_: Any) -> None:
        raise AssertionError("it began without")

    asyncio.run(Bodies(app, 10)(scope_of(3), receive, deaf))
