"""Who may look at the HTTP API, and what it bears."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
import redis as redis_py
from anyio.to_thread import current_default_thread_limiter
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from coordinator.credentials import digest, new_token
from coordinator.gateway.failures import FORGOTTEN_S, MAX_FAILURES
from tests.fleet import FleetUnderTest
from web.answers import refused
from web.app import DOCS, OPENAPI, make_app
from web.endpoints import ROOT
from web.guards import HEAD_MAX_BYTES, SECURITY, Errors, RequestLimits
from web.outage import OutageLog
from web.settings import WebSettings

PEPPER = b"p" * 32
COUNTS = f"{ROOT}/counts"
AUDIT = f"{ROOT}/audit"
Serve = Callable[[Request], Response]


@pytest.fixture(params=["fakeredis"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """What is shown here is the application's affair."""
    return str(request.param)


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.run()
    return fleet


def enroll(fleet: FleetUnderTest, ai: str, role: str, text: str = "", **more: Any) -> str:
    """Let ``ai`` in; its token, ``text`` if it brings one along."""
    token = new_token()
    text = text or token.text
    key_id = token.key_id
    fleet.order("enroll", ai=ai, key_id=key_id, digest=digest(PEPPER, text), role=role, **more)
    return text


def client_of(fleet: FleetUnderTest, address: str = "192.0.2.1", **more: Any) -> TestClient:
    """A client of an application that asks for tokens."""
    given = {"pepper": PEPPER, "asks_token": True, **more}
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock, **given)
    return TestClient(app, "http://localhost", client=(address, 1))


