"""ValidatorWorker as real processes, through kills; tests/chaos has more."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from cli.local_fleet import enroll_validator
from cli.options import OpenFleet
from cli.validator import COUNTED
from coordinator.errors import CoordError
from coordinator.jobs import ENTRY_FUNCTION
from coordinator.keys import Keys
from coordinator.validation.jobs import VALIDATION_FUNCTION
from tests.clients import RealFleet
from tests.components import LRU
from tests.processes import descendants
from tests.sandboxes import needs_sandbox
from tests.servers import python_environment, wait_for
from tests.trainers import Start, Validator, is_gone, put_job, started_trainers
from tests.validators import (
    SLOW,
    enroll,
    events,
    is_over,
    joined,
    judged,
    share,
    told,
    work_horse,
)
from workers.validator_agent import evaluators, today
from workers.validator_worker import ValidatorWorker, outcome_of


@pytest.fixture
def validator(fleet: RealFleet, tmp_path: Path) -> Iterator[Start]:
    """Starts validators of the fleet."""
    with started_trainers(tmp_path, lambda _: fleet.url, Validator) as start:
        yield start


# -- verdicts --------------------------------------------------------------------------------------


@needs_sandbox
def test_what_is_shared_is_measured_and_all_are_told_once(
    fleet: RealFleet, validator: Start, ai: str
) -> None:
    """By one of two validators, whichever took it."""
    names = [f"{ai}_v{n}" for n in (1, 2)]
    for name in names:
        joined(fleet, validator, name)
    for n in range(3):
        share(fleet, ai, f"{ai}-{n}", LRU + f"# {n}\n")
    verdicts = [judged(fleet, f"{ai}-{n}") for n in range(3)]
    assert [verdict["verdict"] for verdict in verdicts] == ["passed"] * 3
    assert {verdict["validator"] for verdict in verdicts} <= {*names}
    assert all(verdict["evaluator"] == evaluators(today())["buffer_cache"] for verdict in verdicts)
    for n, verdict in enumerate(verdicts):
        assert [heard["score"] for heard in told(fleet, f"{ai}-{n}")] == [verdict["score"]]
        assert events(fleet, f"{ai}-{n}").count("validated") == 1
        assert is_over(fleet, f"{ai}-{n}")


@needs_sandbox
def test_killed_in_the_middle_another_does_it_once(
    fleet: RealFleet, validator: Start, ai: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.validation.watch.LOST_AFTER_S", 4.0)
    monkeypatch.setattr("coordinator.validation.watch.LOOK_EVERY_S", 0.2)
    first = joined(fleet, validator, f"{ai}_v1")
    share(fleet, ai, f"{ai}-slow", SLOW)
    wait_for(lambda: work_horse(first), what="a validation to run")
    below = descendants(first.process.pid)
    first.process.kill()
    wait_for(lambda: is_gone(*below), what="all to end with their worker, the sandbox too")
    joined(fleet, validator, f"{ai}_v2")
    verdict = judged(fleet, f"{ai}-slow")
    assert (verdict["verdict"], verdict["validator"]) == ("passed", f"{ai}_v2")
    assert events(fleet, f"{ai}-slow") == ["validation_lost", "validated"]
    assert len(told(fleet, f"{ai}-slow")) == 1
    assert is_over(fleet, f"{ai}-slow")


# -- jobs ------------------------------------------------------------------------------------------


@needs_sandbox
def test_it_runs_nothing_but_validations(
    fleet: RealFleet, validator: Start, ai: str, tmp_path: Path
) -> None:
    one = joined(fleet, validator, ai)
    mark = tmp_path / "mark"
    hash_ = "0" * 64
    jobs = {
        "os.system is not a function that validators run": [
            "os.system",
            None,
            [f"touch {mark}"],
            {},
        ],
        f"{ENTRY_FUNCTION} is not a function": [ENTRY_FUNCTION, None, ["s-1", 1], {}],
        "takes a kind of record": [VALIDATION_FUNCTION, None, ["component", "c", hash_, "1"], {}],
    }
    for reason, call in jobs.items():
        job = put_job(fleet, ai, call, fleet.keys.validation_queue)
        wait_for(lambda job=job: job.id in job.failed_job_registry, what=f"{reason} to be refused")
        assert f"job {job.id} is not run: " in one.said()
        assert reason in one.said()
    assert not mark.exists()
    assert "Traceback" not in one.said()


def test_cleaning_fails_no_job_of_another(real_redis: Any) -> None:
    """RQ's own would fail it, for its worker has said nothing for long."""
    worker = ValidatorWorker(["coord.validation"], "V_1", connection=real_redis)
    queue = Queue("coord.validation", connection=real_redis, serializer=JSONSerializer)
    job = queue.enqueue(VALIDATION_FUNCTION, "component", "c", "0" * 64, 1)
    queue.remove(job)
    real_redis.hset(job.key, "status", "started")
    real_redis.zadd(queue.started_job_registry.key, {f"{job.id}:x": 1})
    real_redis.rpush(queue.intermediate_queue_key, job.id, "of-no-job")
    worker.clean_registries()
    assert job.get_status(refresh=True) == "started"
    assert job.id not in queue.failed_job_registry
    assert real_redis.zcard(queue.started_job_registry.key) == 0
    assert real_redis.lrange(queue.intermediate_queue_key, 0, -1) == [job.id.encode()]


