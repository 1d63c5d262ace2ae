"""Units as RQ jobs: put on an AI's queue and taken off it, and what RQ knows of them.

A job of any other kind is put on a queue, and taken off it, by ``push`` and ``remove``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.results import Result
from rq.serializers import JSONSerializer

from coordinator.effects import Write
from coordinator.keys import Keys
from coordinator.messages import one_line, to_json
from coordinator.server_errors import is_of_the_data, raise_unless_of_the_data
from coordinator.work import Unit

log = logging.getLogger("coord")

ENTRY_FUNCTION = "workers.entry.run_unit"
"""What every job of a unit names; workers take data for it, and refuse all else."""
JOB_KEPT_S = 300
"""How long RQ keeps a job that ended, or that was taken off its queue while it may still run."""
GRACE_S = 30
"""The entry function ends a unit at its limit by itself; RQ kills its process this much later."""

_NOT_CONNECTED = redis.Redis()
"""RQ's classes want a connection; what is made of this one's pipelines is never executed."""


AttemptKey = tuple[str, int]
"""A unit's id, and its attempt."""


class JobEnd(NamedTuple):
    """What RQ says of an attempt: it runs, or has ended without a word of its own.

    ``output`` is what the entry function returned if the job finished.
    """

    state: Literal["running", "finished", "failed", "gone"]
    output: dict[str, Any] | None = None
    reason: str = ""


def job_id(ai: str, unit_id: str, attempt: int) -> str:
    """RQ allows letters, digits, ``_`` and ``-`` in it."""
    return f"{job_prefix(ai)}{unit_id}-{attempt}"


def unit_of(name: str) -> str:
    """The id of the unit that a job of that id is an attempt at."""
    return name.partition("-")[2].rpartition("-")[0]


def session_id_of(unit_id: str) -> str:
    """The id of the session that a unit of that id belongs to."""
    return unit_id.rpartition("-")[0]


def job_prefix(ai: str) -> str:
    """What the ids of ``ai``'s jobs begin with, and no other AI's: an ACL goes by it."""
    return f"{hashlib.sha256(ai.encode()).hexdigest()[:16]}-"


def enqueue(unit: Unit, ai: str, keys: Keys, now_ms: int) -> list[Write]:
    """Put the unit's present attempt on ``ai``'s queue: RQ's own commands."""
    return push(
        keys.queue(ai),
        job_id(ai, unit.id, unit.attempt),
        (ENTRY_FUNCTION, unit.id, unit.attempt),
        description=f"{unit.kind} of session {unit.session_id}",
        limit_s=int(unit.limit_s) + GRACE_S,
        now_ms=now_ms,
    )


def push(
    queue_name: str, name: str, call: tuple[Any, ...], description: str, limit_s: int, now_ms: int
) -> list[Write]:
    """Put the job ``name`` on a queue. ``call`` is the function's name, then what it is given."""
    queue = _queue(queue_name)
    job = Job.create(
        call[0],
        args=call[1:],
        id=name,
        connection=_NOT_CONNECTED,
        serializer=JSONSerializer,
        origin=queue.name,
        description=description,
        timeout=limit_s,
        result_ttl=JOB_KEPT_S,
        failure_ttl=JOB_KEPT_S,
        status=JobStatus.QUEUED,
    )
    job.created_at = job.enqueued_at = datetime.fromtimestamp(now_ms / 1000, UTC)
    pipe = _NOT_CONNECTED.pipeline()
    pipe.sadd(queue.redis_queues_keys, queue.key)
    job.save(pipeline=pipe)
    queue.push_job_id(job.id, pipeline=pipe)
    return [Write(tuple(command)) for command, _ in pipe.command_stack]


@lru_cache(maxsize=1024)
def _queue(name: str) -> Queue:
    """RQ looks at the serializer of each anew, which takes as long as all else of a job does."""
    return Queue(name, connection=_NOT_CONNECTED, serializer=JSONSerializer)


def dequeue(unit: Unit, ai: str, keys: Keys) -> list[Write]:
    """Take the unit's present attempt off ``ai``'s queue."""
    return remove(keys.queue(ai), job_id(ai, unit.id, unit.attempt))


