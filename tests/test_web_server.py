"""The service behind the dashboard: nobody who can connect holds it up, or fills its log."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event, Thread

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from coordinator.waiting import comes_true
from tests.fleet import ManualClock
from web.answers import refused
from web.guards import Errors, RequestLimits
from web.listening import listen
from web.outage import OutageLog
from web.seldom import EVERY_S, Seldom
from web.server import Server, make_server
from web.settings import WebSettings

LARGE = "0123456789" * 1_000_000
LIMIT_S = 20.0


@contextmanager
def serving(came: Event | None = None, **more: float) -> Iterator[tuple[Server, int]]:
    """A server of two pages, and its port; ``came`` is set once the large one is asked for."""
    came = came or Event()

    def large(_: Request) -> Response:
        came.set()
        return PlainTextResponse(LARGE)

    settings = WebSettings(listen="127.0.0.1:0", **more)  # type: ignore[arg-type]
    routes = [
        Route("/large", large),
        Route("/healthz", lambda _: PlainTextResponse("alive")),
    ]
    limits = RequestLimits(Starlette(routes=routes), 64, 10, always={"/healthz"})
    with closing(listen(settings)) as listening:
        app = Errors(limits, OutageLog(), lambda error, _: refused(error))
        server = make_server(app, listening, settings)
        thread = Thread(target=server.run, args=(listening.sockets,))
        thread.start()
        try:
            assert comes_true(lambda: server.started, LIMIT_S)
            yield server, listening.sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def connected(port: int, receives_bytes: int = 65536) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
    connection.connect(("127.0.0.1", port))
    return connection


def test_no_answer_waits_for_the_next_packet() -> None:
    with closing(listen(WebSettings(listen="127.0.0.1:0"))) as listening:
        (listens,) = listening.sockets
        with connected(listens.getsockname()[1]):
            listens.setblocking(True)
            accepted, _ = listens.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_does_not_read_is_cut_off() -> None:
    came = Event()
    with serving(came, send_s=0.2) as (server, port), connected(port, 4096) as idle:
        idle.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert came.wait(LIMIT_S)
        assert comes_true(lambda: not server.server_state.connections, LIMIT_S)


def test_who_reads_gets_all_of_a_long_answer() -> None:
    with serving() as (_, port):
        assert httpx.get(f"http://127.0.0.1:{port}/large").text == LARGE


def test_beyond_the_most_connections_only_its_health_is_told() -> None:
    with serving(connections_max=2) as (server, port), connected(port), connected(port):
        assert comes_true(lambda: len(server.server_state.connections) == 2, LIMIT_S)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as surplus:
            refused, alive = surplus.get("/large"), surplus.get("/healthz")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
        assert (alive.status_code, alive.text) == (200, "alive")


def test_beyond_twice_as_many_nobody_gets_in() -> None:
    with serving(connections_max=1) as (server, port), connected(port), connected(port):
        assert comes_true(lambda: len(server.server_state.connections) == 2, LIMIT_S)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_of_lines_that_anybody_may_cause_there_are_few(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    log, clock = logging.getLogger("test.seldom"), ManualClock()
    seldom = Seldom(clock)
    log.addFilter(seldom)
    request.addfinalizer(lambda: log.removeFilter(seldom))
    for n in range(100):
        log.warning("bad request %d", n)
    log.warning("another")
    clock.advance(EVERY_S)
    log.warning("bad request %d", 100)
    assert caplog.messages == [
        "bad request 0",
        "another",
        "bad request 100 (99 more like it before)",
    ]
