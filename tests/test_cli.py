"""The coord command: what it prints, how it ends, and that nobody can forge what it prints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli import doctor, output
from cli.doctor import check_memory
from cli.main import app
from cli.output import ExitCode
from cli.serve import run_coordinator
from cli.tail import text_of
from coordinator.history import Follower, Line
from coordinator.keys import Keys
from coordinator.reads import WORK
from coordinator.settings import Settings
from coordinator.status import read_status
from tests.servers import REPOSITORY, TestServer, python_environment, wait_for

KEYS = Keys()
HOSTILE = "x\x1b[2J\n12:00:00  log 9  hub -> all\x9b31m\u202e\r\x00"
COMMANDS = [
    *("demo", "serve", "stop", "up", "down", "trainer", "validator", "status", "ais"),
    *("components", "sessions", "session", "request-feature", "collaborate", "cancel", "retry"),
    *("kick", "drain", "enroll", "rotate", "revoke", "members", "audit", "gateway", "dev-cert"),
    *("acl", "lineage", "patterns", "problems", "report"),
    *("tail", "send", "retract", "doctor", "validate", "dead list", "dead retry", "dead drop"),
]


@pytest.fixture
def coord() -> Callable[..., Result]:
    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), **more)

    return run


@pytest.fixture
def fleet(real_url: str, real_redis: Redis) -> Iterator[Redis]:
    """A server on which a coordinator is active."""
    stop_flag = threading.Event()
    settings = Settings(leader_lease_s=2)
    thread = threading.Thread(target=run_coordinator, args=(settings, real_url, stop_flag))
    thread.start()
    try:
        wait_for(lambda: real_redis.hexists(KEYS.fleet, "epoch"), what="a coordinator")
        yield real_redis
    finally:
        stop_flag.set()
        thread.join()


def pretend_ai(redis: Redis, ai: str, **fields: str) -> None:
    record = {
        "specialization": "audio",
        "capabilities": '["c"]',
        "door": ai,
        "status": "ready",
        "load": "0.5",
        "instance": "host.1.abc",
        "joined_ms": "1",
        "heartbeat_ms": "1",
    }
    redis.hset(KEYS.ai(ai), mapping=record | fields)
    redis.zadd(KEYS.leases, {ai: 1})


def append(redis: Redis, key: str, n: int, epoch: str = "e1", **fields: str) -> None:
    redis.xadd(key, {**fields, "epoch": epoch, "ms": n * 1000, "bytes": n}, id=f"{n}-0")


def append_message(redis: Redis, n: int, epoch: str = "e1", text: str = "t") -> None:
    message = {
        "message_id": "m",
        "sender_id": "AI_1",
        "message_type": "pattern_share",
        "timestamp": "2026-01-01T00:00:00",
        "payload": {"pattern": {"id": text}},
        "target_ai": None,
    }
    append(redis, KEYS.log, n, epoch, message=json.dumps(message))


def append_event(redis: Redis, n: int, epoch: str = "e1", text: str = "AI_1 joined") -> None:
    append(redis, KEYS.events, n, epoch, kind="joined", ai="AI_1", text=text, data="{}")


def begin_epochs(redis: Redis, *begins: tuple[str, int]) -> None:
    epoch = begins[-1][0]
    redis.hset(KEYS.fleet, mapping={"epoch": epoch, "epochs": json.dumps(begins), "schema": "1"})


def is_one_clean_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n") and text[:-1].isprintable()


# -- every command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(coord: Callable[..., Result], command: str) -> None:
    result = coord(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Example: coord {command}" in " ".join(result.stdout.split())


def test_exit_codes_are_in_the_help(coord: Callable[..., Result]) -> None:
    shown = " ".join(coord("--help").stdout.split())
    for code in ExitCode:
        assert f"{code.value} {code.meaning}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--namespace", "a b"], "--namespace"),
        (["trainer", "no spaces please"], "is no AI's id"),
        (["trainer", "hub"], "reserved"),
        (["send", "query", "-p", "{"], "is not JSON"),
        (["send", "query", "-p", "[]"], "must be a JSON object"),
        (["send", "query", "-p", "@/no/such"], "cannot be read"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(
    coord: Callable[..., Result], arguments: list[str], said: str
) -> None:
    result = coord(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr


def test_a_bad_setting_is_named(
    coord: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_LEASE_S", "soon")
    result = coord("status")
    assert result.exit_code == ExitCode.USAGE
    assert "COORD_LEASE_S: it should be a valid number" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        *("status", "ais", "patterns", "components", "sessions", "session x", "tail"),
        *("dead list", "members", "audit", "revoke AI_1"),
    ],
)
def test_no_server_and_an_unreachable_one_end_with_3(
    coord: Callable[..., Result], command: str, tmp_path: Path
) -> None:
    nobody = coord(*command.split(), "--state-dir", str(tmp_path / "none"))
    assert nobody.exit_code == ExitCode.NO_SERVER
    assert nobody.stderr.startswith("coord: no server: run `coord serve`")
    away = coord(*command.split(), "--redis", "unix:///no/such?password=sesame")
    assert away.exit_code == ExitCode.NO_SERVER
    assert "cannot be reached" in away.stderr
    assert is_one_clean_line(away.stderr)
    assert "sesame" not in away.stderr


def test_ctrl_c_while_it_is_loaded_shows_no_traceback(tmp_path: Path) -> None:
    """Its slowest import takes for ever here, and says when it is there."""
    (tmp_path / "typer.py").write_text(
        "import signal\nprint('loading', flush=True)\nsignal.pause()\n"
    )
    loading = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "status"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=python_environment() | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
    )
    assert loading.stdout is not None
    assert loading.stdout.readline() == "loading\n"
    loading.send_signal(signal.SIGINT)
    assert loading.communicate(timeout=20)[1] == ""
    assert loading.returncode == -signal.SIGINT


def test_an_unforeseen_fault_is_one_line_too(tmp_path: Path) -> None:
    program = "import cli.main as m; m.app = lambda: {}['a\\nb']; m.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=python_environment()
    )
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.startswith("coord: a fault of coord's own")
    assert is_one_clean_line(done.stderr)


# -- what is printed -------------------------------------------------------------------------------


def test_plain_text_obeys_nothing() -> None:
    shown = output.plain(HOSTILE)
    assert shown.isprintable()
    assert shown.startswith("x\\x1b[2J\\n12:00:00")
    assert output.plain("ä 漢 😀") == "ä 漢 😀"
    assert output.plain("\ud800") == "\\ud800"
    assert output.plain("abcdef", 4) == "a..."


def test_hostile_records_cannot_forge_lines(
    coord: Callable[..., Result], real_url: str, real_redis: Redis
) -> None:
    pretend_ai(real_redis, "AI_1", status=HOSTILE, specialization=HOSTILE)
    record = {"id": HOSTILE, "type": HOSTILE, "confidence": HOSTILE, "name": HOSTILE}
    for kind in ("pattern", "component", "feature"):
        fields = {"record": json.dumps(record), "contributor": HOSTILE, "timestamp": HOSTILE}
        fields |= {"specialization": HOSTILE, "revision": "1"}
        real_redis.hset(KEYS.record(kind, "r"), mapping=fields)
        real_redis.zadd(KEYS.records(kind), {"r": 1})
    real_redis.set(KEYS.leader, f"{HOSTILE}/1")
    letter = {"ms": "1", "door": HOSTILE, "owner": HOSTILE, "error": HOSTILE, "body": HOSTILE}
    real_redis.xadd(KEYS.dead, letter)
    commands = ("ais", "patterns", "patterns r", "components", "components r")
    for command in (*commands, "status", "dead list", "doctor"):
        for as_json in ([], ["--json"]):
            result = coord(*command.split(), *as_json, "--redis", real_url)
            assert result.exit_code in (ExitCode.OK, ExitCode.FAILED)
            assert all(line.isprintable() for line in result.stdout.split("\n"))
            assert not any(line.startswith("12:00:00") for line in result.stdout.split("\n"))


def test_scores_are_shown_as_claims(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    pattern = {"id": "p1", "type": "note", "confidence": 0.95}
    code = {"id": "c1", "name": "n", "test_coverage": 0.5, "performance_score": 0.25}
    at = ("--redis", real_url)
    assert (
        coord("send", "pattern_share", "-p", json.dumps({"pattern": pattern}), *at).exit_code == 0
    )
    assert (
        coord("send", "code_share", "-p", "-", *at, input=json.dumps({"code": code})).exit_code == 0
    )
    shown = coord("patterns", *at).stdout
    assert "claimed confidence" in shown
    assert "0.95" in shown
    shown = coord("components", *at).stdout
    assert "no features" in shown
    assert "0.25" not in shown
    report = json.dumps({"component_id": "c1", "performance": {"faults": 7}})
    assert coord("send", "performance_report", "-p", report, *at).exit_code == 0
    whole = coord("components", "c1", *at).stdout.splitlines()
    assert whole[-2:] == ["    claimed test_coverage: 0.5", "    claimed performance_score: 0.25"]
    reported = whole.index("    faults: 7") - 1
    assert whole[reported].startswith("claimed performance, reported by operator at ")
    listed = json.loads(coord("patterns", "--json", *at).stdout)
    assert listed["patterns"][0]["pattern"] == pattern
    assert listed["total"] == 1
    assert "p1" in coord("patterns", "p1", *at).stdout.splitlines()[0]
    assert coord("retract", "p1", *at).exit_code == 0
    assert json.loads(coord("patterns", "--json", *at).stdout)["total"] == 0


def test_one_record_is_shown_whole_and_its_code_by_lines(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    code = {"id": "c1", "code": "def f():\n\treturn 1\n", "contributor": "AI_9", "n": [1, 2]}
    at = ("--redis", real_url)
    assert coord("send", "code_share", "-p", json.dumps({"code": code}), *at).exit_code == 0
    shown = coord("components", "c1", *at).stdout.splitlines()
    own, claimed = shown[: shown.index("code:")], shown[shown.index("code:") + 1 :]
    assert "contributor: operator" in own
    assert claimed == [
        "    id: c1",
        "    code:",
        "        def f():",
        "            return 1",
        "    contributor: AI_9",
        "    n: [1, 2]",
    ]
    assert json.loads(coord("components", "c1", "--json", *at).stdout)["code"] == code
    missing = coord("patterns", "c1", *at)
    assert missing.exit_code == ExitCode.FAILED
    assert "there is no pattern c1: `coord patterns` lists them" in missing.stderr


# -- status ----------------------------------------------------------------------------------------


def test_status_has_the_names_that_the_clients_know(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    pretend_ai(fleet, "AI_1")
    fleet.hset(KEYS.totals, "performance_report", 3)
    fleet.zadd(KEYS.validations, {"component:c": 1, "feature:f": 2})
    result = coord("status", "--json", "--redis", real_url)
    assert result.exit_code == ExitCode.OK
    found = json.loads(result.stdout)
    assert found["connected_ais"] == 1
    assert found["ai_list"] == ["AI_1"]
    assert found["performance_reports"] == found["total_messages"] == 3
    for name in ("shared_patterns", "shared_components", "collective_features"):
        assert found[name] == 0
    assert found["active_collaborations"] == 0
    assert found["coordinator"]["active"].count(".") == 2
    assert found["coordinator"]["epoch"]
    assert found["server"]["append_only_file"] is False
    assert found["ais"][0]["ai_id"] == "AI_1"
    shown = coord("status", "--redis", real_url).stdout
    assert "AI_1" in shown
    assert "a crash of the server loses messages" in shown
    assert ["validations", "2", "wait"] in [line.split() for line in shown.splitlines()]
    fleet.zadd(KEYS.validations, {f"component:c{n}": n for n in range(20)})
    assert "22 wait: start another `coord validator`" in coord("status", "--redis", real_url).stdout


def test_ais_shows_what_each_has_done(
    coord: Callable[..., Result], real_url: str, real_redis: Redis
) -> None:
    pretend_ai(real_redis, "AI_1")
    pretend_ai(real_redis, "AI_2")
    done = {"units_completed": 7, "collaborations_completed": 5, "features_implemented": 3}
    real_redis.hset(KEYS.member("AI_1"), mapping=done)
    found = json.loads(coord("ais", "--json", "--redis", real_url).stdout)["ais"]
    assert {ai["ai_id"]: [ai[name] for name in WORK] for ai in found} == {
        "AI_1": [7, 0, 5, 3],
        "AI_2": [0, 0, 0, 0],
    }
    shown = coord("ais", "--redis", real_url).stdout.splitlines()
    row = next(line for line in shown if "AI_1" in line).split()
    assert row[-5:] == ["0", "7", "5", "3", "c"]


def test_status_without_a_coordinator_ends_with_4(
    coord: Callable[..., Result], real_url: str, real_redis: Redis
) -> None:
    real_redis.sadd(KEYS.doors, "AI_1", "AI_2")
    real_redis.xadd(KEYS.ingress("AI_1"), {"body": "b"}, id="1000-0")
    result = coord("status", "--redis", real_url)
    assert result.exit_code == ExitCode.NO_COORDINATOR
    assert "none is active" in result.stdout
    assert "1 messages wait, the oldest for" in result.stdout
    found = read_status(real_redis, KEYS, 1_000_000)
    assert found["coordinator"]["ingress"]["entries"] == 1
    assert found["coordinator"]["ingress"]["oldest_age_ms"] > 1_000_000


def test_status_shows_the_first_50_of_many(
    coord: Callable[..., Result], real_url: str, real_redis: Redis
) -> None:
    for n in range(60):
        pretend_ai(real_redis, f"AI_{n:02}")
    shown = coord("status", "--redis", real_url).stdout
    assert "AI_49" in shown
    assert "AI_50" not in shown
    assert "and 10 more" in shown
    assert len(read_status(real_redis, KEYS, 1, ais_limit=5)["ais"]) == 5


def test_status_counts_what_retention_has_cut(real_redis: Redis) -> None:
    append_message(real_redis, 1)
    append_message(real_redis, 2)
    append_event(real_redis, 1)
    real_redis.xdel(KEYS.log, "2-0")
    real_redis.xtrim(KEYS.events, maxlen=0)
    found = read_status(real_redis, KEYS, 1)["coordinator"]
    assert (found["log"], found["events"]) == (2, 1)


def test_status_shows_gateways_and_by_which_door_each_came(
    coord: Callable[..., Result], real_url: str, real_redis: Redis
) -> None:
    pretend_ai(real_redis, "AI_1")
    pretend_ai(real_redis, "AI_2", door="gw:one")
    now_ms = int(real_redis.time()[0]) * 1000
    real_redis.zadd(KEYS.gateways, {"one": now_ms - 2_000, "gone": now_ms - 3_600_000})
    shown = coord("status", "--redis", real_url).stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in shown if line.strip()}
    assert rows["gateways"][1] == "one"
    assert "gone" not in " ".join(shown)
    assert (rows["AI_1"][4], rows["AI_2"][4]) == ("Redis", "gw:one")
    assert json.loads(coord("status", "--redis", real_url, "--json").stdout)["coordinator"][
        "gateways"
    ][0].keys() == {"id", "address", "tls", "connections", "seen_age_ms"}


def test_standbys_are_those_seen_lately(real_redis: Redis) -> None:
    real_redis.zadd(KEYS.standby, {"old": 1, "here": 100_000})
    assert read_status(real_redis, KEYS, 101_000)["coordinator"]["standby"] == ["here"]


# -- tail ------------------------------------------------------------------------------------------


def lines_of(follower: Follower) -> list[Line]:
    return [line for lines in iter(lambda: follower.read(0), []) for line in lines]


def read_all(follower: Follower) -> list[str]:
    return [f"{line.kind} {line.source} {line.first}-{line.n}" for line in lines_of(follower)]


def test_follower_merges_by_time_and_begins_at_the_end(redis: Redis) -> None:
    begin_epochs(redis, ("e1", 0))
    append_message(redis, 1)
    follower = Follower(redis, KEYS)
    assert read_all(follower) == []
    append_message(redis, 2)
    append_message(redis, 4)
    append_event(redis, 3)
    assert read_all(follower) == [
        "message log 2-2",
        "gap events 1-2",
        "event events 3-3",
        "gap log 3-3",
        "message log 4-4",
    ]


def test_follower_begins_at_a_number_of_the_log(redis: Redis) -> None:
    begin_epochs(redis, ("e1", 0))
    for n in range(1, 8):
        append_message(redis, n)
        append_event(redis, n)
    redis.xtrim(KEYS.log, maxlen=4, approximate=False)
    follower = Follower(redis, KEYS)
    follower.begin_at(6)
    assert read_all(follower)[:2] == ["message log 6-6", "event events 6-6"]
    follower.begin_at(0)
    assert "gap log 1-3" in read_all(follower)


def test_follower_goes_back_when_the_server_forgot(redis: Redis) -> None:
    """Seen up to 7, the server restored to 4 and gone on to 9 in another epoch."""
    begin_epochs(redis, ("e1", 0))
    for n in range(1, 8):
        append_message(redis, n)
    follower = Follower(redis, KEYS)
    redis.delete(KEYS.log)
    begin_epochs(redis, ("e1", 0), ("e2", 4))
    for n in range(1, 10):
        append_message(redis, n, "e1" if n <= 4 else "e2")
    lines = lines_of(follower)
    assert [(line.kind, line.n) for line in lines] == [
        ("epoch", 4),
        *[("message", n) for n in range(5, 10)],
    ]
    assert lines[0].data == {"forgot": 3, "events_n": 0}
    assert "the server has forgotten 3" in text_of(lines[0])


def test_follower_goes_back_among_the_events_too(redis: Redis) -> None:
    """Seen up to 7; the server was restored to 4, and the first of those are cut by now."""
    begin_epochs(redis, ("e1", 0))
    for n in range(1, 8):
        append_event(redis, n)
    follower = Follower(redis, KEYS)
    redis.delete(KEYS.events)
    for n in range(1, 10):
        append_event(redis, n, "e1" if n <= 4 else "e2")
    redis.xtrim(KEYS.events, maxlen=7, approximate=False)
    begin_epochs(redis, ("e1", 0), ("e2", 0))
    assert read_all(follower) == ["epoch log 0-0", *[f"event events {n}-{n}" for n in range(5, 10)]]


def test_follower_counts_from_the_oldest_kept_when_all_it_saw_was_cut(redis: Redis) -> None:
    begin_epochs(redis, ("e1", 0))
    append_event(redis, 1)
    follower = Follower(redis, KEYS)
    redis.xtrim(KEYS.events, maxlen=0, approximate=False)
    begin_epochs(redis, ("e1", 0), ("e2", 0))
    append_event(redis, 2, "e2")
    assert read_all(follower) == ["epoch log 0-0", "event events 2-2"]


def test_follower_is_not_fooled_by_an_epoch_that_begins_while_it_reads(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen up to 7; when it looks again 8 is there, but 5 to 7 have become other messages."""
    begin_epochs(redis, ("e1", 0))
    for n in range(1, 8):
        append_message(redis, n)
    follower = Follower(redis, KEYS)
    xread = redis.xread

    def restored(*arguments: Any) -> Any:
        monkeypatch.undo()
        redis.delete(KEYS.log)
        begin_epochs(redis, ("e1", 0), ("e2", 4))
        for n in range(5, 9):
            append_message(redis, n, "e2")
        return xread(*arguments)

    monkeypatch.setattr(redis, "xread", restored)
    assert read_all(follower) == []
    assert read_all(follower) == ["epoch log 4-4", *[f"message log {n}-{n}" for n in range(5, 9)]]