def remove(queue_name: str, name: str) -> list[Write]:
    """Take the job ``name`` off a queue.

    Its hash expires instead of being deleted: a worker that still runs it writes to the hash, and
    would bring it back for ever.
    """
    queue = _queue(queue_name)
    return [
        Write(("LREM", queue.key, 0, name)),
        Write(("LREM", queue.intermediate_queue_key, 0, name)),
        Write(("EXPIRE", Job.key_for(name), JOB_KEPT_S)),
    ]


def retire_queue(ai: str, keys: Keys) -> list[Write]:
    """``ai`` is gone: RQ is to name its queue no longer, and to forget the jobs that ended there;
    nobody but its own worker would ever clean these lists."""
    queue = _queue(keys.queue(ai))
    return [
        Write(("SREM", queue.redis_queues_keys, queue.key)),
        *(Write(("EXPIRE", key, JOB_KEPT_S)) for key in _registries(queue)),
    ]


def revive_queue(ai: str, keys: Keys) -> list[Write]:
    """``ai`` is back, and with it who cleans these lists."""
    queue = _queue(keys.queue(ai))
    return [Write(("PERSIST", key)) for key in _registries(queue)]


def _registries(queue: Queue) -> list[str]:
    lists = (queue.started_job_registry, queue.finished_job_registry, queue.failed_job_registry)
    return [registry.key for registry in lists]


def read_ends(
    connection: redis.Redis, units: Sequence[Unit], max_bytes: int
) -> dict[AttemptKey, JobEnd]:
    """What RQ says of those assigned ``units`` that no longer just wait in their queue.

    Data come from workers: a result that is no object, or has more than ``max_bytes``, counts as a
    failure, and a job that is none as gone.
    """
    names = {
        (unit.id, unit.attempt): job_id(unit.assignee or "", unit.id, unit.attempt)
        for unit in units
    }
    with connection.pipeline(transaction=False) as pipe:
        for name in names.values():
            pipe.hget(Job.key_for(name), "status")
        statuses = pipe.execute(raise_on_error=False) if names else []
    ends: dict[AttemptKey, JobEnd] = {}
    for (attempt_key, name), status in zip(names.items(), statuses, strict=True):
        match status:
            case b"queued":
                continue
            case b"started":
                ends[attempt_key] = JobEnd("running")
            case b"finished":
                ends[attempt_key] = _finished(_read_result(connection, name), max_bytes)
            case redis.RedisError() if not is_of_the_data(status):
                raise status
            case None | redis.RedisError():
                ends[attempt_key] = JobEnd("gone", reason="its RQ job is gone")
            case _:
                ends[attempt_key] = JobEnd(
                    "failed", reason=_failure(_read_result(connection, name))
                )
    return ends


def _finished(result: Result | None, max_bytes: int) -> JobEnd:
    output = result.return_value if result else None
    if not isinstance(output, dict):
        return JobEnd("failed", reason="its RQ job finished without a result")
    try:
        size_bytes = len(to_json(output).encode())
    except ValueError:
        return JobEnd("failed", reason="its RQ job finished with a result that is no JSON")
    if size_bytes > max_bytes:
        reason = f"the result of its RQ job has {size_bytes} bytes; the most is {max_bytes}"
        return JobEnd("failed", reason=reason)
    return JobEnd("finished", output)


def _failure(result: Result | None) -> str:
    """The last line of RQ's traceback, e.g. that the work-horse was killed."""
    lines = ((result.exc_string if result else None) or "").strip().splitlines()
    return one_line(lines[-1]) if lines else "its RQ job failed"


def _read_result(connection: redis.Redis, name: str) -> Result | None:
    """None if there is none, or nothing that can be read: whatever RQ stumbles over is its data."""
    job = Job(name, connection=connection, serializer=JSONSerializer)
    try:
        return Result.fetch_latest(job, serializer=JSONSerializer)
    except redis.RedisError as error:
        raise_unless_of_the_data(error)
    except Exception as error:
        log.warning("the result of an RQ job cannot be read: %s: %s", name, error)
    return None
