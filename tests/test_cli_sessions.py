"""The commands for what AIs do together: asked for, looked at, steered, and counted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Worker
from typer.testing import CliRunner, Result

from cli.main import app
from cli.output import ExitCode
from coordinator.blocking import Client
from coordinator.session_reads import read_open_work, read_opened, read_progress, read_session
from coordinator.status import read_status
from reports.sessions import kind_of, outcome_of, progress_of, workers_of
from tests.clients import RealFleet
from tests.fleet import FleetUnderTest
from tests.servers import python_environment

pytestmark = pytest.mark.one_server

PLAN = [
    {"name": "first", "kind": "measure", "tries": 1},
    {"name": "second", "kind": "measure", "tries": 1, "needs": ["first"]},
]
HOSTILE = "x\x1b[2J\nforged\x9b31m"

Run = Callable[..., Result]


@pytest.fixture
def fleet(real_url: str, real_redis: Redis) -> Iterator[RealFleet]:
    with RealFleet(real_url) as fleet:
        yield fleet


@pytest.fixture
def coord(real_url: str) -> Run:
    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, [*arguments, "--redis", real_url], **more)

    return run


@pytest.fixture
def clients(fleet: RealFleet) -> Iterator[list[Client]]:
    """Two AIs with the skill that the plan needs; no worker of theirs runs anything."""
    with worker_of(fleet, "AI_1") as first, worker_of(fleet, "AI_2") as second:
        yield [first, second]


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return str(path)


def worker_of(fleet: RealFleet, ai: str, **options: Any) -> Client:
    return fleet.client(ai, profile={"skills": ["measure", "develop_feature"]}, **options)


def opened(result: Result) -> str:
    assert result.exit_code == ExitCode.OK, result.stderr
    return str(result.stdout.strip())


def accept(session_id: str, *clients: Client) -> None:
    for client in clients:
        client.send("collaboration_response", {"session_id": session_id, "accept": True})
        client.confirm()


def unit(fleet: RealFleet, session_id: str, n: int) -> dict[str, Any]:
    found = read_progress(fleet.redis, fleet.keys, session_id)
    assert found is not None
    units: list[dict[str, Any]] = found["units"]
    return units[n]


def end_unit(fleet: RealFleet, session_id: str, n: int, clients: list[Client], **more: Any) -> None:
    """Tell, as the worker of whoever has the unit would, how its attempt ended."""
    found = unit(fleet, session_id, n)
    doer = next(client for client in clients if client.ai_id == found["attempts"][-1]["ai"])
    result = {"session_id": session_id, "unit_id": found["id"], "attempt": len(found["attempts"])}
    doer.send("work_result", {**result, "outcome": "completed", **more})
    doer.confirm()


def active(fleet: RealFleet, coord: Run, clients: list[Client], plan: str) -> str:
    session_id = opened(coord("collaborate", "performance_optimization", "--plan", plan))
    accept(session_id, *clients)
    return session_id


def failed(fleet: RealFleet, coord: Run, clients: list[Client], plan: str) -> str:
    session_id = active(fleet, coord, clients, plan)
    end_unit(fleet, session_id, 0, clients, outcome="failed", reason=HOSTILE)
    return session_id


def is_one_clean_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n") and text[:-1].isprintable()


# -- asking ----------------------------------------------------------------------------------------


def test_collaborate_prints_the_sessions_id(
    fleet: RealFleet, coord: Run, clients: list[Client]
) -> None:
    session_id = opened(
        coord(
            *("collaborate", "cross_specialization", "--target", "AI_1", "-d", "make it fast"),
            *("-r", "rounds=12", "-r", "where=here", "--requirement", "deep={}"),
        )
    )
    found = read_session(fleet.redis, fleet.keys, session_id)
    assert found is not None
    assert (found["state"], found["initiator"], found["target"]) == ("pending", "operator", "AI_1")
    assert found["requirements"] == {"rounds": 12, "where": "here", "deep": {}}
    assert found["description"] == "make it fast"
    again = coord("collaborate", "cross_specialization", "--json")
    assert json.loads(again.stdout)["session_id"] != session_id


def test_request_feature_prints_the_requests_id(fleet: RealFleet, coord: Run) -> None:
    request_id = opened(coord("request-feature", "audio_mixer", "-r", "channels=8"))
    found = read_session(fleet.redis, fleet.keys, request_id)
    assert found is not None
    assert found["requirements"] == {"feature": "audio_mixer", "requirements": {"channels": 8}}
    listed = coord("sessions").stdout
    assert "feature audio_mixer" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collaborate", "no_such_type"], "payload.type"),
        (["collaborate", "cross_specialization", "--target", "AI_9"], "nobody who is there"),
        (["request-feature", ""], "payload.feature"),
        (["kick", "AI_9"], "nobody who is there"),
        (["drain", "AI_9"], "nobody who is there"),
        (["retry", "nothing-1"], "is no unit"),
    ],
)
def test_what_is_refused_is_one_line(
    fleet: RealFleet, coord: Run, arguments: list[str], said: str
) -> None:
    refused = coord(*arguments)
    assert refused.exit_code == ExitCode.FAILED
    assert said in refused.stderr
    assert is_one_clean_line(refused.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collaborate", "cross_specialization", "-r", "rounds"], "name=value"),
        (["collaborate", "cross_specialization", "--plan", "/no/such"], "cannot be read"),
        (["sessions", "--state", "done"], "--state is one of pending"),
        (["sessions", "--type", "any"], "--type is one of"),
        (["kick", "operator"], "is no AI's id"),
    ],
)
def test_wrong_usage_ends_with_2(coord: Run, arguments: list[str], said: str) -> None:
    wrong = coord(*arguments)
    assert wrong.exit_code == ExitCode.USAGE
    assert said in " ".join(wrong.stderr.replace("│", "").split())


def test_a_plan_may_come_from_the_input(fleet: RealFleet, coord: Run) -> None:
    asked = ("collaborate", "cross_specialization", "--plan", "-")
    assert coord(*asked, input=json.dumps(PLAN)).exit_code == ExitCode.OK
    refused = coord(*asked, input='{"name": "no list"}')
    assert refused.exit_code == ExitCode.FAILED
    assert "payload.plan" in refused.stderr


def test_the_answer_is_the_hubs(redis: Redis) -> None:
    """Others may write to the operator what they like, and name a session of theirs."""
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    asked = fleet.say("operator", "collaboration_request", {"type": "cross_specialization"})
    fleet.run()
    forged = {"in_reply_to": asked, "session_id": "forged"}
    fleet.say("a", "performance_report", {"component_id": "c", "performance": {"x": 1}} | forged)
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}} | forged, target="operator")
    fleet.run()
    (session_id,) = fleet.coordinator._fleet.sessions
    assert read_opened(fleet.redis, fleet.keys, asked) == session_id
    assert read_opened(fleet.redis, fleet.keys, "another") is None


# -- waiting for the end ---------------------------------------------------------------------------


class Waiting:
    """A ``coord … --wait`` in a process of its own."""

    def __init__(self, fleet: RealFleet, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments, "--wait", "--redis", fleet.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=python_environment(PYTHONUNBUFFERED="1"),
        )
        assert self.process.stdout is not None
        self.session_id = self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def test_waiting_ends_with_what_came_out(
    fleet: RealFleet, clients: list[Client], plan: str
) -> None:
    waiting = Waiting(fleet, "collaborate", "performance_optimization", "--plan", plan)
    accept(waiting.session_id, *clients)
    end_unit(fleet, waiting.session_id, 0, clients)
    summary = {"text": f"twice as fast {HOSTILE}"}
    end_unit(fleet, waiting.session_id, 1, clients, output={"summary": summary})
    code, out, err = waiting.end()
    assert (code, err) == (ExitCode.OK, "")
    assert is_one_clean_line(out)
    assert out.startswith("performance_optimization completed: twice as fast x\\x1b[2J")


def test_waiting_for_what_fails_ends_with_1_and_says_why(
    fleet: RealFleet, clients: list[Client], plan: str
) -> None:
    waiting = Waiting(fleet, "collaborate", "performance_optimization", "--plan", plan)
    accept(waiting.session_id, *clients)
    end_unit(fleet, waiting.session_id, 0, clients, outcome="failed", reason="the disk is full")
    code, out, err = waiting.end()
    assert (code, out) == (ExitCode.FAILED, "")
    assert is_one_clean_line(err)
    assert "failed: first failed 1 times, last: the disk is full" in err


def test_waiting_for_what_everybody_declines_tells_their_reasons(
    fleet: RealFleet, clients: list[Client]
) -> None:
    waiting = Waiting(fleet, "collaborate", "performance_optimization")
    for client, reason in zip(clients, ("too busy", HOSTILE), strict=True):
        no = {"session_id": waiting.session_id, "accept": False, "reason": reason}
        client.send("collaboration_response", no)
        client.confirm()
    code, _, err = waiting.end()
    assert code == ExitCode.FAILED
    assert "declined: everybody who is there said no" in err
    assert sorted(err.splitlines()[-2:]) == [
        "AI_1 said no: too busy",
        "AI_2 said no: x\\x1b[2J\\nforged\\x9b31m",
    ]


def test_waiting_for_a_feature_ends_with_the_id_of_its_component(
    fleet: RealFleet, coord: Run, clients: list[Client]
) -> None:
    waiting = Waiting(fleet, "request-feature", "audio_mixer")
    component = {"id": "mixer-1", "component_name": "audio_mixer", "code": "mix = sum\nx = 1"}
    clients[0].send(
        "os_component_share",
        {"session_id": waiting.session_id, "feature_name": "audio_mixer", "component": component},
    )
    code, out, err = waiting.end()
    assert code == ExitCode.OK
    assert "feature audio_mixer completed" in out
    assert err == "component mixer-1: `coord components mixer-1` shows it\n"
    assert "        x = 1" in coord("components", "mixer-1").stdout.splitlines()


def test_waiting_for_a_feature_that_is_cancelled(fleet: RealFleet, coord: Run) -> None:
    waiting = Waiting(fleet, "request-feature", "audio_mixer")
    assert coord("cancel", waiting.session_id, "--reason", "too late").exit_code == ExitCode.OK
    code, _, err = waiting.end()
    assert code == ExitCode.FAILED
    assert "feature audio_mixer cancelled: operator cancelled it: too late" in err


# -- looking ---------------------------------------------------------------------------------------


def test_sessions_are_listed_and_filtered(
    fleet: RealFleet, coord: Run, clients: list[Client], plan: str
) -> None:
    assert coord("sessions").stdout == "no sessions\n"
    ended = failed(fleet, coord, clients, plan)
    pending = opened(coord("collaborate", "cross_specialization"))

    def ids(*filters: str) -> list[str]:
        listed = json.loads(coord("sessions", "--json", *filters).stdout)
        assert listed["total"] == 2
        return [item["id"] for item in listed["sessions"]]

    assert ids() == [pending, ended]
    assert ids("--limit", "1") == [pending]
    assert ids("--state", "failed") == [ended]
    assert ids("--ai", "AI_2") == [ended]
    assert ids("--ai", "operator", "--type", "cross_specialization") == [pending]
    assert ids("--ai", "AI_9") == []
    shown = coord("sessions").stdout
    row = next(line for line in shown.splitlines() if ended in line)
    for cell in ("performance_optimization", "operator", "AI_1, AI_2", "failed", "0/2 units"):
        assert cell in row
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "ask for more by --limit" in coord("sessions", "--limit", "1").stdout
    assert coord("sessions", "--ai", "AI_9").stdout == "none of 2 sessions\n"


def test_a_session_is_shown_with_all_there_is_of_it(
    fleet: RealFleet, coord: Run, clients: list[Client], plan: str
) -> None:
    session_id = opened(coord("collaborate", "performance_optimization", "--plan", plan))
    with worker_of(fleet, "AI_3") as third:
        no = {"session_id": session_id, "accept": False, "reason": HOSTILE}
        third.send("collaboration_response", no)
        third.confirm()
    accept(session_id, *clients)
    key = {"session_id": session_id, "key": "best", "value": [1, 2]}
    clients[0].send("workspace_update", key)
    clients[0].confirm()
    end_unit(fleet, session_id, 0, clients, outcome="failed", reason="tired")
    shown = coord("session", session_id[:6])
    assert shown.exit_code == ExitCode.OK
    for text in (
        f"{session_id}, performance_optimization",
        "failed: first failed 1 times, last: tired",
        "AI_1, AI_2 (2 wanted)",
        "AI_3: x\\x1b[2J\\nforged",
        "0/2 units",
        "tired",
    ):
        assert text in shown.stdout
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert [f"{session_id}-1", "first", "measure", "failed", "0%", "1"] in [x[:6] for x in lines]
    assert ["best", "1", "AI_1"] in [x[:3] for x in lines]
    assert all(line.isprintable() for line in shown.stdout.split("\n"))
    found = json.loads(coord("session", session_id, "--json").stdout)
    assert found["declined"] == {"AI_3": HOSTILE}
    assert found["workspace"]["best"]["value"] == [1, 2]
    assert found["units"][0]["attempts"][0]["outcome"] == "failed"
    watched = coord("session", session_id, "--watch")
    assert watched.exit_code == ExitCode.OK
    assert "tired" in watched.stdout


def test_an_unknown_session_is_one_error_that_names_what_there_is(
    fleet: RealFleet, coord: Run
) -> None:
    nothing = coord("session", "abcd")
    assert nothing.exit_code == ExitCode.FAILED
    assert "no session 'abcd' is kept, nor any other" in nothing.stderr
    there = opened(coord("collaborate", "cross_specialization"))
    for unknown in ("zzzz", there[:3], "", f"{there}0", "a\nb"):
        for command in ("session", "cancel"):
            result = coord(command, unknown)
            assert result.exit_code == ExitCode.FAILED
            assert there in result.stderr
            assert is_one_clean_line(result.stderr)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"state": "failed", "reason": "r", "result": None, "component_id": None}, "r"),
        ({"reason": "", "result": None, "component_id": "c"}, "c"),
        ({"reason": "", "result": {"text": "t", "x": 1}, "component_id": "c"}, "t"),
        ({"reason": "", "result": {"gap_closed": 0.51, "of": [1]}}, "gap_closed=0.51, of=[1]"),
        ({"reason": "", "result": {"text": 5}}, "text=5"),
    ],
)
def test_what_came_out_in_a_few_words(item: dict[str, Any], told: str) -> None:
    assert outcome_of(item) == told


def test_a_session_in_a_few_words() -> None:
    feature = {"type": "feature_request", "requirements": {"feature": "audio_mixer"}}
    assert kind_of(feature) == "feature audio_mixer"
    who = {"participants": ["AI_1", "AI_2"], "initiator": "AI_3"}
    assert workers_of(feature | who) == "AI_1, AI_2 for AI_3"
    assert workers_of(who | {"type": "cross_specialization"}) == "AI_1, AI_2"
    assert progress_of({"units": [], "progress": 0.0}) == ""
    assert progress_of({"units": ["a", "b", "c"], "progress": 2 / 3}) == "2/3 units"


# -- steering --------------------------------------------------------------------------------------


def test_cancel_ends_a_session(fleet: RealFleet, coord: Run, clients: list[Client]) -> None:
    session_id = opened(coord("collaborate", "cross_specialization"))
    done = coord("cancel", session_id[:8], "--reason", "enough")
    assert done.stdout == f"cancelled {session_id}\n"
    found = read_session(fleet.redis, fleet.keys, session_id)
    assert found is not None
    assert (found["state"], found["reason"]) == (
        "cancelled",
        "operator cancelled it: enough",
    )
    again = coord("cancel", session_id)
    assert again.exit_code == ExitCode.FAILED
    assert "no open session" in again.stderr


def test_retry_has_a_failed_session_go_on(
    fleet: RealFleet, coord: Run, clients: list[Client], plan: str
) -> None:
    session_id = failed(fleet, coord, clients, plan)
    done = coord("retry", f"{session_id}-1", "--json")
    assert json.loads(done.stdout) == {"retried": f"{session_id}-1"}
    assert unit(fleet, session_id, 0)["state"] == "queued"
    assert len(unit(fleet, session_id, 0)["attempts"]) == 2


def test_kick_and_drain(fleet: RealFleet, coord: Run, clients: list[Client]) -> None:
    assert coord("drain", "AI_1").stdout == "draining AI_1\n"
    with pytest.raises(Exception, match="takes no new work"):
        accept(opened(coord("collaborate", "cross_specialization")), clients[0])
    assert coord("kick", "AI_2", "--reason", "noise").stdout == "kicked AI_2\n"
    assert fleet.live() == ["AI_1"]


# -- status ----------------------------------------------------------------------------------------


def test_status_counts_what_is_done_together(
    fleet: RealFleet, coord: Run, clients: list[Client], plan: str
) -> None:
    active(fleet, coord, clients, plan)
    coord("collaborate", "cross_specialization")
    coord("request-feature", "audio_mixer")
    found = json.loads(coord("status", "--json").stdout)
    assert found["active_collaborations"] == 2
    assert found["open_feature_requests"] == 1
    units = {"waiting": 1, "queued": 1, "running": 0, "completed": 0, "failed": 0}
    assert found["units"] == units
    (queue,) = [queue for queue in found["queues"] if queue["waiting"]]
    assert queue == {"name": queue["name"], "waiting": 1, "started": 0, "failed": 0}
    shown = coord("status").stdout
    assert "2 collaborations and 1 feature requests are open" in shown
    assert "1 waiting, 1 queued, 0 running, 0 completed, 0 failed" in shown
    assert queue["name"] in shown


def test_status_shows_the_workers_of_this_fleet(
    fleet: RealFleet, coord: Run, real_redis: Redis
) -> None:
    for name, queue in (("AI_1", "coord.ai.AI_1"), ("other", "mail")):
        worker = Worker([Queue(queue, connection=real_redis)], name=name, connection=real_redis)
        worker.register_birth()
    real_redis.sadd("rq:workers", "rq:worker:long-dead")
    real_redis.sadd("rq:queues", "rq:queue:mail")
    now_ms = time.time_ns() // 1_000_000
    found = read_status(real_redis, fleet.keys, now_ms)
    assert found["queues"] == [{"name": "coord.ai.AI_1", "waiting": 0, "started": 0, "failed": 0}]
    (worker_found,) = found["workers"]
    assert worker_found["name"] == "AI_1"
    assert worker_found["current_job"] is None
    assert -5_000 < worker_found["heartbeat_age_ms"] < 30_000
    assert "AI_1" in coord("status").stdout


def test_status_costs_as_many_round_trips_for_many_sessions_as_for_one(real_redis: Redis) -> None:
    fleet = FleetUnderTest(real_redis)
    fleet.join("a", "b", skills=["measure"])
    costs = []
    for n in (1, 20):
        for _ in range(n):
            fleet.say("operator", "collaboration_request", {"type": "cross_specialization"})
        fleet.run()
        costs.append(round_trips(real_redis, lambda: read_status(real_redis, fleet.keys, 1)))
    assert costs[0] == costs[1] < 25
    assert read_open_work(real_redis, fleet.keys)["sessions"]["pending"] == 21


def round_trips(redis: Redis, act: Callable[[], object]) -> int:
    """How often ``act`` waits for an answer of the server: commands, and whole pipelines."""
    count = 0
    execute, pipeline = redis.execute_command, redis.pipeline

    def counted_command(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments, **options)

    def counted_pipeline(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return pipeline(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis, "execute_command", counted_command)
        patch.setattr(redis, "pipeline", counted_pipeline)
        act()
    return count
