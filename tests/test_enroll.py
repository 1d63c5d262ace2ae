"""coord enroll, rotate, revoke, members and audit, against a coordinator."""

from __future__ import annotations

import io
import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
import typer
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from typer.testing import CliRunner, Result

from cli.inputs import seconds_of, token_in
from cli.main import app
from cli.output import ExitCode
from coordinator.acl import set_user
from coordinator.audit import read_audit
from coordinator.connection import connect
from coordinator.credentials import digest, ensure_pepper, matching, read_credentials
from coordinator.enrolled import read_enrolled
from coordinator.keys import Keys
from coordinator.operator import send_as_operator
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.fleet import FleetUnderTest, dump
from tests.servers import TestServer

KEYS = Keys()
TOKEN = re.compile(r"coord_[a-z0-9]{8}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}")
WEAK = "sesame1"

Coord = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(state_dir=tmp_path / "state")
    ensure_pepper(settings)
    return settings


@pytest.fixture
def coord(real_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Coord:
    monkeypatch.setenv("COORD_REDIS_URL", real_url)
    monkeypatch.setenv("COORD_STATE_DIR", str(settings.state_dir))

    def run(*arguments: str, code: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(app, list(arguments), **more)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def fleet(real_url: str, real_redis: Redis) -> Iterator[RealFleet]:
    with RealFleet(real_url, lease_s=5) as fleet:
        yield fleet


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands wait for a coordinator for 0.1 s instead of 10."""
    monkeypatch.setattr(
        "cli.orders.send_as_operator", lambda *given: send_as_operator(*given[:-1], timeout_s=0.1)
    )
    monkeypatch.setattr(
        "coordinator.revoking.send_as_operator",
        lambda *given: send_as_operator(*given, timeout_s=0.1),
    )


def token_of(result: Result) -> str:
    """The token, which is alone on standard output."""
    token = result.stdout.removesuffix("\n")
    assert TOKEN.fullmatch(token)
    return token


def is_good(redis: Redis, settings: Settings, ai: str, token: str) -> bool:
    """Whether a gateway would let somebody in by it now."""
    presented = digest(ensure_pepper(settings), token)
    seconds, micros = redis.time()
    now_ms = seconds * 1000 + micros // 1000
    found = matching(read_credentials(redis, KEYS, ai), presented)
    return found is not None and found.is_live(now_ms)


def members(coord: Coord) -> dict[str, Any]:
    return {
        item["ai_id"]: item for item in json.loads(coord("members", "--json").stdout)["members"]
    }


# -- durations -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1.5h", 5400),
        ("15m", 900),
        ("30d", 30 * 86_400),
        ("0s", 0),
        ("3650d", 3.1536e8),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@given(st.text())
def test_nothing_else_is_a_duration(text: str) -> None:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?[smhd]", text):
        with pytest.raises(typer.BadParameter, match="is no duration"):
            seconds_of(text)


@pytest.mark.parametrize("text", ["3651d", "1e3s", "٣d", "99999999999s", "-1s"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="at most 3650d"):
        seconds_of(text)


# -- enrolling -------------------------------------------------------------------------------------


def test_a_token_is_printed_once_and_alone(
    coord: Coord, fleet: RealFleet, settings: Settings
) -> None:
    result = coord("enroll", "AI_1", "--specialization", "networking")
    token = token_of(result)
    assert is_good(fleet.redis, settings, "AI_1", token)
    assert not is_good(fleet.redis, settings, "AI_1", token + "x")
    assert not is_good(fleet.redis, settings, "AI_2", token)
    assert token not in result.stderr
    assert "no gateway listens: `coord gateway`" in result.stderr
    assert "COORD_URL=coord://HOST:PORT COORD_TOKEN_FILE=AI_1.token" in result.stderr
    assert "--specialization networking" in result.stderr
    assert token not in str(dump(fleet.redis))


@pytest.mark.parametrize(
    ("address", "tls", "way"),
    [
        ("127.0.0.1:6001", "0", "COORD_URL=coord://127.0.0.1:6001 COORD_TOKEN_FILE"),
        ("[::1]:6001", "0", "COORD_URL=coord://[::1]:6001 COORD_TOKEN_FILE"),
        ("0.0.0.0:6001", "1", "COORD_URL=coords://HOST:6001 COORD_TLS_CA=ca.pem COORD_TOKEN"),
        ("[::]:6001", "1", "COORD_URL=coords://HOST:6001 COORD_TLS_CA=ca.pem COORD_TOKEN_FILE"),
    ],
)
def test_it_is_told_where_a_gateway_listens(
    coord: Coord, fleet: RealFleet, address: str, tls: str, way: str
) -> None:
    now_ms = int(fleet.redis.time()[0]) * 1000
    fleet.redis.zadd(KEYS.gateways, {"here": now_ms, "ended": now_ms, "silent": now_ms})
    for gateway in ("here", "ended"):
        fleet.redis.hset(KEYS.gateway(gateway), mapping={"address": address, "tls": tls})
    said = coord("enroll", "AI_1").stderr
    assert way in said
    assert said.count("COORD_URL") == 1
    assert "no gateway listens" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only-type", "pattern_shar"), "did you mean pattern_share?"),
        (("--only-type", "zzz"), "known are hello, heartbeat"),
        (("--only-type", "kick"), "is no message type of role trainer"),
        (("--role", "operator", "--only-type", "kik"), "did you mean kick?"),
    ],
)
def test_a_type_that_it_could_never_send_is_refused(
    coord: Coord, real_redis: Redis, arguments: tuple[str, ...], said: str
) -> None:
    result = coord("enroll", "AI_1", *arguments, code=ExitCode.USAGE)
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not real_redis.keys("*")


def test_a_specialization_that_looks_misspelt_is_asked_about(
    coord: Coord, fleet: RealFleet
) -> None:
    assert "did you mean file_system?" in coord("enroll", "A", "-s", "filesystem").stderr
    assert "did you mean" not in coord("enroll", "B", "-s", "file_system").stderr
    assert "did you mean" not in coord("enroll", "C", "-s", "poetry").stderr


def test_a_validator_is_told_to_work_on_redis(coord: Coord, fleet: RealFleet) -> None:
    said = coord("enroll", "V_1", "--role", "validator").stderr
    assert "coord validator V_1\n" in said
    assert "coord acl V_1 --apply" in said
    assert "COORD_URL" not in said
    assert "gateway" not in said
    assert "coord trainer" not in said


def test_what_it_may_do_is_stored_and_shown(coord: Coord, fleet: RealFleet) -> None:
    restrictions = ("--only-specialization", "audio", "--only-type", "pattern_share")
    shown = coord(
        *("enroll", "AI_1", "--specialization", "audio", "--role", "validator"),
        *(*restrictions, "--expires", "30d", "--json"),
    )
    handed = json.loads(shown.stdout)
    found = members(coord)["AI_1"]
    (token,) = found.pop("tokens")
    assert found == {
        "ai_id": "AI_1",
        "role": "validator",
        "specializations": ["audio"],
        "message_types": ["pattern_share"],
        "is_revoked": False,
        "is_here": False,
    }
    assert set(token) == {"key_id", "created_ms", "expires_ms", "is_weak", "is_live"}
    assert token["key_id"] == handed["key_id"] == handed["token"].split("_")[1]
    assert token["expires_ms"] == handed["expires_ms"]
    assert 0 < token["created_ms"] + 30 * 86_400_000 - token["expires_ms"] + 60_000 < 120_000
    page = coord("members").stdout
    for text in ("AI_1", "validator", "audio", "pattern_share", token["key_id"], "30 days left"):
        assert text in page


def test_it_goes_into_a_file_of_this_user_alone(
    coord: Coord, fleet: RealFleet, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("of another\n")
    path.chmod(0o644)
    result = coord("enroll", "AI_1", "--out", str(path))
    token = path.read_text().removesuffix("\n")
    assert is_good(fleet.redis, settings, "AI_1", token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in result.output
    assert f"COORD_TOKEN_FILE={path}" in result.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state", "token"]


@pytest.mark.parametrize("source", ["file", "input"])
def test_a_token_that_is_brought_along(
    coord: Coord, fleet: RealFleet, settings: Settings, tmp_path: Path, source: str
) -> None:
    path = tmp_path / "brought"
    path.write_text(f"{WEAK}\n")
    arguments = ("enroll", "AI_1", "--token-file", str(path) if source == "file" else "-")
    result = coord(*arguments, input=f"{WEAK}\n")
    assert is_good(fleet.redis, settings, "AI_1", WEAK)
    assert result.stdout == ""
    assert "warning: this token is weak: it has 7 characters" in result.stderr
    assert members(coord)["AI_1"]["tokens"][0]["is_weak"]
    assert "weak" in coord("members").stdout


def test_a_terminal_is_asked_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO("what is typed is not read from here")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("cli.inputs.getpass", lambda prompt: WEAK)
    assert token_in("-") == WEAK
    assert terminal.tell() == 0


def test_what_is_refused_changes_no_file(coord: Coord, fleet: RealFleet, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("the one it has\n")
    refused = coord("rotate", "AI_Nobody", "--out", str(path), code=ExitCode.FAILED)
    assert "AI_Nobody" in refused.stderr
    assert path.read_text() == "the one it has\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state", "token"]


@pytest.mark.usefixtures("_impatient")
def test_with_no_coordinator_it_is_queued_and_the_token_is_not_lost(
    coord: Coord, real_redis: Redis, real_url: str, settings: Settings
) -> None:
    result = coord("enroll", "AI_1", code=ExitCode.NO_COORDINATOR)
    token = token_of(result)
    assert "it is queued" in result.stderr
    with RealFleet(real_url) as fleet:
        coord("send", "retract", "--payload", '{"id": "none"}', code=ExitCode.FAILED)
        assert is_good(fleet.redis, settings, "AI_1", token)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["enroll", "hub"], ExitCode.USAGE, "reserved"),
        (["enroll", "AI_1", "--expires", "soon"], ExitCode.USAGE, "is no duration"),
        (["enroll", "AI_1", "--role", "king"], ExitCode.USAGE, "king"),
        (["enroll", "AI_1", "--only-specialization", "audio"], ExitCode.USAGE, "leaves out"),
        (["enroll", "AI_1", "--token-file", "/no/such"], ExitCode.USAGE, "there is no file"),
        (["enroll", "AI_1", "--token-file", "/"], ExitCode.USAGE, "cannot be read"),
        (["enroll", "AI_1", "--out", "/"], ExitCode.FAILED, "is no file"),
        (["enroll", "AI_1", "--out", "/no/such/token"], ExitCode.FAILED, "cannot be written"),
        (["audit", "--kind", "gossip"], ExitCode.USAGE, "gossip"),
    ],
)
def test_wrong_usage(
    coord: Coord, real_redis: Redis, arguments: list[str], code: ExitCode, said: str
) -> None:
    result = coord(*arguments, code=code)
    assert said in " ".join(result.stderr.split())
    assert set(dump(real_redis)) <= {KEYS.fleet}


def test_an_empty_input_is_no_token(coord: Coord, real_redis: Redis) -> None:
    result = coord("enroll", "AI_1", "--token-file", "-", input="\n", code=ExitCode.USAGE)
    assert "a token must be one line" in " ".join(result.stderr.split())
    assert not real_redis.keys("*")


def test_without_a_pepper_nothing_is_made(coord: Coord, real_redis: Redis, tmp_path: Path) -> None:
    other = tmp_path / "other"
    result = coord("enroll", "AI_1", "--state-dir", str(other), code=ExitCode.FAILED)
    assert "there is no pepper" in result.stderr
    assert not real_redis.keys("*")
    assert not other.exists()


def test_with_another_pepper_than_the_fleets_nothing_is_sent(
    coord: Coord, fleet: RealFleet, tmp_path: Path
) -> None:
    coord("enroll", "AI_1")
    before = dump(fleet.redis)
    other = Settings(state_dir=tmp_path / "other")
    ensure_pepper(other)
    for command in ("enroll", "rotate"):
        result = coord(command, "AI_1", "--state-dir", str(other.state_dir), code=ExitCode.FAILED)
        assert "is not the one of fleet 'coord'" in result.stderr
    assert dump(fleet.redis) == before


# -- rotating and revoking -------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "old_works"), [((), False), (("--grace", "1h"), True)])
def test_rotating(
    coord: Coord, fleet: RealFleet, settings: Settings, grace: tuple[str, ...], old_works: bool
) -> None:
    old = token_of(coord("enroll", "AI_1"))
    rotated = coord("rotate", "AI_1", *grace)
    new = token_of(rotated)
    assert ("good for another 60 min: bring" in rotated.stderr) == old_works
    assert is_good(fleet.redis, settings, "AI_1", new)
    assert is_good(fleet.redis, settings, "AI_1", old) == old_works


def test_revoking_shuts_it_out(coord: Coord, fleet: RealFleet, settings: Settings) -> None:
    token = token_of(coord("enroll", "AI_1"))
    assert "revoked AI_1" in coord("revoke", "AI_1", "--reason", "stolen").stdout
    assert not is_good(fleet.redis, settings, "AI_1", token)
    found = members(coord)["AI_1"]
    assert (found["is_revoked"], found["tokens"]) == (True, [])
    assert "revoked" in coord("members").stdout


def test_revoking_one_token_leaves_the_other(
    coord: Coord, fleet: RealFleet, settings: Settings
) -> None:
    tokens = [token_of(coord("enroll", "AI_1")) for _ in range(2)]
    key_id = tokens[0].split("_")[1]
    assert f"revoked token {key_id} of AI_1" in coord("revoke", "AI_1", "--key", key_id).stdout
    assert [is_good(fleet.redis, settings, "AI_1", token) for token in tokens] == [False, True]
    assert not members(coord)["AI_1"]["is_revoked"]


@pytest.mark.usefixtures("_impatient")
def test_revoking_cuts_its_redis_user_off_also_with_no_coordinator(
    coord: Coord, start_server: Callable[..., TestServer]
) -> None:
    server = start_server()
    with server.client() as redis:
        set_user(redis, KEYS, "AI_1", "a-password")
        theirs = connect(f"unix://coord%3AAI_1:a-password@{server.socket_path}")
        with theirs, theirs.client() as open_connection:
            assert open_connection.ping()
            result = coord(*("revoke", "AI_1", "--redis", server.url), code=ExitCode.NO_COORDINATOR)
            with pytest.raises(redis_py.ConnectionError):
                open_connection.ping()
            with pytest.raises(redis_py.AuthenticationError):
                open_connection.ping()
    assert "warning: the server has no file for its users" in result.stderr


@pytest.mark.usefixtures("_impatient")
def test_who_may_not_remove_a_redis_user_is_told_and_the_rest_is_done(
    coord: Coord, start_server: Callable[..., TestServer]
) -> None:
    server = start_server()
    with server.client() as redis:
        redis.execute_command("ACL SETUSER clerk on >pw ~* &* +@all -acl")
        url = f"unix://clerk:pw@{server.socket_path}"
        result = coord("revoke", "AI_1", "--redis", url, code=ExitCode.NO_COORDINATOR)
        assert redis.xlen(KEYS.ingress("operator")) == 1
    assert "warning: a Redis user of AI_1 would be left" in result.stderr


def test_members_are_those_enrolled(coord: Coord, fleet: RealFleet) -> None:
    assert "nobody is enrolled" in coord("members").stdout
    coord("enroll", "AI_1")
    with fleet.client("AI_1"), fleet.client("AI_Other"):
        assert {ai: item["is_here"] for ai, item in members(coord).items()} == {"AI_1": True}


# -- the audit -------------------------------------------------------------------------------------


def test_every_act_is_in_the_audit_newest_first(coord: Coord, fleet: RealFleet) -> None:
    coord("enroll", "AI_1")
    coord("enroll", "AI_2")
    coord("rotate", "AI_1")
    coord("revoke", "AI_1")
    with fleet.client("AI_3"):
        coord("kick", "AI_3", "--reason", "noise")
    coord("send", "retract", "--payload", '{"id": "none"}', code=ExitCode.FAILED)

    def acts(*arguments: str) -> list[tuple[str, str]]:
        events = json.loads(coord("audit", "--json", *arguments).stdout)["events"]
        return [(event["kind"], event["ai"]) for event in events]

    assert acts() == [
        ("refused", "operator"),
        ("kicked", "AI_3"),
        ("revoked", "AI_1"),
        ("rotated", "AI_1"),
        ("enrolled", "AI_2"),
        ("enrolled", "AI_1"),
    ]
    assert acts("--ai", "AI_1", "--limit", "2") == [("revoked", "AI_1"), ("rotated", "AI_1")]
    assert acts("--kind", "enrolled") == [("enrolled", "AI_2"), ("enrolled", "AI_1")]
    assert "no enrolments, refusals or kicks" in coord("audit", "--ai", "AI_9").stdout
    assert "noise" in coord("audit").stdout


def test_no_token_is_anywhere_but_where_it_is_handed_out(
    coord: Coord, fleet: RealFleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    tokens = [token_of(coord("enroll", "AI_1")), token_of(coord("rotate", "AI_1"))]
    coord("enroll", "AI_2", "--token-file", "-", input=f"{WEAK}\n")
    shown = [
        coord(command, *options).output
        for command in ("members", "audit", "status", "doctor", "ais")
        for options in ((), ("--json",))
    ]
    for place in (caplog.text, str(dump(fleet.redis)), *shown):
        assert not [token for token in (*tokens, WEAK) if token in place]
    for ai in ("AI_1", "AI_2"):
        for credential in read_credentials(fleet.redis, KEYS, ai):
            assert credential.digest not in "".join(shown)


def test_no_option_takes_a_secret() -> None:
    """`ps` shows arguments."""
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    options = {
        option
        for command in commands
        for one in command.load().params
        for option in one.opts
        if not getattr(one, "is_flag", False)
    }
    words = ("token", "password", "pepper", "secret", "key")
    assert {option for option in options if any(word in option for word in words)} <= {
        "--token-file",
        "--key",
        "--tls-key",
    }


# -- reads -----------------------------------------------------------------------------------------


def test_an_audit_goes_back_through_all_that_is_kept(redis: Redis) -> None:
    for n in range(1, 1201):
        kind = "refused" if n in (1, 2, 500, 501, 1200) else "joined"
        fields = {"kind": kind, "ai": f"AI_{n}", "text": "t", "data": "{}", "ms": n, "epoch": "e"}
        redis.xadd(KEYS.events, fields, id=f"{n}-0")  # type: ignore[arg-type]
    assert [event["n"] for event in read_audit(redis, KEYS, 100)] == [1200, 501, 500, 2, 1]
    assert [event["n"] for event in read_audit(redis, KEYS, 3)] == [1200, 501, 500]
    assert [event["n"] for event in read_audit(redis, KEYS, 3, ai="AI_2")] == [2]


def test_nobody_is_enrolled_by_being_there(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b")
    assert read_enrolled(redis, fleet.keys, 0) == []
