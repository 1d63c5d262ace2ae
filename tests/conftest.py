"""Fixtures: one set of tests, on fakeredis and on every real server that there is.

``redis``        an empty server's client, for each of fakeredis, valkey, redis (``server_kind``)
``real_url``     the URL of an empty real server, for tests of processes; ``real_redis`` is a client
``start_server`` a real server of the test's own (``real_kind``), to kill, pause or configure
``state_dir``    a state directory with a short path; its embedded server ends with the test

The shared servers are emptied before each test. A test that changes a server's configuration or
users, or harms it, takes one of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import fakeredis
import pytest
from redis import Redis

from coordinator import embedded
from tests.servers import KINDS, REAL_KINDS, REDIS_SERVER, Kind, RealKind, TestServer


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither the developer's settings nor his running fleet have a part in a test."""
    for name in list(os.environ):
        if name.startswith("COORD_") or name == "RQ_REDIS_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "no-state"))


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> Kind:
    return cast(Kind, request.param)


@pytest.fixture(params=REAL_KINDS)
def real_kind(request: pytest.FixtureRequest) -> RealKind:
    return cast(RealKind, request.param)


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[Callable[[RealKind], TestServer]]:
    """Gives the session's one server of a kind, started at its first use."""
    servers: dict[RealKind, TestServer] = {}

    def shared(kind: RealKind) -> TestServer:
        if kind not in servers:
            servers[kind] = TestServer(kind).start()
        return servers[kind]

    yield shared
    for server in servers.values():
        server.close()


@pytest.fixture
def redis(server_kind: Kind, _shared_server: Callable[[RealKind], TestServer]) -> Iterator[Redis]:
    if server_kind == "fakeredis":
        with fakeredis.FakeRedis(
            server=fakeredis.FakeServer(), decode_responses=False, protocol=2
        ) as client:
            yield client
    else:
        yield from _emptied(_shared_server(server_kind))


@pytest.fixture
def real_redis(
    real_kind: RealKind, _shared_server: Callable[[RealKind], TestServer]
) -> Iterator[Redis]:
    yield from _emptied(_shared_server(real_kind))


@pytest.fixture
def real_url(
    real_kind: RealKind, real_redis: Redis, _shared_server: Callable[[RealKind], TestServer]
) -> str:
    return _shared_server(real_kind).url


def _emptied(server: TestServer) -> Iterator[Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def start_server(real_kind: RealKind) -> Iterator[Callable[..., TestServer]]:
    """Call it with further server arguments; what it started ends with the test."""
    servers: list[TestServer] = []

    def start(*arguments: str) -> TestServer:
        servers.append(TestServer(real_kind, *arguments))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="coord-"))
    yield directory
    directory.chmod(0o700)
    embedded.stop(directory)
    shutil.rmtree(directory)


# -- the count of tests per server -----------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties.append(("server", _kind_of(item)))


def _kind_of(item: pytest.Item) -> str:
    parameters = (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )
    kinds = [str(parameters[name]) for name in ("server_kind", "real_kind") if name in parameters]
    if "state_dir" in getattr(item, "fixturenames", ()):
        kinds.append("valkey")
    return kinds[-1] if kinds else "none"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on which server, so that none goes missing in silence."""
    counts = Counter(
        value
        for outcome in ("passed", "failed", "xfailed", "xpassed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
        if name == "server"
    )
    shown = ", ".join(f"{kind} {counts[kind]}" for kind in ["none", *KINDS])
    terminalreporter.write_line(f"tests per server: {shown}")
    if REDIS_SERVER is None:
        terminalreporter.write_line("redis: not installed, 0 tests", yellow=True, bold=True)
