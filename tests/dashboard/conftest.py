"""Fixtures of the dashboard: a fleet, its pages in this process, and in a real browser.

``clock``    of the fleet and its pages; tests of what time does move one by hand
``fleet``    a coordinator that takes messages when it is told to (``run``), on a real server
``running``  the same, and its coordinator takes messages by itself
``client``   a client of the application in this process: no feed, no browser
``served``   the application on a port of its own, with its feed
``browser``  Chromium, one for a module
``operator`` a token of an operator of the fleet, to sign in by
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser
from redis import Redis
from starlette.testclient import TestClient

from coordinator.clock import Clock, SystemClock
from tests.browser import running_browser
from tests.dashboards import Serve, Served, app_of, client_of, serving, token_of
from tests.fleet import FleetUnderTest


@pytest.fixture(params=["valkey"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """Reads alone: one server is enough, and fakeredis says nothing of itself."""
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def fleet(redis: Redis, clock: Clock) -> FleetUnderTest:
    return FleetUnderTest(redis, clock=clock)


@pytest.fixture
def running(fleet: FleetUnderTest) -> Iterator[FleetUnderTest]:
    stop = threading.Event()
    thread = threading.Thread(target=fleet.coordinator.run, args=(stop,))
    thread.start()
    yield fleet
    stop.set()
    thread.join()


@pytest.fixture
def client(fleet: FleetUnderTest) -> TestClient:
    return client_of(fleet)


@pytest.fixture
def serve(fleet: FleetUnderTest) -> Iterator[Serve]:
    """Call it with what make_app is to be given besides; what it started ends with the test."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(serving(app_of(fleet, **more)))


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def operator(fleet: FleetUnderTest) -> str:
    return token_of(fleet, "Alice", "operator")
