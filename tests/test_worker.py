"""TrainerWorker as real processes: `rq worker` trees on a real server; tests/chaos has more."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from pydantic import SecretStr
from rq import Queue
from rq.job import JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer

from coordinator.connection import connect
from coordinator.errors import NoServer, ServerUnusable
from coordinator.jobs import ENTRY_FUNCTION
from coordinator.settings import Settings
from coordinator.work import Attempt, Unit
from tests.clients import RealFleet
from tests.servers import python_environment, wait_for
from tests.trainers import Start, instance, is_gone, put_job
from tests.units import Gates
from workers.launch import server_for, training_environment
from workers.trainer_worker import TrainerWorker, run_trainer

# -- its life --------------------------------------------------------------------------------------


def test_killed_and_started_again_it_takes_over_once_its_lease_has_ended(
    fleet: RealFleet, start: Start, ai: str
) -> None:
    trainer = start(ai, "file_system")
    first = wait_for(lambda: instance(fleet, ai))
    parts = trainer.agent, trainer.training
    trainer.process.kill()
    wait_for(lambda: is_gone(*parts), what="the whole tree to die with its worker")
    again = start(ai, "file_system")
    wait_for(lambda: instance(fleet, ai) not in ("", first), what="the second to take over")
    assert again.process.poll() is None


def test_a_second_trainer_under_a_live_id_is_refused_and_told_who_holds_it(
    fleet: RealFleet, start: Start, ai: str
) -> None:
    start(ai)
    holder = wait_for(lambda: instance(fleet, ai))
    second = start(ai)
    assert second.process.wait(30) != 0
    assert holder in second.said()
    assert "Traceback" not in second.said()
    assert instance(fleet, ai) == holder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_told_to_stop_it_says_goodbye_and_nothing_is_left(
    number: signal.Signals, fleet: RealFleet, start: Start, ai: str
) -> None:
    trainer = start(ai, "file_system")
    wait_for(lambda: instance(fleet, ai))
    parts = trainer.agent, trainer.training
    if number == signal.SIGINT:
        os.killpg(trainer.process.pid, number)  # a terminal's Ctrl-C goes to all of them
    else:
        trainer.process.send_signal(number)
    assert trainer.process.wait(30) == 0, trainer.said()
    wait_for(lambda: is_gone(*parts))
    assert ai not in fleet.live()
    goodbyes = [m for m in fleet.log() if m["sender_id"] == ai and m["message_type"] == "goodbye"]
    assert [m["payload"] for m in goodbyes] == [{"reason": "the trainer was stopped"}]
    assert "Traceback" not in trainer.said()
    assert fleet.redis.hexists(f"rq:worker:coord.ai.{ai}", "death")
    assert not fleet.redis.sismember("rq:workers", f"rq:worker:coord.ai.{ai}")


def test_training_is_not_told_how_to_reach_the_server(start: Start, ai: str) -> None:
    trainer = start(ai, "file_system")
    told = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (trainer.agent, trainer.training)]
    assert [b"RQ_REDIS_URL=" in environment for environment in told] == [True, False]
    assert all(b"COORD_SPECIALIZATION=file_system" in environment for environment in told)


def test_of_the_environment_all_that_opens_a_door_is_kept_from_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = ["RQ_REDIS_URL", "COORD_REDIS_URL", "COORD_URL"]
    secrets += ["COORD_TOKEN", "COORD_TOKEN_FILE", "COORD_PEPPER"]
    for name in secrets:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("COORD_LEASE_S", "3")
    assert {*os.environ} - {*training_environment()} == {*secrets}


# -- jobs ------------------------------------------------------------------------------------------


def test_what_somebody_puts_on_the_queue_is_not_run_and_is_reported(
    fleet: RealFleet, start: Start, ai: str, tmp_path: Path
) -> None:
    trainer = start(ai)
    wait_for(lambda: instance(fleet, ai))
    mark = tmp_path / "mark"
    touch = ["os.system", None, [f"touch {mark}"], {}]
    unit = [ENTRY_FUNCTION, None, ["s-1", 1], {}]
    hooks = [{"url": f"unix://{mark}", "job_status": "failed"}]
    jobs = {
        "os.system is not a function that trainers run": put_job(fleet, ai, touch),
        "it has a callback": put_job(fleet, ai, unit, failure_callback_name="os.getpid"),
        "it has webhooks": put_job(fleet, ai, unit, webhooks=json.dumps(hooks)),
        "its data are not JSON": put_job(fleet, ai, pickle.dumps(Toucher(mark))),
        "takes the id of a unit": put_job(fleet, ai, [ENTRY_FUNCTION, None, [1, 1], {}]),
        "its record cannot be read": put_job(fleet, ai, unit, timeout="long"),
    }
    for reason, job in jobs.items():
        wait_for(lambda job=job: job.id in job.failed_job_registry, what=f"{job.id} to be refused")
        latest = Result.fetch_latest(job, serializer=JSONSerializer)
        assert reason in latest.exc_string
        assert latest.exc_string.isprintable()
        assert f"job {job.id} is not run: {latest.exc_string}" in trainer.said()
    taken = Queue(fleet.keys.queue(ai), fleet.redis).intermediate_queue_key
    wait_for(lambda: not fleet.redis.llen(taken), what="nothing to be set aside for running")
    assert not mark.exists()
    assert "Traceback" not in trainer.said()


class Toucher:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._mark}",)


def test_what_was_begun_and_not_ended_counts_as_failed_at_the_next_start(
    fleet: RealFleet, start: Start, ai: str
) -> None:
    job = put_job(fleet, ai, [ENTRY_FUNCTION, None, ["s-1", 1], {}])
    queue = Queue(fleet.keys.queue(ai), fleet.redis, serializer=JSONSerializer)
    queue.remove(job)
    fleet.redis.hset(job.key, "status", "started")
    fleet.redis.zadd(queue.started_job_registry.key, {f"{job.id}:x": time.time() + 3600})
    start(ai)
    wait_for(lambda: job.get_status(refresh=True) == JobStatus.FAILED, what="it to be failed")
    assert not fleet.redis.zcard(queue.started_job_registry.key)


def test_a_work_horse_that_hangs_is_killed_as_its_time_is_over(
    fleet: RealFleet, start: Start, ai: str, tmp_path: Path
) -> None:
    """It does not act upon its own alarm; RQ would let it live 60 s longer."""
    gates = Gates(tmp_path)
    unit = Unit("s-1", "s", "u", "gate", None, [], gates.unit("u")["inputs"], 60, 1)
    unit.attempts.append(Attempt(ai, 0))
    fleet.redis.hset(fleet.keys.unit("s-1"), mapping={"unit": unit.to_json(), "attempt": 1})
    start(ai)
    wait_for(lambda: instance(fleet, ai))
    job = put_job(fleet, ai, [ENTRY_FUNCTION, None, ["s-1", 1], {}], timeout=1)
    horse = gates.begun("u", 1).horse
    os.kill(horse, signal.SIGSTOP)
    wait_for(lambda: is_gone(horse), what="the work-horse to be killed")
    wait_for(lambda: job.id in job.failed_job_registry, what="its job to be failed")


@pytest.mark.parametrize(
    "fault",
    [redis_py.ConnectionError("Connection refused"), redis_py.AuthenticationError("WRONGPASS")],
    ids=["away", "revoked"],
)
def test_why_it_cannot_sign_off_is_told_as_it_is(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = TrainerWorker(["coord.ai.AI_1"], "AI_1", connection=connect("unix:///nowhere"))

    def fail() -> None:
        raise fault

    monkeypatch.setattr(worker, "register_death", fail)
    worker.teardown()
    assert [record.getMessage() for record in caplog.records if "sign off" in record.message] == [
        f"Worker {worker.name}: could not sign off: {fault}"
    ]


# -- starting it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "queues", "said"),
    [
        ("AI_1", ["default"], "give coord.ai.AI_1, not default"),
        ("AI_1", ["coord.ai.AI_2"], "give coord.ai.AI_1"),
        ("AI_1", ["coord.ai.AI_1", "high"], "its own queue alone"),
        (None, ["coord.ai.AI_1"], "--name"),
        ("hub", ["coord.ai.hub"], "--name"),
        ("two words", ["coord.ai.two words"], "letters, digits"),
    ],
)
def test_other_queues_are_refused_with_one_sentence(
    name: str | None, queues: list[str], said: str, redis: Any
) -> None:
    with pytest.raises(SystemExit) as caught:
        TrainerWorker(queues, name, connection=redis)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rq_command_says_so_too(fleet: RealFleet) -> None:
    command = [sys.executable, "-m", "rq.cli", "worker", "-w", "workers.TrainerWorker"]
    done = subprocess.run(
        [*command, "--name", "AI_1", "default"],
        env=python_environment(RQ_REDIS_URL=fleet.url),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith("coord: the trainer AI_1 works on its")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("named", "given", "is_same"),
    [
        ("redis://h:6379/0", "redis://:secret@h", True),
        ("unix:///tmp/s?db=1", "unix://user:secret@/tmp/s?db=1", True),
        ("redis://:secret@h", "redis://localhost:6379", False),
        ("redis://h/1", "redis://:secret@h/0", False),
        ("unix:///tmp/s", "redis://:secret@localhost", False),
        ("unix:///tmp/s", "unix://user:secret@/tmp/t", False),
    ],
)
def test_a_server_that_coord_redis_url_does_not_name_is_refused(
    named: str, given: str, is_same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rq worker` knows only RQ_REDIS_URL, and goes to localhost without it."""
    monkeypatch.setenv("COORD_REDIS_URL", named)
    if is_same:
        TrainerWorker(["coord.ai.AI_1"], "AI_1", connection=connect(given))
        return
    with pytest.raises(
        SystemExit, match=r"^coord: COORD_REDIS_URL names .*RQ_REDIS_URL"
    ) as refused:
        TrainerWorker(["coord.ai.AI_1"], "AI_1", connection=connect(given))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h:6379/0", ""),
        ("redis://:secret@elsewhere", r"^coord: COORD_URL names .*RQ_REDIS_URL"),
        ("coord://h:6000", r"^coord: COORD_URL leads to the gateway .*`coord acl AI_ID --apply`"),
    ],
)
def test_so_is_one_that_coord_url_does_not_name(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_URL", url)
    refused = ""
    try:
        TrainerWorker(["coord.ai.AI_1"], "AI_1", connection=connect("redis://h"))
    except SystemExit as error:
        refused = str(error)
    assert re.search(said, refused) if said else not refused
    assert "secret" not in refused
    monkeypatch.setenv("RQ_REDIS_URL", "redis://h")
    TrainerWorker(["coord.ai.AI_1"], "AI_1", connection=connect("redis://h"))


def test_a_trainer_s_server_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**named: Any) -> str:
        secrets = {name: SecretStr(url) for name, url in named.items()}
        return server_for(Settings(state_dir=tmp_path, **secrets))

    assert found(url="redis://a") == "redis://a"
    assert found(url="redis://a", redis_url="redis://b") == "redis://b"
    assert found(url="coord://a", redis_url="redis://b") == "redis://b"
    for url in ("coord://a", "coords://a:6000"):
        with pytest.raises(ServerUnusable, match="a trainer needs Redis: `coord acl"):
            found(url=url)
    with pytest.raises(NoServer):
        found()
    monkeypatch.setenv("RQ_REDIS_URL", "redis://c")
    assert found(url="coord://a") == "redis://c"


def test_run_trainer_refuses_a_bad_id_before_it_connects() -> None:
    with pytest.raises(SystemExit, match="AI's id"):
        run_trainer("two words", "unix:///nowhere", Settings())
