"""The embedded server with real processes: shared, adopted, never doubled, and its data kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis import Redis

from coordinator import embedded, server_probe
from coordinator.connection import connect, redact, resolve_url
from coordinator.errors import CoordError, ServerUnusable
from coordinator.processes import start_time, start_time_by_ps
from coordinator.server_directory import Endpoint
from coordinator.settings import Settings
from tests.servers import python_environment, wait_for

START = """
import sys
from pathlib import Path
from coordinator import embedded
endpoint = embedded.start(Path(sys.argv[1]), die_with_parent="tied" in sys.argv)
print(endpoint.model_dump_json(), flush=True)
sys.stdin.read()
"""


@contextmanager
def starter(state_dir: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that starts the server, prints the endpoint, and stays until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(state_dir), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=python_environment(),
    )
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


def said(process: subprocess.Popen[str]) -> Endpoint:
    """The endpoint without its password, which is in no record."""
    assert process.stdout is not None
    return Endpoint.model_validate_json(process.stdout.readline())


def client(endpoint: Endpoint) -> Redis:
    return connect(endpoint.url)


def has_ended(endpoint: Endpoint) -> bool:
    return start_time(endpoint.pid) != endpoint.started


def servers_of(state_dir: Path) -> list[int]:
    """Every live process that has the server's lock file open."""
    lock = str((state_dir / "server.lock").resolve())
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and lock in _open_files(process)
    ]


def _open_files(process: Path) -> set[str]:
    files = set()
    with suppress(OSError):  # it has ended, or is a stranger's
        for entry in (process / "fd").iterdir():
            with suppress(OSError):  # closed by now
                files.add(str(entry.readlink()))
    return files


