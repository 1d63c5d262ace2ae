"""TrainerWorker as real processes: `rq worker` trees on a real server, killed in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from coordinator.embedded import start_time, tied_to_parent
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.servers import TestServer, python_environment, wait_for
from workers.launch import trainer_command, trainer_environment
from workers.worker import TrainerWorker, run_trainer, url_of

LEASE_S = 3.0


class Trainer:
    """One `rq worker` process tree, and the processes in it."""

    def __init__(self, fleet: RealFleet, ai: str, log: Path, specialization: str = "general"):
        settings = Settings(lease_s=LEASE_S, specialization=specialization)
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                tied_to_parent(trainer_command(ai, "coord")),
                env=python_environment(**trainer_environment(fleet.url, settings)),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def agent(self) -> int:
        return wait_for(lambda: child_of(self.process.pid, "workers.agent"), what="an agent")

    @property
    def training(self) -> int:
        return wait_for(lambda: child_of(self.agent, "workers.training"), what="a training")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def child_of(parent: int, module: str) -> int | None:
    """The process that ``parent`` started to run ``module``."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        runs = f"\0-m\0{module}\0".encode() in command and b"\0-I\0" not in command
        if runs and int(fields[1]) == parent and fields[0] != "Z":
            return int(entry.name)
    return None


def is_gone(*pids: int) -> bool:
    return all(start_time(pid) is None for pid in pids)


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
def start(fleet: RealFleet, tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    started: list[Trainer] = []

    def start(ai: str, specialization: str = "general") -> Trainer:
        started.append(Trainer(fleet, ai, tmp_path / f"log-{len(started)}", specialization))
        return started[-1]

    yield start
    for trainer in started:
        trainer.end()


def instance(fleet: RealFleet, ai: str) -> str:
    name: Any = fleet.redis.hget(fleet.keys.ai(ai), "instance")
    return name.decode() if name and ai in fleet.live() else ""


def patterns_of(fleet: RealFleet, ai: str) -> int:
    return sum(m["sender_id"] == ai and m["message_type"] == "pattern_share" for m in fleet.log())


def put_job(fleet: RealFleet, ai: str, data: Any, **fields: Any) -> Job:
    """A job written by hand, as somebody would who may write to Redis."""
    queue = Queue(fleet.keys.queue(ai), connection=fleet.redis, serializer=JSONSerializer)
    job = Job.create("os.getpid", connection=fleet.redis, serializer=JSONSerializer)
    job.origin = queue.name
    queue.enqueue_job(job)
    queue.remove(job)
    encoded = {"data": json.dumps(data).encode(), **fields}
    fleet.redis.hset(job.key, mapping=encoded)
    queue.push_job_id(job.id)
    return job


# -- its life --------------------------------------------------------------------------------------


def test_it_joins_learns_shares_and_is_whole_again_after_each_part_is_killed(
    fleet: RealFleet, start: Callable[..., Trainer], ai: str
) -> None:
    trainer = start(ai, "file_system")
    first = wait_for(lambda: instance(fleet, ai), what="the trainer to join")
    wait_for(lambda: patterns_of(fleet, ai), what="something learned")
    agent, training = trainer.agent, trainer.training

    os.kill(training, signal.SIGKILL)
    assert wait_for(lambda: trainer.training != training, what="training to start again")
    assert trainer.agent == agent

    training = trainer.training
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: is_gone(agent, training), 5, "training to end with its agent")
    wait_for(lambda: instance(fleet, ai) not in ("", first), what="another agent to join")
    shared = patterns_of(fleet, ai)
    wait_for(lambda: patterns_of(fleet, ai) > shared, what="more to be learned")

    agent, training = trainer.agent, trainer.training
    trainer.process.terminate()
    assert trainer.process.wait(15) == 0, trainer.said()
    wait_for(lambda: is_gone(agent, training), 5)
    assert fleet.log()[-1]["message_type"] == "goodbye"
    assert ai not in fleet.live()
    assert "Traceback" not in trainer.said()


def test_killed_and_started_again_it_takes_over_once_its_lease_has_ended(
    fleet: RealFleet, start: Callable[..., Trainer], ai: str
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
    fleet: RealFleet, start: Callable[..., Trainer], ai: str
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
    number: signal.Signals, fleet: RealFleet, start: Callable[..., Trainer], ai: str
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


def test_it_survives_six_seconds_without_its_server(
    server: TestServer, fleet: RealFleet, start: Callable[..., Trainer], ai: str
) -> None:
    trainer = start(ai)
    wait_for(lambda: instance(fleet, ai))
    agent = trainer.agent
    server.kill()
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.process.wait(6)
    server.start()
    wait_for(lambda: fleet.redis.ping())
    before: Any = wait_for(lambda: fleet.redis.hget(fleet.keys.ai(ai), "heartbeat_ms"))
    wait_for(lambda: fleet.redis.hget(fleet.keys.ai(ai), "heartbeat_ms") not in (None, before))
    assert ai in fleet.live()
    job = put_job(fleet, ai, ["no.such", None, [], {}])
    wait_for(lambda: job.get_status(refresh=True) == JobStatus.FAILED, what="it to work again")
    assert trainer.agent == agent


# -- jobs ------------------------------------------------------------------------------------------


def test_what_a_job_hash_names_is_not_run(
    fleet: RealFleet, start: Callable[..., Trainer], ai: str, tmp_path: Path
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


def test_run_trainer_ends_after_its_minutes_with_its_metrics(fleet: RealFleet, ai: str) -> None:
    program = (
        "import json, sys; from coordinator.settings import Settings;"
        "from workers.worker import run_trainer;"
        "print(json.dumps(run_trainer(sys.argv[1], sys.argv[2], Settings(), minutes=0.12)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ai, fleet.url],
        env=python_environment(COORD_SPECIALIZATION="file_system", COORD_LEASE_S="3"),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics.keys() == {
        "patterns_generated",
        "components_created",
        "collaborations_completed",
        "features_implemented",
    }
    assert metrics["patterns_generated"] == metrics["components_created"] > 0
    assert metrics["patterns_generated"] == patterns_of(fleet, ai)
    assert ai not in fleet.live()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p%2Fw@example.org:6380/3",
        "rediss://user:p%40w@example.org:6379/0",
        "rediss://example.org:6379/1?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=false",
        "redis://example.org:6379/0",
        "unix:///tmp/a%20b.sock?db=2",
        "unix://user:pw@/tmp/s?db=0",
    ],
)
def test_the_url_of_a_connection_leads_to_the_same_server(url: str) -> None:
    given = Redis.from_url(url).connection_pool
    again = Redis.from_url(url_of(Redis.from_url(url))).connection_pool
    assert again.connection_class is given.connection_class
    tls = ("ssl_ca_certs", "ssl_check_hostname")
    for name in ("host", "port", "path", "db", "username", "password", *tls):
        default = 0 if name == "db" else None
        ours = again.connection_kwargs.get(name) or default
        assert ours == (given.connection_kwargs.get(name) or default), name


def test_run_trainer_refuses_a_bad_id_before_it_connects() -> None:
    with pytest.raises(SystemExit, match="AI's id"):
        run_trainer("two words", "unix:///nowhere", Settings())
