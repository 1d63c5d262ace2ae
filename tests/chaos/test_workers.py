"""Trainers for as long as it takes: every part killed, an outage, a whole run by the clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from rq.job import JobStatus

from tests.clients import RealFleet
from tests.servers import TestServer, python_environment, wait_for
from tests.trainers import (
    Start,
    instance,
    is_gone,
    patterns_of,
    put_job,
)
from workers.lines import METRICS


def test_it_joins_learns_shares_and_is_whole_again_after_each_part_is_killed(
    fleet: RealFleet, start: Start, ai: str
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


def test_it_survives_six_seconds_without_its_server(
    server: TestServer, fleet: RealFleet, start: Start, ai: str
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


def test_run_trainer_ends_after_its_minutes_with_its_metrics(fleet: RealFleet, ai: str) -> None:
    program = (
        "import json, sys; from coordinator.settings import Settings;"
        "from workers.trainer_worker import run_trainer;"
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
    assert tuple(metrics) == METRICS
    assert metrics["patterns_generated"] == metrics["components_created"] > 0
    assert metrics["patterns_generated"] == patterns_of(fleet, ai)
    assert ai not in fleet.live()