def test_follower_begins_anew_on_an_empty_server(redis: Redis) -> None:
    begin_epochs(redis, ("e1", 0))
    append_message(redis, 1)
    append_event(redis, 1)
    follower = Follower(redis, KEYS)
    redis.delete(KEYS.log, KEYS.events)
    begin_epochs(redis, ("e2", 0))
    append_message(redis, 1, "e2")
    assert read_all(follower) == ["epoch log 0-0", "message log 1-1"]


def test_tail_lines_are_one_line_each(redis: Redis) -> None:
    append_message(redis, 1, text=HOSTILE)
    append_event(redis, 1, text=HOSTILE)
    follower = Follower(redis, KEYS)
    follower.begin_at(0)
    for line in lines_of(follower):
        assert text_of(line).isprintable()


def test_tail_prints_json_lines_until_interrupted(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server("--appendonly", "yes")
    with server.client() as redis:
        begin_epochs(redis, ("e1", 0))
        append_message(redis, 1)
    tail = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "tail", "--from", "0", "--json", "--redis", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=python_environment(),
    )
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["message_type"] == "pattern_share"
    server.restart()
    with server.client() as redis:
        begin_epochs(redis, ("e1", 0), ("e2", 1))
        append_event(redis, 1, "e2")
    assert json.loads(tail.stdout.readline())["epoch"] == "e2"
    assert json.loads(tail.stdout.readline())["event"] == "joined"
    tail.send_signal(signal.SIGINT)
    _, complaints = tail.communicate(timeout=20)
    assert tail.returncode == ExitCode.OK
    assert "Traceback" not in complaints