# -- its life --------------------------------------------------------------------------------------


def test_it_says_what_it_runs_components_in_and_leaves_when_told(
    fleet: RealFleet, validator: Start, ai: str
) -> None:
    one = joined(fleet, validator, ai)
    assert f"coord: {ai} runs " in one.said().splitlines()[0]
    (hello,) = [m for m in fleet.log() if m["sender_id"] == ai and m["message_type"] == "hello"]
    assert hello["payload"]["capabilities"] == ["validation"]
    assert hello["payload"]["evaluators"] == evaluators(today())
    assert hello["payload"]["collaboration_ready"] is False
    assert hello["payload"].get("skills", []) == []
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(30) == 0, one.said()
    assert ai not in fleet.live()
    assert "Traceback" not in one.said()
    assert fleet.redis.hexists(f"rq:worker:coord.validation.{ai}", "death")


def test_one_that_is_not_enrolled_is_told_how_to_be(
    fleet: RealFleet, validator: Start, ai: str
) -> None:
    one = validator(ai)
    assert one.process.wait(20) == 1
    last = one.said().splitlines()[-1]
    assert last.startswith(f"coord: {ai} is not enrolled as a validator")
    assert f"`coord enroll {ai} --role validator`" in last
    assert "Traceback" not in one.said()
    assert ai not in fleet.live()


def test_it_is_enrolled_once_and_nobody_else_is_made_one(fleet: RealFleet, ai: str) -> None:
    assert enroll(fleet, ai) is True
    assert enroll(fleet, ai) is False
    access = fleet.redis.hget(fleet.keys.member(ai), "access")
    place = OpenFleet(fleet.redis, "", fleet.keys)
    fleet.redis.hset(
        fleet.keys.member(f"{ai}_2"), "access", access.replace(b'"validator"', b'"observer"')
    )
    with pytest.raises(CoordError, match=f"{ai}_2 is enrolled as observer: `coord enroll"):
        enroll_validator(place, f"{ai}_2")
    fleet.redis.hset(fleet.keys.member(f"{ai}_3"), "access", access.replace(b"false", b"true"))
    with pytest.raises(CoordError, match="was shut out"):
        enroll_validator(place, f"{ai}_3")


@needs_sandbox
def test_the_command_counts_its_verdicts(fleet: RealFleet, ai: str, tmp_path: Path) -> None:
    enroll(fleet, f"{ai}_v")
    share(fleet, ai, f"{ai}-bad", "def Policy(: pass")
    command = [sys.executable, "-m", "cli.main", "validator", f"{ai}_v", "--redis", fleet.url]
    process = subprocess.Popen(
        [*command, "--state-dir", str(tmp_path / "state")],
        env=python_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert judged(fleet, f"{ai}-bad")["verdict"] == "failed"
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err.startswith(f"coord: {ai}_v runs components in ")
    assert f" component {ai}-bad: failed: " in err
    counts = dict(line.split() for line in out.splitlines())
    assert counts == dict.fromkeys(COUNTED, "0") | {"failed": "1"}


@pytest.mark.parametrize(
    ("told", "outcome"),
    [({"verdict": "failed"}, "failed"), ({"skipped": "it has changed"}, "skipped"), (None, "died")],
)
def test_each_run_is_counted_by_how_it_ended(told: dict[str, Any] | None, outcome: str) -> None:
    assert outcome_of(told) == outcome
    assert outcome in COUNTED


@pytest.mark.parametrize("queues", [["coord.ai.V_1"], ["default"], ["coord.validation", "high"]])
def test_other_queues_are_refused_with_one_sentence(queues: list[str], redis: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        ValidatorWorker(queues, "V_1", connection=redis)
    assert str(caught.value).startswith(
        "coord: the validator V_1 works on the queue of validations alone: give coord.validation,"
    )


def test_validators_of_two_fleets_are_two_to_rq() -> None:
    names = {ValidatorWorker.rq_name_of(Keys(fleet), ai) for fleet in "ab" for ai in ("V_1", "V_2")}
    assert len(names) == 4
