"""coord serve, stop, up and down as real processes."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.children import Child, start
from cli.foreground import OneLine
from cli.main import app
from cli.output import ExitCode
from coordinator import embedded
from coordinator.connection import connect
from coordinator.keys import Keys
from coordinator.processes import start_time
from coordinator.status import read_holder
from tests.foreground import ForegroundCommand, running
from tests.servers import TestServer, python_environment, wait_for
from workers.problems import PROBLEMS

KEYS = Keys()


def serving(*arguments: str, **environment: str) -> AbstractContextManager[ForegroundCommand]:
    """A ``coord serve`` whose gateway is in nobody's way."""
    return running("serve", *arguments, COORD_GATEWAY_LISTEN="127.0.0.1:0", **environment)


def coord(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def _settings_of_this_process_restored() -> Iterator[None]:
    """``serve`` takes signals and the log for itself."""
    log = logging.getLogger("coord")
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    logs = (log.handlers, log.propagate, log.level)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    log.handlers, log.propagate = logs[:2]
    log.setLevel(logs[2])


# -- one server, one active coordinator ------------------------------------------------------------


def test_two_at_once_share_a_server_and_the_standby_takes_over(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    with serving(*at) as one, serving(*at) as other:
        pids = {re.search(r"process (\d+)", s.wait_for("embedded server at")) for s in (one, other)}
        assert len({match[1] for match in pids if match}) == 1
        wait_for(lambda: any("standing by:" in line for line in one.lines + other.lines))
        standby, active = (one, other) if "standing by" in str(one.lines) else (other, one)
        assert json.loads(coord("status", "--json", *at).stdout)["coordinator"]["standby"]
        active.end(signal.SIGKILL)
        standby.wait_for("took over")
        assert standby.end() == ExitCode.OK
        assert "the embedded server runs on; `coord stop` ends it" in standby.lines[-1]
    assert embedded.find(state_dir) is not None
    assert "has ended" in coord("stop", *at).stdout
    assert "no embedded server was running" in coord("stop", *at).stdout


def test_a_server_left_by_a_kill_is_adopted(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    with serving(*at) as first:
        first.wait_for("active:")
        before = embedded.find(state_dir)
        first.end(signal.SIGKILL)
    (state_dir / "endpoint.json").unlink()
    with serving(*at, "--quiet") as second:
        assert before is not None
        with connect(before.url) as connection:
            wait_for(lambda: str(second.process.pid) in (read_holder(connection, KEYS) or ""))
        assert embedded.find(state_dir) == before
        assert second.end(signal.SIGINT) == ExitCode.OK
        assert second.lines == []


def test_log_lines_tell_what_happens(start_server: Callable[..., TestServer]) -> None:
    server = start_server()
    hello = {
        "message_id": "1",
        "sender_id": "AI_1",
        "message_type": "hello",
        "timestamp": "2026-01-01T00:00:00",
        "payload": {"specialization": "audio"},
    }
    evil = hello | {"message_type": "goodbye", "payload": {"reason": "x\n\x1b[2J2026 forged"}}
    with serving(COORD_REDIS_URL=server.url) as serve, server.client() as redis:
        serve.wait_for("keeps no append-only file")
        for n, message in enumerate((hello, hello | {"message_type": "nonsense"}, evil), 1):
            fields = {"body": json.dumps(message), "instance": "i", "n": n}
            redis.xadd(KEYS.ingress("AI_1"), fields)
        redis.sadd(KEYS.doors, "AI_1")
        serve.wait_for("AI_1 joined (audio")
        serve.wait_for("refused a message of AI_1")
        assert serve.wait_for("AI_1 left").endswith("x\\n\\x1b[2J2026 forged")
        assert serve.end() == ExitCode.OK
    dated = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
    assert all(dated.match(line) and line.isprintable() for line in serve.lines)


def test_a_log_record_is_one_line_even_with_a_traceback() -> None:
    try:
        raise ValueError("a\nb\x1b[31m")
    except ValueError:
        record = logging.LogRecord("coord", 40, "f", 1, "broke: %s", ("\n",), sys.exc_info())
    shown = OneLine().format(record)
    assert shown.isprintable()
    assert "error: broke: \\n (test_serve.py:" in shown


# -- servers that no fleet can live on -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replicaof", "127.0.0.1", "1"), "is a read-only replica"),
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy allkeys-lru"),
        (("--requirepass", "sesame"), "refuses our user name and password"),
    ],
)
@pytest.mark.usefixtures("_settings_of_this_process_restored")
def test_an_unusable_server_gets_one_line(
    start_server: Callable[..., TestServer], arguments: tuple[str, ...], said: str
) -> None:
    refuses(start_server(*arguments).url, said)


@pytest.mark.usefixtures("_settings_of_this_process_restored")
def test_another_schema_is_refused(real_redis: Redis, real_url: str) -> None:
    real_redis.hset(KEYS.fleet, "schema", "999\n")
    refuses(real_url, "of schema 999")


@pytest.mark.usefixtures("_settings_of_this_process_restored")
def test_an_unreachable_server_and_a_wrong_url_are_refused() -> None:
    refuses("unix:///no/such/socket", "cannot be reached")
    refuses("http://localhost", "scheme")


@pytest.mark.usefixtures("_settings_of_this_process_restored")
def test_a_server_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with old_server(tmp_path / "s") as url:
        refuses(url, "is Redis 6.2.14")


def refuses(url: str, said: str) -> None:
    result = coord("serve", "--quiet", "--redis", url)
    assert result.exit_code == ExitCode.NO_SERVER
    assert said in result.stderr
    assert result.stderr.startswith("coord: ")
    assert result.stderr.count("\n") == 1


@contextmanager
def old_server(path: Path) -> Iterator[str]:
    """Answers as a Redis 6.2 would, as far as it is asked."""
    info = "redis_version:6.2.14\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
    answers = {b"PING": b"+PONG\r\n", b"INFO": f"${len(info)}\r\n{info}\r\n".encode()}

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            while head := lines.readline():
                parts = []
                for _ in range(int(head[1:])):
                    parts.append(lines.read(int(lines.readline()[1:]) + 2)[:-2])
                connection.sendall(answers.get(parts[0].upper(), b"+OK\r\n"))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"unix://{path}"
        thread.join()


@pytest.mark.usefixtures("_settings_of_this_process_restored")
def test_an_unsafe_state_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    result = coord("serve", "--quiet", "--state-dir", str(tmp_path))
    assert result.exit_code == ExitCode.FAILED
    assert "chmod 700" in result.stderr


def test_an_embedded_server_that_dies_is_started_again(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    with serving(*at) as one, serving(*at) as other:

        def count(text: str) -> int:
            return sum(text in line for line in one.lines + other.lines)

        wait_for(lambda: count(", epoch ") == 1 and count("standing by: ") == 1)
        before = embedded.find(state_dir)
        assert before is not None
        os.kill(before.pid, signal.SIGKILL)
        wait_for(lambda: count(", epoch ") == 2, what="a coordinator to be active again")
        after = embedded.find(state_dir)
        assert after is not None
        assert after.url == before.url
        wait_for(lambda: count("had died: started again") == 1)
        assert "has ended" in coord("stop", *at).stdout
        wait_for(lambda: count("Connection refused") or count("No such file"))
        for serve in (one, other):
            assert serve.end() == ExitCode.OK
        assert count("the embedded server runs on") == 0
        assert count("had died: started again") == 1
    assert embedded.find(state_dir) is None


# -- up and down -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("idle_trainers")
def test_up_twice_doubles_nothing_and_down_ends_all(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    try:
        first = coord("up", "--no-http", "--trainers", "2", *at)
        assert first.exit_code == ExitCode.OK, first.stderr
        record = json.loads((state_dir / "fleet.json").read_text())
        pids = [child["pid"] for child in record["children"]]
        assert len(pids) == 4
        again = coord("up", "--no-http", "--trainers", "2", *at)
        assert again.exit_code == ExitCode.OK, again.stderr
        assert again.stdout.count("runs already") == 4
        assert json.loads((state_dir / "fleet.json").read_text()) == record
        there = json.loads(coord("ais", "--json", *at).stdout)["ais"]
        assert {ai["ai_id"]: ai["specialization"] for ai in there} == {
            "AI_Node_1": PROBLEMS[0].specialization,
            "AI_Node_2": PROBLEMS[1].specialization,
            "Validator_1": "validation",
        }
        (member,) = json.loads(coord("members", "--json", *at).stdout)["members"]
        assert (member["ai_id"], member["role"]) == ("Validator_1", "validator")
        assert member["message_types"] == ["validation_result"]
        refused = coord("up", "--no-http", "--namespace", "other", *at)
        assert refused.exit_code == ExitCode.FAILED
        assert "runs in" in refused.stderr
        held = subprocess.run(
            [sys.executable, "-m", "cli.main", "trainer", "AI_Node_1", *at],
            capture_output=True,
            text=True,
            env=python_environment(),
        )
        assert held.returncode == ExitCode.FAILED
        assert "is held by instance" in held.stderr
    finally:
        ended = coord("down", *at)
    assert ended.exit_code == ExitCode.OK
    assert "AI_Node_1" in ended.stdout
    assert "Validator_1" in ended.stdout
    assert all(start_time(pid) is None for pid in pids)
    assert embedded.find(state_dir) is None
    assert "no fleet was running" in coord("down", *at).stdout


def holders(secret: bytes, paths: Iterable[Path]) -> list[Path]:
    found = []
    for path in paths:
        with suppress(OSError):  # a directory, or gone by now
            if secret in path.read_bytes():
                found.append(path)
    return found


@pytest.mark.usefixtures("idle_trainers")
def test_the_operators_password_is_shown_nowhere(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    try:
        said = coord("up", "--no-http", "--trainers", "1", *at).output
        endpoint = embedded.find(state_dir)
        assert endpoint is not None
        said += "".join(coord(command, *at).output for command in ("doctor", "status", "ais"))
        secret = endpoint.password.get_secret_value().encode()
        commands = holders(secret, Path("/proc").glob("[0-9]*/cmdline"))
        files = holders(secret, state_dir.rglob("*"))
    finally:
        coord("down", *at)
    assert commands == []
    assert [path.name for path in files] == ["operator.secret"]
    assert secret.decode() not in said
    assert "AI_Node_1, Validator_1 have the operator's login" in " ".join(said.split())


def test_down_leaves_a_server_that_up_did_not_start(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    before = embedded.start(state_dir)
    assert "no fleet was running" in coord("down", *at).stdout
    try:
        up = coord("up", "--no-http", "--trainers", "0", "--validators", "0", *at)
        assert up.exit_code == ExitCode.OK, up.stderr
    finally:
        ended = coord("down", *at).stdout
    assert ended == "ended: coordinator; data and logs are kept\n"
    assert embedded.find(state_dir) == before


def test_down_leaves_the_embedded_server_when_up_named_another(
    state_dir: Path, real_url: str
) -> None:
    at = ("--state-dir", str(state_dir))
    before = embedded.start(state_dir)
    try:
        assert (
            coord(
                "up", "--no-http", "--trainers", "0", "--validators", "0", "--redis", real_url, *at
            ).exit_code
            == ExitCode.OK
        )
    finally:
        assert coord("down", *at).stdout == "ended: coordinator; data and logs are kept\n"
    assert embedded.find(state_dir) == before


def test_the_server_of_a_fleet_that_up_started_is_started_again(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir))
    try:
        assert (
            coord("up", "--no-http", "--trainers", "0", "--validators", "0", *at).exit_code
            == ExitCode.OK
        )
        before = embedded.find(state_dir)
        assert before is not None
        os.kill(before.pid, signal.SIGKILL)
        wait_for(lambda: embedded.find(state_dir), what="the server to be there again")
    finally:
        assert "the embedded server" in coord("down", *at).stdout
    assert embedded.find(state_dir) is None


def test_what_up_started_and_could_not_record_never_runs(tmp_path: Path) -> None:
    def killed(_: Child) -> None:
        raise KeyboardInterrupt

    log_path = tmp_path / "log"
    command = [sys.executable, "-c", "print('ran')"]
    with pytest.raises(KeyboardInterrupt):
        start("child", command, dict(os.environ), log_path, record=killed)
    wait_for(lambda: "the starting process has ended" in log_path.read_text())
    start("child", command, dict(os.environ), log_path, record=lambda _: None)
    wait_for(lambda: log_path.read_text().endswith("ran\n"))


def test_down_never_signals_a_stranger(state_dir: Path) -> None:
    """A pid on record that belongs to another process by now, as its start time tells."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        child = {
            "name": "AI_Node_1",
            "pid": stranger.pid,
            "started": "1",
            "log_path": str(state_dir / "x.log"),
        }
        place = {"server": "s", "namespace": "coord", "has_server": True}
        (state_dir / "fleet.json").write_text(json.dumps(place | {"children": [child]}))
        assert "no fleet was running" in coord("down", "--state-dir", str(state_dir)).stdout
        assert stranger.poll() is None
        os.kill(stranger.pid, signal.SIGKILL)
