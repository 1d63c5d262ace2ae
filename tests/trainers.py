"""Trainers under test: `rq worker` process trees, and jobs that somebody wrote by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from coordinator.processes import start_time, tied_to_parent
from coordinator.settings import Settings
from tests.clients import RealFleet
from tests.processes import PROC, children_of
from tests.servers import python_environment, wait_for
from workers.launch import trainer_command, validator_command, worker_environment

LEASE_S = 2.0


class Trainer:
    """One `rq worker` process tree on the server at ``url``, and the processes in it."""

    agent_module = "workers.trainer_agent"

    def __init__(self, url: str, ai: str, log: Path, specialization: str = "general"):
        settings = Settings(lease_s=LEASE_S, specialization=specialization)
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                tied_to_parent(self.command(ai, "coord")),
                env=python_environment(**worker_environment(url, settings)),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @staticmethod
    def command(ai: str, namespace: str) -> list[str]:
        return trainer_command(ai, namespace)

    @property
    def agent(self) -> int:
        return wait_for(lambda: child_of(self.process.pid, self.agent_module), what="an agent")

    @property
    def processes(self) -> tuple[int, int]:
        """The worker and its agent."""
        return self.process.pid, self.agent

    @property
    def training(self) -> int:
        return wait_for(lambda: child_of(self.agent, "workers.training"), what="a training")

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


class Validator(Trainer):
    """The same of a validator."""

    agent_module = "workers.validator_agent"

    @staticmethod
    def command(ai: str, namespace: str) -> list[str]:
        return validator_command(ai, namespace)


def child_of(parent: int, module: str) -> int | None:
    """The process that ``parent`` started to run ``module``."""
    for child in children_of(parent):
        try:
            command = (PROC / str(child) / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if f"\0-m\0{module}\0".encode() in command and b"\0-I\0" not in command:
            return child
    return None


def is_gone(*pids: int) -> bool:
    return all(start_time(pid) is None for pid in pids)


Start = Callable[..., Trainer]


@contextmanager
def started_trainers(
    directory: Path, url_for: Callable[[str], str], kind: type[Trainer] = Trainer
) -> Iterator[Start]:
    """Gives a function that starts one (its AI, its specialization); all end with the block."""
    started: list[Trainer] = []

    def start(ai: str, specialization: str = "general") -> Trainer:
        log = directory / f"log-{kind.__name__}-{len(started)}"
        started.append(kind(url_for(ai), ai, log, specialization))
        return started[-1]

    yield start
    for trainer in started:
        trainer.end()


def instance(fleet: RealFleet, ai: str) -> str:
    name: Any = fleet.redis.hget(fleet.keys.ai(ai), "instance")
    return name.decode() if name and ai in fleet.live() else ""


def patterns_of(fleet: RealFleet, ai: str) -> int:
    return sum(m["sender_id"] == ai and m["message_type"] == "pattern_share" for m in fleet.log())


def put_job(fleet: RealFleet, ai: str, data: Any, queue_name: str = "", **fields: Any) -> Job:
    """A job written by hand (``data`` as JSON, or as the bytes that it is), as somebody would who
    may write to Redis; on the AI's queue, if none is named."""
    name = queue_name or fleet.keys.queue(ai)
    queue = Queue(name, connection=fleet.redis, serializer=JSONSerializer)
    job = Job.create("os.getpid", connection=fleet.redis, serializer=JSONSerializer)
    job.origin = queue.name
    job.save()
    encoded = data if isinstance(data, bytes) else json.dumps(data).encode()
    fleet.redis.hset(job.key, mapping={"data": encoded, "status": "queued", **fields})
    queue.push_job_id(job.id)
    return job
