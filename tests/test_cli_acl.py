"""``coord acl``, and what ``coord doctor`` says of users."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import Result
from redis import Redis
from typer.testing import CliRunner

from cli.doctor import check_users
from cli.main import app
from cli.output import ExitCode
from coordinator import embedded
from coordinator.connection import connect, connection_name
from coordinator.enrolment import Access
from coordinator.keys import Keys
from tests.servers import TestServer

KEYS = Keys()


@pytest.fixture
def server(start_server: Callable[..., TestServer]) -> TestServer:
    return start_server()


@pytest.fixture
def coord(server: TestServer) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--redis", server.url])

    return run


def users(server: TestServer) -> list[str]:
    with server.client() as redis:
        return sorted(redis.acl_users())


def test_it_prints_what_it_would_do_and_does_nothing(
    coord: Callable[..., Result], server: TestServer
) -> None:
    result = coord("acl", "AI_1")
    command, *_ = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert users(server) == ["default"]
    with server.client() as redis:
        redis.execute_command(*command.partition("#")[0].split(), "nopass")
    with connect(f"unix://coord%3AAI_1:any@{server.socket_path}") as me:
        me.xadd(KEYS.ingress("AI_1"), {"a": "b"})
        with pytest.raises(redis_py.exceptions.NoPermissionError):
            me.xadd(KEYS.ingress("AI_10"), {"a": "b"})


def test_apply_prints_the_url_once_and_alone(
    coord: Callable[..., Result], server: TestServer
) -> None:
    result = coord("acl", "AI_1", "--apply")
    assert result.exit_code == 0, result.output
    (url,) = result.stdout.splitlines()
    with connect(url) as me:
        assert me.ping()
    assert users(server) == ["coord:AI_1", "default"]
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in result.stderr
    assert "has no file for its users" in result.stderr
    assert "COORD_REDIS_URL=URL coord trainer AI_1 --specialization NAME" in result.stderr
    assert "the server's socket" in result.stderr


def test_one_that_was_revoked_is_enrolled_first(
    coord: Callable[..., Result], server: TestServer
) -> None:
    with server.client() as redis:
        access = Access(is_revoked=True)
        redis.hset(KEYS.member("AI_1"), "access", access.to_json())
        result = coord("acl", "AI_1", "--apply")
        assert result.exit_code == 1
        assert "`coord enroll AI_1` lets it in again first" in result.stderr
        assert users(server) == ["default"]
        redis.hset(KEYS.member("AI_1"), "access", replace(access, is_revoked=False).to_json())
    assert coord("acl", "AI_1", "--apply").exit_code == 0


def test_an_ais_own_user_is_told_that_it_is_no_operator(
    coord: Callable[..., Result], server: TestServer
) -> None:
    url = coord("acl", "AI_1", "--apply").stdout.strip()
    result = CliRunner().invoke(app, ["status", "--redis", url])
    assert result.exit_code == ExitCode.NO_SERVER
    assert "coord:AI_1 is AI_1's own Redis user, which only runs AI_1" in result.stderr
    assert "ACL SETUSER" not in result.stderr


def test_apply_puts_the_url_into_a_private_file(
    coord: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "AI_1.url"
    result = coord("acl", "AI_1", "--apply", "--out", str(path), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "ai_id": "AI_1",
        "user": "coord:AI_1",
        "is_saved": False,
        "url_file": str(path),
    }
    assert path.stat().st_mode & 0o777 == 0o600
    with connect(path.read_text().strip()) as me:
        assert me.ping()
    assert path.read_text().strip() not in result.output
    shown = coord("acl", "AI_1", "--apply", "--out", str(path)).stderr
    assert f'COORD_REDIS_URL="$(cat {path})" coord trainer AI_1 --specialization NAME' in shown


def test_drop_closes_the_connections(coord: Callable[..., Result], server: TestServer) -> None:
    url = coord("acl", "AI_1", "--apply").stdout.strip()
    with connect(url) as me:
        me.ping()
        result = coord("acl", "AI_1", "--drop", "--json")
        with pytest.raises(redis_py.ConnectionError):
            me.ping()
    assert json.loads(result.stdout) == {
        "ai_id": "AI_1",
        "user": "coord:AI_1",
        "dropped": True,
        "is_saved": False,
    }
    assert users(server) == ["default"]
    assert "there is no user coord:AI_1" in coord("acl", "AI_1", "--drop").stdout


@pytest.mark.parametrize(
    "options", [["--apply", "--drop"], ["--out", "x"], ["--drop", "--out", "x"]]
)
def test_options_that_do_not_go_together(
    options: list[str], coord: Callable[..., Result], server: TestServer
) -> None:
    assert coord("acl", "AI_1", *options).exit_code == 2
    assert coord("acl", "AI_*", "--apply").exit_code == 2
    assert users(server) == ["default"]


def test_on_the_embedded_server_users_are_kept(state_dir: Path) -> None:
    first = embedded.start(state_dir)
    done = CliRunner().invoke(app, ["acl", "AI_1", "--apply", "--state-dir", str(state_dir)])
    url = done.stdout.strip()
    assert embedded.stop(state_dir)
    assert embedded.start(state_dir).url == first.url
    with connect(url) as me:
        assert me.ping()
    assert done.stderr.count("warning") == 0


# -- coord doctor ----------------------------------------------------------------------------------


def found(redis: Redis) -> list[tuple[str, str]]:
    return [(check.level, check.detail) for check in check_users(redis, KEYS)]


def test_doctor_says_who_shares_a_user(server: TestServer) -> None:
    with server.client() as redis:
        ((level, detail),) = found(redis)
        assert level == "warning"
        assert "the default user is open" in detail
        redis.execute_command("ACL SETUSER", "default", "resetpass", ">x")
        assert found(redis)[0][0] == "ok"
        url = f"unix://:x@{server.socket_path}"
        ais: list[Any] = [
            Redis.from_url(url, client_name=connection_name(ai)) for ai in ("AI_1", "AI_2")
        ]
        for ai in ais:
            ai.ping()
        ((level, detail),) = found(redis)
        assert level == "warning"
        assert detail.startswith("AI_1, AI_2 share the user default")
        assert "coord acl" in detail
        for ai in ais:
            ai.close()


def test_doctor_lets_the_operator_s_own_trainers_be(state_dir: Path) -> None:
    with connect(embedded.start(state_dir).url, client_name=connection_name("AI_1")) as ai:
        ai.ping()
        ((level, detail),) = [
            (check.level, check.detail) for check in check_users(ai, KEYS, is_embedded=True)
        ]
        assert level == "ok"
        assert detail.startswith("AI_1 has the operator's login")
        assert found(ai)[0][0] == "warning"


def test_doctor_says_when_it_may_not_look(server: TestServer) -> None:
    with server.client() as redis:
        redis.execute_command("ACL SETUSER", "poor", "on", ">x", "~*", "&*", "+@all", "-acl")
    with connect(f"unix://poor:x@{server.socket_path}") as poor:
        ((level, detail),) = found(poor)
    assert level == "warning"
    assert "may not look" in detail


def test_doctor_shows_no_password(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    result = CliRunner().invoke(app, ["doctor", "--state-dir", str(state_dir)])
    assert endpoint.password.get_secret_value() not in result.output
    assert "runs as process" in result.output
