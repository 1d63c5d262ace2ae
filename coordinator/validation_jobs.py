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
from coordinator.keys import Keys, Kind
from coordinator.server_errors import is_of_the_data
from coordinator.validations import Waiting

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


def validation_job_id(kind: Kind, record_id: str, record_hash: str, attempt: int) -> str:
    """RQ allows letters, digits, ``_`` and ``-`` in it."""
    record = hashlib.sha256(f"{kind}:{record_id}".encode()).hexdigest()
    return f"{VALIDATION_PREFIX}{record[:16]}-{record_hash[:12]}-{attempt}"


def enqueue_validation(waiting: Waiting, keys: Keys, now_ms: int) -> list[Write]:
    """Put the job of that attempt on the queue. What RQ still knows of one by its id is forgotten:
    the new one would expire with it."""
    name = _name(waiting)
    call = (VALIDATION_FUNCTION, waiting.kind, waiting.id, waiting.hash, waiting.attempt)
    description = f"validation of {waiting.kind} {waiting.id}"
    forget = Write(("DEL", Job.key_for(name)))
    pushed = push(keys.validation_queue, name, call, description, VALIDATION_LIMIT_S, now_ms)
    return [forget, *pushed]


def dequeue_validation(waiting: Waiting, keys: Keys) -> list[Write]:
    """Take the job of that attempt off the queue."""
    return remove(keys.validation_queue, _name(waiting))


def read_signs(
    connection: redis.Redis, waiting: Sequence[Waiting], keys: Keys
) -> dict[Waiting, Signs]:
    """What RQ shows of the jobs of those that no longer lie in the queue."""
    queue_key = f"{Queue.redis_queue_namespace_prefix}{keys.validation_queue}"
    with connection.pipeline(transaction=False) as pipe:
        for one in waiting:
            pipe.lpos(queue_key, _name(one))
            pipe.hmget(Job.key_for(_name(one)), "status", "last_heartbeat")
        replies = pipe.execute(raise_on_error=False) if waiting else []
    signs: dict[Waiting, Signs] = {}
    for one, place, shown in zip(waiting, replies[::2], replies[1::2], strict=True):
        for reply in (place, shown):
            if isinstance(reply, redis.RedisError) and not is_of_the_data(reply):
                raise reply
        if not isinstance(place, int):
            fields = shown if isinstance(shown, list) else [None, None]
            signs[one] = Signs(*((field or b"").decode(errors="replace") for field in fields))
    return signs


def _name(waiting: Waiting) -> str:
    return validation_job_id(waiting.kind, waiting.id, waiting.hash, waiting.attempt)
