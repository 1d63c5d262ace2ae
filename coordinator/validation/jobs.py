"""Validations as RQ jobs: put on the validators' queue and taken off it, and what RQ shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import redis
from rq import Queue
from rq.job import Job

from coordinator.effects import Write
from coordinator.jobs import push, remove
from coordinator.keys import Keys, RecordKey
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.validation.models import OpenValidation

VALIDATION_FUNCTION = "workers.validate.run_validation"
"""What every job of a validation names; it is given kind, id, hash and attempt."""
VALIDATION_LIMIT_S = 120
"""RQ kills the process of a validation this long after it began."""
VALIDATION_PREFIX = "validation-"
"""What the ids of these jobs begin with, and those of no unit's: an ACL goes by it."""


class Signs(NamedTuple):
    """What RQ shows of a job; neither is there once RQ has forgotten it."""

    status: str
    heartbeat: str


def validation_job_id(record_key: RecordKey, record_hash: str, attempt: int) -> str:
    """RQ allows letters, digits, ``_`` and ``-`` in it."""
    record = hashlib.sha256(record_key.name.encode()).hexdigest()
    return f"{VALIDATION_PREFIX}{record[:16]}-{record_hash[:12]}-{attempt}"


def enqueue_validation(waiting: OpenValidation, keys: Keys, now_ms: int) -> list[Write]:
    """Put the job of that attempt on the queue. What RQ still knows of one by its id is forgotten:
    the new one would expire with it."""
    name = _name(waiting)
    call = (VALIDATION_FUNCTION, *waiting.record_key, waiting.hash, waiting.attempt)
    description = f"validation of {waiting.record_key}"
    forget = Write(("DEL", Job.key_for(name)))
    pushed = push(keys.validation_queue, name, call, description, VALIDATION_LIMIT_S, now_ms)
    return [forget, *pushed]


def dequeue_validation(waiting: OpenValidation, keys: Keys) -> list[Write]:
    """Take the job of that attempt off the queue."""
    return remove(keys.validation_queue, _name(waiting))


def read_signs(
    connection: redis.Redis, waiting: Sequence[OpenValidation], keys: Keys
) -> dict[OpenValidation, Signs]:
    """What RQ shows of the jobs of those that no longer lie in the queue."""
    queue_key = f"{Queue.redis_queue_namespace_prefix}{keys.validation_queue}"
    with connection.pipeline(transaction=False) as pipe:
        for one in waiting:
            pipe.lpos(queue_key, _name(one))
            pipe.hmget(Job.key_for(_name(one)), "status", "last_heartbeat")
        replies = pipe.execute(raise_on_error=False) if waiting else []
    signs: dict[OpenValidation, Signs] = {}
    for one, place, shown in zip(waiting, replies[::2], replies[1::2], strict=True):
        for reply in (place, shown):
            raise_unless_of_the_data(reply)
        if not isinstance(place, int):
            fields = shown if isinstance(shown, list) else [None, None]
            signs[one] = Signs(*((field or b"").decode(errors="replace") for field in fields))
    return signs


def _name(waiting: OpenValidation) -> str:
    return validation_job_id(waiting.record_key, waiting.hash, waiting.attempt)