# -- send, dead, doctor ----------------------------------------------------------------------------


def test_send_says_whether_it_took_effect(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    at = ("--redis", real_url)
    sent = coord("send", "query", "-p", '{"what": "counts"}', "--json", *at)
    assert sent.exit_code == ExitCode.OK
    assert len(json.loads(sent.stdout)["message_id"]) == 32
    refused = coord("send", "pattern_share", *at)
    assert refused.exit_code == ExitCode.FAILED
    assert "payload.pattern is missing" in refused.stderr
    assert is_one_clean_line(refused.stderr)
    unknown = coord("send", "query", "-p", '{"what": "counts"}', "--to", "AI_9", *at)
    assert unknown.exit_code == ExitCode.FAILED
    assert coord("retract", "nothing", *at).exit_code == ExitCode.FAILED


def test_send_of_an_unknown_type_is_refused(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    refused = coord("send", "no_such_type", "--redis", real_url)
    assert refused.exit_code == ExitCode.FAILED
    assert "message_type 'no_such_type' is unknown" in refused.stderr


def test_send_without_a_coordinator_ends_with_4(
    coord: Callable[..., Result], real_url: str
) -> None:
    result = coord("send", "query", "--wait", "0.1", "--redis", real_url)
    assert result.exit_code == ExitCode.NO_COORDINATOR
    assert "it is queued" in result.stderr


def test_dead_letters_are_listed_tried_again_and_dropped(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    at = ("--redis", real_url)
    assert "no dead letters" in coord("dead", "list", *at).stdout
    body = {
        "message_id": "1",
        "sender_id": "operator",
        "message_type": "pattern_share",
        "timestamp": "2026-01-01T00:00:00",
        "payload": {"pattern": {"id": "p1"}},
    }
    letter = {"door": "operator", "owner": "operator", "instance": "i", "n": 1, "ms": 1}
    letter |= {"error": "KeyError: 'x'"}
    first = fleet.xadd(KEYS.dead, {**letter, "body": json.dumps(body)}).decode()
    second = fleet.xadd(KEYS.dead, {**letter, "body": "not json"}).decode()
    listed = json.loads(coord("dead", "list", "--json", *at).stdout)["dead_letters"]
    assert [entry["id"] for entry in listed] == [second, first]
    assert listed[1]["message_type"] == "pattern_share"
    assert "KeyError" in coord("dead", "list", *at).stdout
    assert coord("dead", "retry", first, *at).exit_code == ExitCode.OK
    assert fleet.exists(KEYS.record("pattern", "p1"))
    assert coord("dead", "drop", second, *at).exit_code == ExitCode.OK
    assert fleet.xlen(KEYS.dead) == 0
    assert coord("dead", "drop", second, *at).exit_code == ExitCode.FAILED


def test_doctor_names_what_is_wrong_and_the_cure(
    coord: Callable[..., Result], real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_LEASES", "1")
    monkeypatch.setenv("COORD_GATEWAY_LISTEN", "127.0.0.1:6001")
    result = coord("doctor", "--redis", real_url)
    assert result.exit_code == ExitCode.FAILED
    assert "none is active, so messages only pile up: run `coord serve`" in result.stdout
    assert "COORD_LEASES is no setting of coord: did you mean COORD_LEASE_S?" in result.stdout
    assert "COORD_GATEWAY_LISTEN" not in result.stdout
    assert "CONFIG SET appendonly yes" in result.stdout


def test_doctor_is_content_with_a_fleet_that_runs(
    coord: Callable[..., Result], fleet: Redis, real_url: str
) -> None:
    result = coord("doctor", "--json", "--redis", real_url)
    assert result.exit_code == ExitCode.OK
    found = json.loads(result.stdout)
    assert found["well"]
    levels = {check["name"]: check["level"] for check in found["checks"]}
    assert levels["coordinator"] == levels["clocks"] == levels["embedded server"] == "ok"


@pytest.mark.parametrize(
    ("used_mib", "most_mib", "level"),
    [(50, 0, "ok"), (50, 100, "ok"), (95, 100, "warning"), (100, 100, "wrong")],
)
def test_doctor_looks_at_memory(
    real_redis: Redis, monkeypatch: pytest.MonkeyPatch, used_mib: int, most_mib: int, level: str
) -> None:
    told = {"used_memory": used_mib << 20, "maxmemory": most_mib << 20}
    monkeypatch.setattr(real_redis, "info", lambda section: told)
    assert check_memory(real_redis).level == level


def test_a_payload_without_end_is_refused(coord: Callable[..., Result], real_url: str) -> None:
    result = coord("send", "pattern_share", "-p", "@/dev/zero", "--redis", real_url)
    assert result.exit_code == ExitCode.USAGE
    assert "/dev/zero has more than 16777216 characters" in result.stderr


def test_doctor_refuses_an_open_state_directory(
    coord: Callable[..., Result], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    result = coord("doctor", "--state-dir", str(tmp_path))
    assert result.exit_code == ExitCode.FAILED
    assert "chmod 700" in result.stdout


def test_doctor_says_that_a_state_directory_cannot_be(
    coord: Callable[..., Result], real_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COORD_REDIS_URL", raising=False)

    def check(path: Path, *more: str) -> tuple[str, str]:
        shown = json.loads(coord("doctor", "--state-dir", str(path), *more, "--json").stdout)
        by_name = {one["name"]: one for one in shown["checks"]}
        return by_name["state directory"]["level"], by_name["state directory"]["detail"]

    (tmp_path / "file").write_text("")
    level, detail = check(tmp_path / "a" / "b")
    assert (level, detail) == ("ok", f"{tmp_path}/a/b will be made when it is needed")
    level, detail = check(tmp_path / "file" / "a" / "b")
    assert level == "wrong"
    assert f"cannot be made in {tmp_path}/file: name another by COORD_STATE_DIR" in detail
    assert check(tmp_path / "file" / "a", "--redis", real_url)[0] == "warning"


def test_doctor_compares_versions_as_numbers() -> None:
    assert doctor._check_packages(["redis>=6.2", "rq>=2.9"]).level == "ok"
    assert doctor._check_packages(["redis>=999"]).detail.endswith("run `pip install 'redis>=999'`")
    assert "is missing" in doctor._check_packages(["no-such-package>=1"]).detail
