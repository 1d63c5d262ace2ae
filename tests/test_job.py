"""Which jobs a trainer takes, and what becomes of those that somebody else wrote."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from redis import ConnectionError as Disconnected
from redis import Redis
from redis import TimeoutError as TimedOut
from rq import Queue
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer

from coordinator.jobs import ENTRY_FUNCTION
from workers.job import TrainerJob, TrainerQueue

CALL: list[Any] = [ENTRY_FUNCTION, None, ["s-1", 1], {}]
HOOK = json.dumps([{"url": "http://x/", "job_status": "finished"}]).encode()


def restored(redis: Redis, data: Any = CALL, **fields: bytes) -> TrainerJob:
    job = TrainerJob("one", connection=redis, serializer=JSONSerializer)
    encoded = data if isinstance(data, bytes) else json.dumps(data).encode()
    fields = {"created_at": b"2025-06-04T00:00:00.000000Z", "data": encoded, **fields}
    job.restore({name.encode(): value for name, value in fields.items()})
    return job


def test_a_job_that_runs_a_unit_is_taken(redis: Redis) -> None:
    job = restored(redis, success_callback_name=b"", webhooks=b"[]")
    assert job.refusal == ""
    assert job.func.__name__ == "run_unit"


@pytest.mark.parametrize(
    ("data", "fields", "reason"),
    [
        (["os.system", None, ["true"], {}], {}, "os.system is not a function that trainers run"),
        ([["os"], None, [], {}], {}, "['os'] is not a function"),
        ([None, None, [], {}], {}, "None is not a function"),
        ([ENTRY_FUNCTION, "os.environ", ["s-1", 1], {}], {}, "and nothing else"),
        ([ENTRY_FUNCTION, None, ["s-1", 1], {"x": 1}], {}, "and nothing else"),
        ([ENTRY_FUNCTION, None, [1, "s-1"], {}], {}, "takes the id of a unit"),
        ([ENTRY_FUNCTION, None, ["s-1", True], {}], {}, "takes the id of a unit"),
        ([ENTRY_FUNCTION, None, ["s-1"], {}], {}, "takes the id of a unit"),
        ([ENTRY_FUNCTION, None, "s1", {}], {}, "takes the id of a unit"),
        (["os.system"], {}, "are not JSON of the form"),
        (pickle.dumps(CALL), {}, "are not JSON of the form"),
        (b"\xff{", {}, "are not JSON of the form"),
        (CALL, {"success_callback_name": b"os.getpid"}, "it has a callback"),
        (CALL, {"failure_callback_name": b"os.getpid"}, "it has a callback"),
        (CALL, {"stopped_callback_name": b"os.getpid"}, "it has a callback"),
        (CALL, {"webhooks": HOOK}, "it has webhooks"),
        (CALL, {"webhooks": b"{"}, "it has webhooks"),
        (CALL, {"status": b"no\nstatus"}, "its record cannot be read"),
        (CALL, {"timeout": b"long"}, "its record cannot be read"),
    ],
)
def test_all_else_is_refused_in_one_line(
    data: Any, fields: dict[str, bytes], reason: str, redis: Redis
) -> None:
    job = restored(redis, data, **fields)
    assert reason in job.refusal
    assert job.refusal.isprintable()
    with pytest.raises(DeserializationError):
        _ = job.func


def test_what_rq_would_act_upon_is_not_restored(redis: Redis) -> None:
    fields = {
        "success_callback_name": b"os.getpid",
        "failure_callback_name": b"os.getpid",
        "stopped_callback_name": b"os.getpid",
        "webhooks": HOOK,
        "retries_left": b"3",
        "repeats_left": b"3",
    }
    job = restored(redis, **fields)
    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)
    assert (job.webhooks, job.should_retry, job.repeats_left) == ([], False, None)
    plain = Job("one", connection=redis, serializer=JSONSerializer)
    plain.restore({"data": b"{}", **fields})
    assert plain.success_callback is not None  # RQ itself takes them
    assert plain.webhooks != []
    assert plain.should_retry


# -- taking them from the queue --------------------------------------------------------------------


@pytest.fixture
def queue(real_redis: Redis) -> TrainerQueue:
    """Of a real server: RQ takes fakeredis, which has no INFO, for one without LMOVE."""
    return TrainerQueue("coord.ai.AI_1", connection=real_redis, serializer=JSONSerializer)


def put(queue: Queue, *names: str) -> None:
    for name in names:
        queue.connection.hset(Job.key_for(name), "data", json.dumps(CALL))
        queue.push_job_id(name)


def take(queue: TrainerQueue) -> str:
    taken = TrainerQueue.dequeue_any(
        [queue], None, queue.connection, job_class=TrainerJob, serializer=JSONSerializer
    )
    return taken[0].id if taken else ""


def set_aside(queue: TrainerQueue) -> list[bytes]:
    aside: Any = queue.connection.lrange(queue.intermediate_queue_key, 0, -1)
    return list(aside)


def test_what_was_taken_and_never_begun_comes_first(queue: TrainerQueue) -> None:
    put(queue, "a", "b")
    assert take(queue) == "a"
    assert take(queue) == "a"  # its work-horse would have removed it
    queue.connection.lrem(queue.intermediate_queue_key, 0, "a")
    assert take(queue) == "b"
    assert set_aside(queue) == [b"b"]


def test_what_is_no_job_is_dropped_and_said(
    queue: TrainerQueue, caplog: pytest.LogCaptureFixture
) -> None:
    put(queue, "no.id")
    queue.connection.set(Job.key_for("text"), "x")
    queue.push_job_id("text")
    put(queue, "good")
    assert take(queue) == "good"
    assert set_aside(queue) == [b"good"]
    dropped = [record.message for record in caplog.records if "is dropped" in record.message]
    assert len(dropped) == 2
    assert not any(record.exc_info for record in caplog.records)


def test_an_empty_queue_and_an_outage_are_as_rq_knows_them(
    queue: TrainerQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take(queue) == ""

    def time_out(*_: object, **__: object) -> None:
        raise TimedOut("no answer")

    monkeypatch.setattr(queue.connection, "lmove", time_out)
    with pytest.raises(Disconnected, match="no answer"):
        take(queue)
