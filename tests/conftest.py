"""Fixtures: one set of tests, on fakeredis and on every real server that there is.

``redis``        an empty server's client, for each of fakeredis, valkey, redis (``server_kind``)
``real_url``     the URL of an empty real server, for tests of processes; ``real_redis`` is a client
``start_server`` a real server of the test's own (``real_kind``), to kill, pause or configure
``fleet``        a fleet on a real server that keeps its data, for processes; one for a module
``start``        starts trainers of that fleet, which have the skills of tests/skills_for_tests.py
``ai``           an id that no other test uses
``idle_trainers`` trainers of processes that are started learn nothing
``state_dir``    a state directory with a short path; its embedded server ends with the test
``taken``        an address where somebody else listens, and that listener
``logs_restored`` what a command does to the logs of this process ends with the test

The shared servers are emptied before each test. A test that changes a server's configuration or
users, or harms it, takes one of its own. One that shows what is the same whatever real server is
behind it is marked ``one_server``.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import fakeredis
import pytest
from redis import Redis

from coordinator import embedded
from tests.clients import RealFleet
from tests.servers import KINDS, REAL_KINDS, REDIS_SERVER, Kind, RealKind, TestServer
from tests.skills_for_tests import install
from tests.trainers import LEASE_S, Start, started_trainers
from tests.units import Gates

IDLE = """
import asyncio

class Idle:
    async def run_comprehensive_demo(self):
        await asyncio.sleep(3600)
"""
NAMED = 20
"""So many tests that were skipped for one reason are named, more are counted by function."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither the developer's settings, terminal nor running fleet have a part in a test."""
    for name in list(os.environ):
        if name.startswith("COORD_") or name in ("RQ_REDIS_URL", "COLUMNS", "LINES"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "no-state"))


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> Kind:
    return cast(Kind, request.param)


@pytest.fixture(scope="module")
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


@pytest.fixture
def taken() -> Iterator[tuple[str, socket.socket]]:
    """An address where somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}", other


@pytest.fixture
def logs_restored() -> Iterator[None]:
    """For commands that are called in this process and take its logs for themselves."""
    logs = [logging.getLogger(name) for name in ("coord", "asyncio", "uvicorn")]
    before = [(log.handlers, log.propagate, log.level) for log in logs]
    yield
    for log, (handlers, propagate, level) in zip(logs, before, strict=True):
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    """A server of a module's own, whose data outlive it."""
    with TestServer("valkey", "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server: TestServer) -> Iterator[RealFleet]:
    with RealFleet(server.url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def ai() -> str:
    """A name of this test's own: what others left behind is not in its way."""
    return f"AI_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def start(fleet: RealFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    paths = [str(install(tmp_path / "skills")), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    with started_trainers(tmp_path, lambda _: fleet.url) as start:
        yield start


@pytest.fixture
def idle_trainers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trainers learn is not looked at, and would take all processors meanwhile."""
    (tmp_path / "idle.py").write_text(IDLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("COORD_TRAINER", "idle:Idle")


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path)


# -- the servers of a test -------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "one_server: what is shown is the same whatever real server is behind it"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "real_kind" in metafunc.fixturenames:
        is_same_on_all = metafunc.definition.get_closest_marker("one_server") is not None
        kinds = REAL_KINDS[:1] if is_same_on_all else REAL_KINDS
        metafunc.parametrize("real_kind", kinds, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties.append(("server", _kind_of(item)))


def _kind_of(item: pytest.Item) -> str:
    parameters = (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )
    names = ("server_kind", "real_kind", "way")
    kinds = [str(parameters[name]) for name in names if name in parameters]
    kinds = ["valkey" if kind == "gateway" else kind for kind in kinds]
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
    _name_skipped_attacks(terminalreporter)


def _name_skipped_attacks(terminalreporter: pytest.TerminalReporter) -> None:
    """Count and name what this machine could not run of the sandbox's tests."""
    skipped: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith("sandbox:"):
            skipped.setdefault(reason, []).append(report.nodeid.rpartition("::")[2])
    for reason, names in skipped.items():
        kinds = Counter(name.partition("[")[0] for name in names)
        shown = names if len(names) <= NAMED else [f"{kind} {n}" for kind, n in kinds.items()]
        line = f"{reason}: {len(names)} not run: {', '.join(shown)}"
        terminalreporter.write_line(line, yellow=True, bold=True)
    count = sum(map(len, skipped.values()))
    terminalreporter.write_line(f"tests of the sandbox that could not be run here: {count}")