def ask(client: TestClient, token: str | None = None, path: str = COUNTS) -> tuple[int, str]:
    """The status, and the code of the error if it is one."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = client.get(path, headers=headers)
    error = response.json().get("error", {})
    return response.status_code, error.get("code", "")


# -- tokens ----------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_told_but_how_to_get_one(fleet: FleetUnderTest) -> None:
    response = client_of(fleet).get(COUNTS)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "no_token")
    assert "coord enroll" in response.json()["error"]["detail"]
    assert response.headers["www-authenticate"] == 'Bearer realm="coord"'
    assert ask(client_of(fleet), path=f"{ROOT}/no-such-path") == (401, "no_token")
    assert ask(client_of(fleet), path="/metrics") == (401, "no_token")


@pytest.mark.parametrize("path", ["/healthz", DOCS, OPENAPI])
def test_what_is_open_needs_none(fleet: FleetUnderTest, path: str) -> None:
    assert client_of(fleet).get(path).status_code == 200


@pytest.mark.parametrize(
    ("role", "of_all", "of_operators"),
    [
        ("operator", (200, ""), (200, "")),
        ("observer", (200, ""), (403, "forbidden")),
        ("trainer", (403, "forbidden"), (403, "forbidden")),
        ("validator", (403, "forbidden"), (403, "forbidden")),
    ],
)
def test_a_role_may_look_at_what_is_for_it(
    fleet: FleetUnderTest, role: str, of_all: tuple[int, str], of_operators: tuple[int, str]
) -> None:
    token = enroll(fleet, "AI_1", role)
    client = client_of(fleet)
    assert (ask(client, token), ask(client, token, AUDIT)) == (of_all, of_operators)


def test_a_token_is_found_once_it_is_there_and_no_more_once_it_is_gone(
    fleet: FleetUnderTest,
) -> None:
    client = client_of(fleet)
    token, later = new_token().text, enroll(fleet, "AI_1", "observer")
    assert ask(client, token) == (401, "bad_token")
    enroll(fleet, "AI_2", "observer", token)
    assert ask(client, token) == (200, "")
    fleet.order("revoke", ai="AI_2")
    assert ask(client, token) == (401, "bad_token")
    assert ask(client, later) == (200, "")


def test_a_token_that_has_expired_is_none(fleet: FleetUnderTest) -> None:
    token = enroll(fleet, "AI_1", "observer", expires_ms=fleet.clock.now_ms() + 1000)
    client = client_of(fleet)
    assert ask(client, token) == (200, "")
    fleet.clock.advance(2)
    assert ask(client, token) == (401, "bad_token")


@pytest.mark.parametrize("given", ["", "Basic eDp5", "Bearer", "Bearer  ", "token"])
def test_what_is_no_bearer_token_is_none(fleet: FleetUnderTest, given: str) -> None:
    response = client_of(fleet).get(COUNTS, headers={"Authorization": given})
    assert response.json()["error"]["code"] == "no_token"


@pytest.mark.parametrize("given", ["x" * 5000, "ä" * 20, "coord_aaaaaaaa_x_00000000"])
def test_any_text_may_be_shown(fleet: FleetUnderTest, given: str) -> None:
    headers = {"Authorization": f"Bearer {given}".encode("latin-1")}
    response = client_of(fleet).get(COUNTS, headers=cast(Any, headers))
    assert response.json()["error"]["code"] == "bad_token"


def test_after_many_wrong_tokens_only_one_that_cannot_be_guessed_gets_in(
    fleet: FleetUnderTest,
) -> None:
    strong = enroll(fleet, "AI_1", "observer")
    weak = enroll(fleet, "AI_2", "observer", "a-word", is_weak=True)
    client, other = client_of(fleet), client_of(fleet, "192.0.2.2")
    assert ask(client, weak) == (200, "")
    assert [ask(client, f"guess-{n}") for n in range(MAX_FAILURES)] == [
        (401, "bad_token")
    ] * MAX_FAILURES
    assert ask(client, weak) == (429, "too_many")
    assert ask(client, strong) == (200, "")
    assert ask(other, weak) == (200, "")
    fleet.clock.advance(FORGOTTEN_S + 1)
    assert ask(client, weak) == (200, "")


def test_no_token_is_ever_logged(fleet: FleetUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = enroll(fleet, "AI_1", "trainer")
    ask(client_of(fleet), token)
    ask(client_of(fleet), wrong := new_token().text)
    assert "a token from 192.0.2.1 is none that is in force" in caplog.text
    assert token not in caplog.text
    assert wrong not in caplog.text


# -- browsers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8600", 200),
        ("127.0.0.1:8600", 200),
        ("[::1]:8600", 200),
        ("[::1]", 200),
        ("evil.example", 400),
        ("evil.example:8600", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("", 400),
    ],
)
def test_on_a_loopback_address_only_its_names_will_do(
    fleet: FleetUnderTest, host: str, status: int
) -> None:
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    response = TestClient(app, "http://localhost").get(COUNTS, headers={"Host": host})
    assert response.status_code == status
    assert status == 200 or response.json()["error"]["code"] == "bad_host"


def test_elsewhere_any_name_will_do_with_a_token(fleet: FleetUnderTest) -> None:
    client = client_of(fleet, is_local=False)
    headers = {"Host": "coord.example", "Authorization": f"Bearer {enroll(fleet, 'A', 'operator')}"}
    assert client.get(COUNTS, headers=headers).status_code == 200


@pytest.mark.parametrize("path", [COUNTS, f"{ROOT}/none", "/healthz", "/metrics"])
def test_no_other_page_gets_anything(fleet: FleetUnderTest, path: str) -> None:
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    response = TestClient(app, "http://localhost").get(path, headers={"Origin": "http://a.example"})
    assert {name: response.headers[name] for name in SECURITY} == SECURITY
    assert not [name for name in response.headers if name.startswith("access-control")]


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
def test_a_request_has_no_body(fleet: FleetUnderTest, headers: dict[str, str]) -> None:
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    response = TestClient(app, "http://localhost").get(COUNTS, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


def bounded(serve: Callable[[Request], Any], in_flight_max: int, request_s: float) -> Any:
    inner = Starlette(routes=[Route("/", serve)])
    limits = RequestLimits(inner, in_flight_max, request_s)
    return Errors(limits, OutageLog(), lambda error, _: refused(error))


def test_more_requests_than_may_be_are_sent_away(fleet: FleetUnderTest) -> None:
    async def act() -> list[int]:
        came, go = asyncio.Event(), asyncio.Event()

        async def serve(_: Request) -> Response:
            came.set()
            await go.wait()
            return PlainTextResponse("done")

        transport = httpx.ASGITransport(bounded(serve, 1, 10))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            first = asyncio.create_task(client.get("/"))
            await came.wait()
            second = await client.get("/")
            go.set()
            third = await client.get("/") if (await first).status_code == 200 else second
            assert second.headers["retry-after"] == "2"
            return [(await first).status_code, second.status_code, third.status_code]

    assert asyncio.run(act()) == [200, 503, 200]


def test_a_long_head_is_refused() -> None:
    client = TestClient(bounded(lambda _: PlainTextResponse("done"), 1, 10))
    assert client.get("/", headers={"x": "x" * HEAD_MAX_BYTES}).status_code == 413
    assert client.get("/", headers={"x": "x" * (HEAD_MAX_BYTES // 2)}).status_code == 200


def test_a_long_answer_comes_whole(fleet: FleetUnderTest) -> None:
    text = "0123456789" * 20_000
    assert TestClient(bounded(lambda _: PlainTextResponse(text), 1, 10)).get("/").text == text


def test_what_is_always_answered_counts_in_no_number() -> None:
    inner = Starlette(routes=[Route("/", lambda _: PlainTextResponse("alive"))])
    limits = RequestLimits(inner, 0, 10, always={"/"})
    app = Errors(limits, OutageLog(), lambda error, _: refused(error))
    assert TestClient(app).get("/").text == "alive"


def test_whether_it_lives_is_said_while_all_threads_are_busy(fleet: FleetUnderTest) -> None:
    given: dict[str, Any] = {"pepper": PEPPER, "asks_token": True}
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock, **given)

    async def ask_when_busy() -> httpx.Response:
        threads = current_default_thread_limiter()
        for n in range(int(threads.total_tokens)):
            threads.acquire_on_behalf_of_nowait(n)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/healthz")

    assert asyncio.run(ask_when_busy()).json() == {"status": "ok"}


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def serve(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    response = TestClient(bounded(serve, 1, 0.01)).get("/")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "busy")


def test_a_read_that_hangs_does_not_hold_up_its_answer(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(fleet.redis, "pipeline", lambda **_: go.wait(30))
    own = WebSettings(request_s=0.1)
    app = make_app(fleet.settings, own, lambda: fleet.redis, fleet.clock)
    with TestClient(app, "http://localhost") as client:
        assert ask(client) == (503, "busy")
        go.set()


# -- outages ---------------------------------------------------------------------------------------


def test_without_a_server_it_says_so_and_recovers(
    fleet: FleetUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coord.http")
    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    client = TestClient(app, "http://localhost")
    server = cast(Any, fleet.redis.connection_pool.connection_kwargs["server"])
    server.connected = False
    for _ in range(2):
        response = client.get(COUNTS)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "no_server")
        assert response.headers["retry-after"] == "2"
    server.connected = True
    assert [ask(client), ask(client)] == [(200, ""), (200, "")]
    said = [record.getMessage() for record in caplog.records if record.name == "coord.http"]
    assert [line.partition(":")[0] for line in said] == [
        "the server of the fleet cannot be reached",
        "the server of the fleet is back",
    ]


def test_a_server_that_will_not_have_us_is_none(fleet: FleetUnderTest) -> None:
    def refuse(**_: Any) -> None:
        raise redis_py.AuthenticationError("WRONGPASS invalid password s3cret")

    app = make_app(fleet.settings, WebSettings(), lambda: fleet.redis, fleet.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet.redis, "pipeline", refuse)
        response = TestClient(app, "http://localhost").get(COUNTS)
    assert response.status_code == 503
    assert "s3cret" not in response.text
