"""coord gateway, and the gateway of coord serve, as real processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.gateway_thread import gateway_beside
from cli.main import app
from cli.output import ExitCode
from coordinator.credentials import ensure_pepper
from coordinator.errors import CoordError, NoPepper
from coordinator.gateway import CannotListen, Gateway, GatewaySettings
from coordinator.keys import Keys
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.foreground import running
from tests.gateway_clients import OldClient
from tests.servers import wait_for

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

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def fleet(real_url: str, real_redis: Redis) -> Iterator[RealFleet]:
    with RealFleet(real_url) as fleet:
        yield fleet


def is_open(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


# -- both processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_lets_in_who_was_enrolled_and_nobody_else(
    coord: Callable[..., Result], state_dir: Path, number: signal.Signals
) -> None:
    with running("serve", "--listen", ANY_PORT) as serve:
        address = serve.address()
        token = coord("enroll", "AI_1").stdout.strip()
        with (
            OldClient(address, "AI_1", token) as client,
            OldClient(address, "AI_2", token) as other,
        ):
            assert client.hello()["active_ais"] == ["AI_1"]
            other.log_in()
            assert other.error() == "bad_login"
        place = f"{address[0]}:{address[1]}"
        wait_for(lambda: place in coord("status").stdout, what="it to be shown")
        assert serve.end(number) == ExitCode.OK
    assert "AI_2" in coord("audit", "--kind", "login_refused").stdout
    pepper = (state_dir / "pepper").read_text().strip()
    assert not [line for line in serve.lines if token in line or pepper in line]


def test_gateway_with_tls_in_a_process_of_its_own(
    coord: Callable[..., Result], fleet: RealFleet, state_dir: Path, tmp_path: Path
) -> None:
    ensure_pepper(Settings(state_dir=state_dir))
    certs = tmp_path / "certs"
    coord("dev-cert", str(certs))
    token = coord("enroll", "AI_1").stdout.strip()
    tls = ("--tls-cert", str(certs / "gateway.pem"), "--tls-key", str(certs / "gateway-key.pem"))
    with running("gateway", "--listen", ANY_PORT, *tls) as gateway:
        context = ssl.create_default_context(cafile=str(certs / "ca.pem"))
        with OldClient(gateway.address(), "AI_1", token, context) as client:
            assert client.hello()["active_ais"] == ["AI_1"]
        assert gateway.end() == ExitCode.OK
    assert gateway.lines[-1].endswith("stopped")
    assert any("(TLS)" in line for line in gateway.lines)


def test_revoke_closes_an_open_connection(
    coord: Callable[..., Result], fleet: RealFleet, state_dir: Path
) -> None:
    ensure_pepper(Settings(state_dir=state_dir))
    token = coord("enroll", "AI_1").stdout.strip()
    with running("gateway", "--listen", ANY_PORT) as gateway:
        with OldClient(gateway.address(), "AI_1", token) as client:
            client.hello()
            coord("revoke", "AI_1")
            assert client.error() == "revoked"
            assert client.is_over()
        with OldClient(gateway.address(), "AI_1", token) as client:
            client.log_in()
            assert client.error() == "bad_login"


def test_serve_without_a_gateway_makes_the_pepper_for_others(
    coord: Callable[..., Result], real_redis: Redis, state_dir: Path
) -> None:
    with running("serve", "--no-gateway") as serve:
        wait_for(lambda: real_redis.exists(KEYS.leader), what="a coordinator")
        coord("enroll", "AI_1")
        assert "none: AIs come by Redis alone" in coord("status").stdout
        assert serve.end() == ExitCode.OK
    assert not [line for line in serve.lines if "gateway" in line]


# -- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_an_address_that_was_asked_for_must_be_free(
    coord: Callable[..., Result], state_dir: Path, taken: tuple[str, socket.socket], command: str
) -> None:
    ensure_pepper(Settings(state_dir=state_dir))
    with running(command, "--listen", taken[0]) as process:
        assert process.process.wait(30) == ExitCode.FAILED
        process.end()
    assert f"coord: cannot listen on {taken[0]}" in process.lines[-1]
    assert not [line for line in process.lines if "Traceback" in line]


def test_where_nobody_asked_for_it_it_comes_when_there_is_room(
    fleet: RealFleet,
    state_dir: Path,
    taken: tuple[str, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    address, other = taken
    own = GatewaySettings.model_construct(set(), listen=address)
    with gateway_beside(own, Settings(state_dir=state_dir), fleet.url):
        wait_for(lambda: f"no gateway: cannot listen on {address}" in caplog.text)
        other.close()
        wait_for(lambda: is_open(address), what="the gateway")
    assert caplog.text.count("no gateway") == 1
    assert not is_open(address)


def test_a_state_directory_that_cannot_be_used_is_no_end_of_the_coordinator(
    coord: Callable[..., Result], real_redis: Redis, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with running("serve", COORD_STATE_DIR=str(tmp_path / "file" / "state")) as serve:
        wait_for(lambda: any("warning: no gateway: the state dir" in line for line in serve.lines))
        wait_for(lambda: real_redis.exists(KEYS.leader), what="a coordinator")
        assert serve.end() == ExitCode.OK


@pytest.mark.parametrize("fault", ["pepper", "address"])
def test_beside_a_coordinator_what_was_asked_for_is_an_error(
    fleet: RealFleet, state_dir: Path, taken: tuple[str, socket.socket], fault: str
) -> None:
    fleet.redis.hset(KEYS.fleet, "pepper_id", "another" if fault == "pepper" else "")
    fleet.redis.hdel(KEYS.fleet, *([] if fault == "pepper" else ["pepper_id"]), "nothing")
    own = GatewaySettings(listen=ANY_PORT if fault == "pepper" else taken[0])
    error: type[CoordError] = NoPepper if fault == "pepper" else CannotListen
    with pytest.raises(error), gateway_beside(own, Settings(state_dir=state_dir), fleet.url):
        pytest.fail("it began")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), ExitCode.FAILED, "there is no pepper"),
        (("--listen", "6000"), ExitCode.FAILED, "is no HOST:PORT"),
        (("--listen", "0.0.0.0:0"), ExitCode.FAILED, "without TLS the gateway listens on loopback"),
        (("--tls-cert", "x.pem"), ExitCode.FAILED, "TLS needs both"),
        (("--redis", "unix:///no/such"), ExitCode.NO_SERVER, "cannot be reached"),
    ],
)
def test_gateway_says_what_is_wrong(
    coord: Callable[..., Result],
    state_dir: Path,
    arguments: tuple[str, ...],
    code: ExitCode,
    said: str,
) -> None:
    if arguments:
        ensure_pepper(Settings(state_dir=state_dir))
    result = coord("gateway", *arguments, code=code)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_setting_is_named(
    coord: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_GATEWAY_CONNECTIONS_MAX", "0")
    for command in ("gateway", "serve"):
        shown = " ".join(coord(command, code=ExitCode.USAGE).stderr.split())
        assert "COORD_GATEWAY_CONNECTIONS_MAX: it should be greater than" in shown


def test_a_gateway_that_breaks_is_begun_again(
    fleet: RealFleet, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.gateway_thread.AGAIN_S", 0.01)
    runs = iter([KeyError("a fault"), None])
    began = threading.Event()

    async def run(self: Gateway, stop: asyncio.Event) -> None:
        for opened in self._sockets:
            opened.close()
        if fault := next(runs):
            raise fault
        began.set()
        await stop.wait()

    monkeypatch.setattr(Gateway, "run", run)
    own = GatewaySettings(listen=ANY_PORT)
    with gateway_beside(own, Settings(state_dir=state_dir), fleet.url):
        assert began.wait(20)