def test_starts_with_what_a_fleet_needs(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    with client(endpoint) as server:
        settings = server.config_get("*")
        info = server.info()
    assert info["process_id"] == endpoint.pid
    assert info["aof_enabled"] == 1
    assert info["tcp_port"] == 0
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["dir"] == str(state_dir / "data")
    assert settings["logfile"] == str(state_dir / "server.log")
    assert settings["hash-max-listpack-value"] == "512"
    assert "pubsub 67108864 33554432 60" in settings["client-output-buffer-limit"]
    assert settings["aclfile"] == str(state_dir / "users.acl")
    assert embedded.find(state_dir) == endpoint


def test_only_its_user_can_reach_anything(state_dir: Path) -> None:
    inside = state_dir / "made" / "here"
    endpoint = embedded.start(inside)
    try:
        assert inside.stat().st_mode & 0o777 == 0o700
        assert endpoint.socket_path.stat().st_mode & 0o777 == 0o700
        with client(endpoint) as server:
            server.acl_save()
        files = [path for path in inside.iterdir() if path.is_file()]
        names = ["endpoint.json", "server.lock", "start.lock", "server.log"]
        names += ["operator.secret", "users.acl"]
        modes = {path.name: path.stat().st_mode & 0o777 for path in files}
        assert modes == dict.fromkeys(names, 0o600)
    finally:
        embedded.stop(inside)


# -- its users -------------------------------------------------------------------------------------


def password(state_dir: Path) -> str:
    return (state_dir / "operator.secret").read_text().strip()


def test_nobody_does_anything_without_the_login(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    for login in ("", "default:x@", "operator:x@", ":x@"):
        with (
            connect(f"unix://{login}{endpoint.socket_path}") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
    with client(endpoint) as server:
        assert server.acl_whoami() == "operator"
        assert [user.split()[1:3] for user in server.acl_list()] == [
            ["default", "off"],
            ["operator", "on"],
        ]
    assert len(password(state_dir)) >= 43


def test_the_password_is_shown_nowhere(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    command = Path(f"/proc/{endpoint.pid}/cmdline").read_bytes()
    files = [path for path in state_dir.iterdir() if path.is_file()]
    holders = [path.name for path in files if password(state_dir) in path.read_text()]
    assert password(state_dir) in endpoint.url
    assert password(state_dir) not in redact(endpoint.url)
    assert password(state_dir) not in repr(endpoint)
    assert password(state_dir).encode() not in command
    assert holders == ["operator.secret"]


def test_the_login_and_saved_users_outlive_the_server(state_dir: Path) -> None:
    first = embedded.start(state_dir)
    with client(first) as server:
        server.execute_command("ACL SETUSER", "coord:AI_1", "on", "nopass", "~x", "+get")
        server.execute_command("ACL SETUSER", "default", "on", "nopass", "~*", "+@all")
        server.execute_command("ACL SETUSER", "operator", "-@dangerous", "+acl", "+info")
        server.acl_save()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(first))
    second = embedded.start(state_dir)
    assert second.url == first.url
    with client(second) as server:
        users = {user.split()[1]: user for user in server.acl_list()}
    assert set(users) == {"default", "operator", "coord:AI_1"}
    assert " off " in users["default"]
    assert "+@all" in users["operator"]
    assert "~x" in users["coord:AI_1"]


def test_a_server_that_refuses_the_login_is_not_doubled_and_can_be_stopped(
    state_dir: Path,
) -> None:
    endpoint = embedded.start(state_dir)
    (state_dir / "operator.secret").unlink()
    assert embedded.find(state_dir) is None
    with pytest.raises(ServerUnusable, match=r"refuses the login in .*operator\.secret.*fuser -k"):
        embedded.start(state_dir)
    assert servers_of(state_dir) == [endpoint.pid]
    assert embedded.stop(state_dir) is True
    assert has_ended(endpoint)
    with client(embedded.start(state_dir)) as server:
        assert server.ping()


def test_a_server_of_an_older_coord_is_told_from_one_that_is_silent(state_dir: Path) -> None:
    """It has no users, and its record is of another form."""
    endpoint = embedded.start(state_dir)
    with client(endpoint) as server:
        server.execute_command("ACL SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
        server.acl_deluser("operator")
    (state_dir / "endpoint.json").write_text('{"url": "unix:///x", "pid": 1}')
    for use in (embedded.start, embedded.stop):
        with pytest.raises(ServerUnusable, match="older coord: end it by `fuser -k -TERM"):
            use(state_dir)
    os.kill(endpoint.pid, signal.SIGTERM)
    wait_for(lambda: has_ended(endpoint))
    assert embedded.start(state_dir).pid != endpoint.pid


# -- its process -----------------------------------------------------------------------------------


def test_the_server_has_a_session_of_its_own(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    assert os.getsid(endpoint.pid) == endpoint.pid


def test_starters_at_once_share_one_server(state_dir: Path) -> None:
    with starter(state_dir) as one, starter(state_dir) as two, starter(state_dir) as three:
        endpoints = [said(process) for process in (one, two, three)]
    assert len(set(endpoints)) == 1
    assert servers_of(state_dir) == [endpoints[0].pid]


def test_a_killed_starter_leaves_a_server_that_is_adopted(state_dir: Path) -> None:
    with starter(state_dir) as process:
        left = said(process)
        process.kill()
        process.wait()
    assert embedded.start(state_dir).run_id == left.run_id
    assert servers_of(state_dir) == [left.pid]


def test_a_starter_killed_before_it_recorded_the_server(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "write_model", killed)
        with pytest.raises(KeyboardInterrupt):
            embedded.start(state_dir)
    (orphan,) = servers_of(state_dir)
    assert embedded.find(state_dir) is None
    assert embedded.start(state_dir).pid == orphan


@pytest.mark.parametrize("text", [None, "", "{", '{"socket_path": "/x", "pid": "?"}', "\0\xff"])
def test_a_lost_or_broken_endpoint_file_costs_nothing(state_dir: Path, text: str | None) -> None:
    first = embedded.start(state_dir)
    path = state_dir / "endpoint.json"
    path.unlink() if text is None else path.write_text(text)
    assert embedded.find(state_dir) is None
    assert embedded.start(state_dir) == first
    assert embedded.find(state_dir) == first
    assert servers_of(state_dir) == [first.pid]


@pytest.mark.parametrize(
    "change",
    [{"started": "1"}, {"run_id": "0" * 40}, {"pid": os.getpid()}, {"socket_path": "/no"}],
)
def test_an_endpoint_that_is_wrong_in_one_thing_is_not_believed(
    state_dir: Path, change: dict[str, object]
) -> None:
    first = embedded.start(state_dir)
    path = state_dir / "endpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert embedded.find(state_dir) is None
    assert embedded.start(state_dir) == first


def test_a_pid_that_another_process_has_now_is_not_believed_nor_killed(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    embedded.stop(state_dir)
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            stale = endpoint.model_copy(update={"pid": other.pid})
            (state_dir / "endpoint.json").write_text(stale.model_dump_json())
            assert embedded.find(state_dir) is None
            assert embedded.stop(state_dir) is False
            assert other.poll() is None
        finally:
            other.kill()


def test_a_killed_server_is_started_again_with_its_data(state_dir: Path) -> None:
    first = embedded.start(state_dir)
    with client(first) as server:
        server.set("kept", "yes")
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(first))
    assert embedded.find(state_dir) is None
    second = embedded.start(state_dir)
    assert second.run_id != first.run_id
    with client(second) as server:
        assert server.get("kept") == b"yes"


def test_stop_ends_it_and_keeps_the_data(state_dir: Path) -> None:
    first = embedded.start(state_dir)
    with client(first) as server:
        server.set("kept", "yes")
    assert embedded.stop(state_dir) is True
    assert has_ended(first)
    assert not (state_dir / "endpoint.json").exists()
    assert not first.socket_path.exists()
    assert embedded.find(state_dir) is None
    assert embedded.stop(state_dir) is False
    with client(embedded.start(state_dir)) as server:
        assert server.get("kept") == b"yes"


def test_stop_finds_a_server_whose_endpoint_is_lost(state_dir: Path) -> None:
    with starter(state_dir) as process:
        endpoint = said(process)
    (state_dir / "endpoint.json").unlink()
    assert embedded.stop(state_dir) is True
    assert has_ended(endpoint)


def test_a_server_that_does_not_answer_is_not_doubled_and_can_be_stopped(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_probe, "ANSWER_LIMIT_S", 0.3)
    for limit in ("READY_LIMIT_S", "SIGNAL_LIMIT_S"):
        monkeypatch.setattr(embedded, limit, 0.3)
    endpoint = embedded.start(state_dir)
    os.kill(endpoint.pid, signal.SIGSTOP)
    assert embedded.find(state_dir) is None
    with pytest.raises(ServerUnusable, match=f"as process {endpoint.pid}, but does not answer"):
        resolve_url(Settings(state_dir=state_dir))
    with pytest.raises(ServerUnusable, match=r"holds .*server\.lock and does not answer"):
        embedded.start(state_dir)
    assert servers_of(state_dir) == [endpoint.pid]
    assert embedded.stop(state_dir) is True
    assert has_ended(endpoint)


def test_a_tied_server_dies_with_its_starter(state_dir: Path) -> None:
    with starter(state_dir, "tied") as process:
        endpoint = said(process)
        assert servers_of(state_dir) == [endpoint.pid]
        process.kill()
        process.wait()
        wait_for(lambda: has_ended(endpoint), what="the tied server to end")
    assert embedded.start(state_dir).pid != endpoint.pid


def test_a_server_that_was_not_tied_survives(state_dir: Path) -> None:
    with starter(state_dir) as process:
        endpoint = said(process)
        process.kill()
        process.wait()
    found = embedded.find(state_dir)
    assert found is not None
    assert found.run_id == endpoint.run_id
    with client(found) as server:
        assert server.ping()


def test_a_path_too_long_for_a_socket(state_dir: Path) -> None:
    deep = state_dir / ("d" * 100) / "with ? # and space"
    first = embedded.start(deep)
    try:
        assert len(os.fsencode(first.socket_path)) < 104
        assert first.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert embedded.find(deep) == first
        (deep / "endpoint.json").unlink()
        assert embedded.start(deep) == first
    finally:
        assert embedded.stop(deep) is True
    assert not first.socket_path.parent.exists()


def test_a_server_that_died_is_revived_and_one_that_was_stopped_is_not(state_dir: Path) -> None:
    """Also where the socket is elsewhere: whoever had its path finds it again."""
    deep = state_dir / ("d" * 100)
    assert embedded.revive(deep) is None
    first = embedded.start(deep)
    try:
        assert embedded.revive(deep) is None
        os.kill(first.pid, signal.SIGKILL)
        wait_for(lambda: has_ended(first))
        second = embedded.revive(deep)
        assert second is not None
        assert second.url == first.url
        assert embedded.find(deep) == second
    finally:
        assert embedded.stop(deep) is True
    assert embedded.revive(deep) is None
    assert not first.socket_path.parent.exists()


def test_a_start_that_failed_is_tried_again(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embedded.start(state_dir)
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(first))
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "server_arguments", lambda *_: ["--no-such-setting", "1"])
        with pytest.raises(ServerUnusable):
            embedded.revive(state_dir)
    assert embedded.revive(state_dir) is not None


def test_a_path_that_a_url_must_quote(state_dir: Path) -> None:
    odd = state_dir / "a b?c#d%20e"
    endpoint = embedded.start(odd)
    try:
        with client(endpoint) as server:
            assert server.ping()
    finally:
        embedded.stop(odd)


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770])
def test_a_directory_open_to_others_is_refused(state_dir: Path, mode: int) -> None:
    state_dir.chmod(mode)
    for use in (embedded.start, embedded.find, embedded.stop):
        with pytest.raises(CoordError, match=f"open to other users .*chmod 700 {state_dir}"):
            use(state_dir)
    assert list(state_dir.iterdir()) == []


def test_a_directory_of_somebody_else_is_refused(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(CoordError, match=r"belongs to user id .*COORD_STATE_DIR"):
            embedded.start(state_dir)


def test_a_file_in_the_directorys_place_is_refused(state_dir: Path) -> None:
    path = state_dir / "file"
    path.touch()
    with pytest.raises(CoordError, match="cannot be used"):
        embedded.start(path)


def test_a_start_that_fails_quotes_the_log_and_leaves_nothing(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "server_arguments", lambda *_: ["--no-such-setting", "1"])
        with pytest.raises(ServerUnusable, match=r"log .*ends: .*no-such-setting"):
            embedded.start(state_dir)
    assert servers_of(state_dir) == []
    assert embedded.start(state_dir).pid in servers_of(state_dir)


def test_a_started_server_that_never_answers_is_ended(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = embedded.server_arguments(state_dir, state_dir / "elsewhere.sock")
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "READY_LIMIT_S", 0.5)
        patch.setattr(embedded, "server_arguments", lambda *_: elsewhere)
        with pytest.raises(ServerUnusable, match="did not come up"):
            embedded.start(state_dir)
    assert servers_of(state_dir) == []


def test_nothing_is_found_nor_made_where_nothing_is(state_dir: Path) -> None:
    missing = state_dir / "missing"
    assert embedded.find(missing) is None
    assert embedded.stop(missing) is False
    assert not missing.exists()


def test_start_times_tell_processes_apart() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        started = start_time(process.pid)
        assert started == start_time(process.pid)
        assert started != start_time(os.getpid())
        assert start_time_by_ps(process.pid) is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert start_time(process.pid) is None
        assert start_time_by_ps(process.pid) is None
    assert start_time(process.pid) is None
    assert start_time_by_ps(process.pid) is None
