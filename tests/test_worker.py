"""TrainerWorker as real processes: `rq worker` trees on a real server; tests/chaos has more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from coordinator.connection import connect
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.servers import TestServer, python_environment, wait_for
from tests.trainers import LEASE_S, Start, instance, is_gone, put_job, started_trainers
from workers.worker import TrainerWorker, run_trainer, url_of


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
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
def start(fleet: RealFleet, tmp_path: Path) -> Iterator[Start]:
    with started_trainers(fleet, tmp_path) as start:
        yield start


# -- its life --------------------------------------------------------------------------------------


def test_killed_and_started_again_it_takes_over_once_its_lease_has_ended(
    fleet: RealFleet, start: Start, ai: str
) -> None:
    trainer = start(ai, "file_system")
    first = wait_for(lambda: instance(fleet, ai))
    parts = trainer.agent, trainer.training
    trainer.process.kill()
    wait_for(lambda: is_gone(*parts), 5, "the whole tree to die with its worker")
    again = start(ai, "file_system")
    wait_for(lambda: instance(fleet, ai) not in ("", first), 15, "the second to take over")
    assert again.process.poll() is None


def test_a_second_trainer_under_a_live_id_is_refused_and_told_who_holds_it(
    fleet: RealFleet, start: Start, ai: str
) -> None:
    start(ai)
    holder = wait_for(lambda: instance(fleet, ai))
    second = start(ai)
    assert second.process.wait(15) != 0
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
    assert trainer.process.wait(15) == 0, trainer.said()
    wait_for(lambda: is_gone(*parts), 5)
    assert ai not in fleet.live()
    goodbyes = [m for m in fleet.log() if m["sender_id"] == ai and m["message_type"] == "goodbye"]
    assert [m["payload"] for m in goodbyes] == [{"reason": "the trainer was stopped"}]
    assert "Traceback" not in trainer.said()
    assert not fleet.redis.sismember("rq:workers", f"rq:worker:{ai}")


# -- jobs ------------------------------------------------------------------------------------------


def test_what_a_job_hash_names_is_not_run(
    fleet: RealFleet, start: Start, ai: str, tmp_path: Path
) -> None:
    start(ai)
    wait_for(lambda: instance(fleet, ai))
    mark = tmp_path / "mark"
    touch = ["os.system", None, [f"touch {mark}"], {}]
    hooks = [{"url": f"unix://{mark}", "job_status": "failed"}]
    job = put_job(
        fleet,
        ai,
        touch,
        failure_callback_name="os.getpid",
        success_callback_name="os.getpid",
        stopped_callback_name="os.getpid",
        webhooks=json.dumps(hooks),
    )
    wait_for(lambda: job.get_status(refresh=True) == JobStatus.FAILED)
    latest = wait_for(job.latest_result)
    assert "os.system is not a function that trainers run" in latest.exc_string
    assert not mark.exists()


def test_a_restored_job_has_no_callbacks_and_no_webhooks(redis: Any) -> None:
    from_outside = {
        b"data": json.dumps(["os.system", None, ["true"], {}]).encode(),
        b"created_at": b"2025-06-04T00:00:00.000000Z",
        b"success_callback_name": b"os.getpid",
        b"failure_callback_name": b"os.getpid",
        b"stopped_callback_name": b"os.getpid",
        b"webhooks": json.dumps([{"url": "http://x/", "job_status": "finished"}]).encode(),
    }
    plain = Job("one", connection=redis, serializer=JSONSerializer)
    plain.restore(from_outside)
    assert plain.success_callback is not None  # RQ itself takes them
    assert plain.webhooks != []
    job = TrainerWorker.job_class("one", connection=redis, serializer=JSONSerializer)
    job.restore(from_outside)
    assert job.webhooks == []
    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)


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
    "url",
    [
        "redis://:p%2Fw@example.org:6380/3",
        "rediss://user:p%40w@example.org:6379/0",
        "rediss://example.org:6379/1?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=false",
        "redis://example.org:6379/0",
        "redis://h",
        "rediss://h",
        "unix:///tmp/a%20b.sock?db=2",
        "unix://user:pw@/tmp/s?db=0",
    ],
)
def test_the_url_of_a_connection_leads_to_the_same_server(url: str) -> None:
    given = Redis.from_url(url).connection_pool
    again = connect(url_of(connect(url))).connection_pool
    assert again.connection_class is given.connection_class
    tls = ("ssl_ca_certs", "ssl_check_hostname")
    defaults = {"db": 0, "port": 6379 if "host" in given.connection_kwargs else None}
    for name in ("host", "port", "path", "db", "username", "password", *tls):
        ours = again.connection_kwargs.get(name) or defaults.get(name)
        assert ours == (given.connection_kwargs.get(name) or defaults.get(name)), name


def test_run_trainer_refuses_a_bad_id_before_it_connects() -> None:
    with pytest.raises(SystemExit, match="AI's id"):
        run_trainer("two words", "unix:///nowhere", Settings())
