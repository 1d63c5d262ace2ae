"""coord dashboard, and what coord serve runs beside its coordinator, as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.companions import Companion, Program, companions_beside, dashboard_beside
from cli.main import app
from cli.output import ExitCode
from coordinator import embedded
from coordinator.clock import SystemClock
from coordinator.credentials import ensure_pepper
from coordinator.keys import Keys
from coordinator.listening import CannotListen
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.foreground import ForegroundCommand, running
from tests.processes import children_of
from tests.servers import wait_for
from web.settings import WebSettings

pytestmark = pytest.mark.one_server

KEYS = Keys()
ANY_PORT = "127.0.0.1:0"


@pytest.fixture
def coord(
    real_url: str,
    real_redis: Redis,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    logs_restored: None,
) -> Callable[..., Result]:
    """A command on an empty server, with a state directory; processes get both too."""
    monkeypatch.setenv("COORD_REDIS_URL", real_url)
    monkeypatch.setenv("COORD_STATE_DIR", str(state_dir))
    monkeypatch.setenv("COORD_GATEWAY_LISTEN", ANY_PORT)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def fleet(real_url: str, real_redis: Redis) -> Iterator[RealFleet]:
    with RealFleet(real_url) as fleet:
        yield fleet


def place_of(command: ForegroundCommand) -> str:
    """Where its dashboard is, once it says so."""
    line = command.wait_for("the dashboard is at ")
    match = re.search(r"https?://[^/]+", line)
    assert match is not None
    return match[0]


def asked(url: str, **more: Any) -> httpx.Response:
    """The answer, once there is one."""

    def answer() -> httpx.Response | None:
        try:
            return httpx.get(url, timeout=10, **more)
        except httpx.TransportError:
            return None

    found = wait_for(answer, what=f"an answer from {url}")
    assert found is not None
    return found


# -- coord dashboard -------------------------------------------------------------------------------


def test_it_answers_through_an_outage_and_ends_when_it_is_told(
    coord: Callable[..., Result], start_server: Callable[..., Any]
) -> None:
    server = start_server("--appendonly", "yes")
    with running("dashboard", "--http", ANY_PORT, COORD_REDIS_URL=server.url) as dashboard:
        place = place_of(dashboard)
        assert asked(f"{place}/api/v1/counts").json()["ais"] == 0
        assert asked(f"{place}/healthz").status_code == 200
        assert asked(f"{place}/readyz").status_code == 503
        assert "coord_server_up 1" in asked(f"{place}/metrics").text
        server.kill()
        assert asked(f"{place}/api/v1/counts").json()["error"]["code"] == "no_server"
        server.start()
        wait_for(lambda: asked(f"{place}/api/v1/counts").status_code == 200, what="its recovery")
        assert dashboard.end() == ExitCode.OK
    assert [line for line in dashboard.lines if "Traceback" in line] == []


def test_where_everybody_may_look_it_does_without_a_pepper_and_says_so(
    coord: Callable[..., Result],
) -> None:
    with running("dashboard", "--http", ANY_PORT) as dashboard:
        assert asked(f"{place_of(dashboard)}/api/v1/counts").status_code == 200
        dashboard.wait_for("nobody can sign in: there is no pepper")


def test_with_tls_it_asks_for_a_token_where_others_can_come(
    coord: Callable[..., Result], fleet: RealFleet, state_dir: Path, tmp_path: Path
) -> None:
    ensure_pepper(Settings(state_dir=state_dir))
    certs = tmp_path / "certs"
    coord("dev-cert", str(certs))
    token = coord("enroll", "Dashboard", "--role", "observer").stdout.strip()
    tls = ("--tls-cert", str(certs / "gateway.pem"), "--tls-key", str(certs / "gateway-key.pem"))
    with running("dashboard", "--http", "0.0.0.0:0", *tls) as dashboard:
        port = place_of(dashboard).rpartition(":")[2]
        place, trust = (
            f"https://localhost:{port}",
            ssl.create_default_context(cafile=str(certs / "ca.pem")),
        )
        assert asked(f"{place}/api/v1/ais", verify=trust).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        answer = asked(f"{place}/api/v1/ais", verify=trust, headers=headers)
        assert answer.json() == {"items": [], "cursor": None, "total": 0}
        assert dashboard.end(signal.SIGINT) == ExitCode.OK
    assert not [line for line in dashboard.lines if token in line]


def test_a_head_that_is_too_large_or_too_slow_is_cut_off(coord: Callable[..., Result]) -> None:
    with running("dashboard", "--http", ANY_PORT, COORD_HTTP_HEAD_S="0.3") as dashboard:
        host, _, port = place_of(dashboard).removeprefix("http://").rpartition(":")
        address = (host, int(port))
        asked(f"http://{host}:{port}/healthz")
        with socket.create_connection(address, 10) as large:
            large.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
            assert large.recv(100).startswith(b"HTTP/1.1 400")
        with socket.create_connection(address, 10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")
            assert end_of(slow) == b""
        with socket.create_connection(address, 10) as kept:
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert kept.recv(1000).startswith(b"HTTP/1.1 200")
            kept.sendall(b"GET /")
            assert end_of(kept).count(b"HTTP/1.1") == 0


def end_of(connection: socket.socket) -> bytes:
    """What still comes until the other side is gone."""
    came = b""
    try:
        while part := connection.recv(1000):
            came += part
    except ConnectionResetError:
        pass
    return came


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--http", "0.0.0.0:0"), ExitCode.FAILED, "without TLS the dashboard listens on loopback"),
        (("--http", ANY_PORT, "--tls-cert", "x.pem"), ExitCode.FAILED, "TLS needs both"),
        (("--http", ANY_PORT, "--require-token"), ExitCode.FAILED, "there is no pepper"),
        (("--http", ANY_PORT, "--redis", "http://x"), ExitCode.NO_SERVER, "wrong in its scheme"),
        (("--fd", "987"), ExitCode.FAILED, "names no socket"),
        (("--fd", "-1"), ExitCode.FAILED, "names no socket"),
    ],
)
def test_it_says_what_is_wrong(
    coord: Callable[..., Result], arguments: tuple[str, ...], code: ExitCode, said: str
) -> None:
    lines = coord("dashboard", *arguments, code=code).stderr.splitlines()
    assert said in lines[-1]
    assert lines[-1].startswith("coord: ")
    assert [line for line in lines if "Traceback" in line] == []


def test_a_pepper_that_is_not_the_fleets_is_named(
    coord: Callable[..., Result], real_redis: Redis, state_dir: Path
) -> None:
    ensure_pepper(Settings(state_dir=state_dir))
    real_redis.hset(KEYS.fleet, "pepper_id", "another")
    result = coord("dashboard", "--http", ANY_PORT, "--require-token", code=ExitCode.FAILED)
    assert "the pepper here is not the one of fleet" in result.stderr


# -- beside the coordinator ------------------------------------------------------------------------


def test_serve_has_one_beside_it_that_comes_back_and_goes_with_it(
    coord: Callable[..., Result], real_redis: Redis, tmp_path: Path
) -> None:
    archive = tmp_path / "hub_data.db"
    arguments = ("--no-gateway", "--http", ANY_PORT, "--archive", str(archive))
    with running("serve", *arguments) as serve:
        place = place_of(serve)
        wait_for(lambda: asked(f"{place}/readyz").status_code == 200, what="a coordinator")
        before = companions_of(serve)
        assert set(before) == {"dashboard", "archive"}
        os.kill(before["dashboard"], signal.SIGKILL)
        serve.wait_for("the dashboard was ended by signal 9: begun again in 1 s")
        active = asked(f"{place}/api/v1/status").json()["coordinator"]["active"]
        assert active is not None
        after = companions_of(serve)
        assert (after["dashboard"] != before["dashboard"], after["archive"]) == (
            True,
            before["archive"],
        )
        assert serve.end() == ExitCode.OK
    assert not [name for name, pid in after.items() if is_there(pid)]
    assert archive.exists()


def test_what_is_beside_it_ends_however_it_ends(coord: Callable[..., Result]) -> None:
    with running("serve", "--no-gateway", "--http", ANY_PORT) as serve:
        place = place_of(serve)
        asked(f"{place}/healthz")
        (pid,) = companions_of(serve).values()
        serve.end(signal.SIGKILL)
        wait_for(lambda: not is_there(pid), what="the end of the dashboard")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{place}/healthz")


def test_an_address_that_was_asked_for_must_be_free(
    coord: Callable[..., Result], taken: tuple[str, socket.socket]
) -> None:
    with running("serve", "--no-gateway", "--http", taken[0]) as serve:
        assert serve.process.wait(30) == ExitCode.FAILED
        serve.end()
    assert serve.lines[-1].startswith(f"coord: cannot listen on {taken[0]}")


def test_an_address_that_is_none_is_said_before_anything_is_started(
    coord: Callable[..., Result], state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COORD_REDIS_URL")
    said = coord("serve", "--no-gateway", "--http", "foo", code=ExitCode.USAGE).stderr
    assert "--http: 'foo' is no HOST:PORT" in said
    assert "is no HOST:PORT" in coord("serve", "--listen", "foo", code=ExitCode.FAILED).stderr
    assert embedded.find(state_dir) is None


def test_tls_that_cannot_be_is_said_at_once(state_dir: Path) -> None:
    missing = state_dir / "none.pem"
    own = WebSettings(tls_cert=missing, tls_key=missing)
    beside = dashboard_beside(own, Settings(), "redis://localhost", [], SystemClock())
    with pytest.raises(CannotListen, match="TLS by"), beside:
        pytest.fail("it runs without")


def test_an_archive_that_is_none_is_said_at_once(
    coord: Callable[..., Result], tmp_path: Path
) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("no archive, and longer than a header " * 10)
    with running("serve", "--no-gateway", "--archive", str(foreign)) as serve:
        assert serve.process.wait(30) == ExitCode.FAILED
        serve.end()
    assert "notes.txt" in serve.lines[-1]


def test_a_fleet_that_stays_says_where_its_dashboard_is(
    coord: Callable[..., Result], real_url: str, tmp_path: Path
) -> None:
    archive = tmp_path / "hub_data.db"
    none = ("--trainers", "0", "--validators", "0")
    try:
        said = coord("up", *none, "--http", ANY_PORT, "--archive", str(archive)).stdout
        match = re.search(r"dashboard: (http://127\.0\.0\.1:\d+)\n", said)
        assert match is not None, said
        assert asked(f"{match[1]}/healthz").status_code == 200
        assert archive.exists()
    finally:
        coord("down")


def test_one_that_cannot_begin_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.companions.LISTEN_AGAIN_S", 0.01)
    program = Program("it", ["--version"], dict(os.environ))
    tries = iter([None, None, program])
    tried: list[Program | None] = []

    def prepare() -> Program | None:
        tried.append(next(tries))
        return tried[-1]

    with companions_beside([Companion("it", prepare, SystemClock())]):
        wait_for(lambda: len(tried) == 3)
    assert tried == [None, None, program]


def companions_of(serve: ForegroundCommand) -> dict[str, int]:
    """The processes beside the coordinator, by their commands."""
    found = {}
    for pid in children_of(serve.process.pid):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "cli.main" in words:
            found[words[words.index("cli.main") + 1]] = pid
    return found


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
