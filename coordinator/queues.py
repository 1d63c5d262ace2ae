"""RQ's queues and workers of a fleet, as people see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import redis
from rq import Queue, Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.worker_registration import REDIS_WORKER_KEYS

from coordinator.clock import ms_of
from coordinator.keys import Keys
from coordinator.reads import Item
from coordinator.record_search import containing
from coordinator.stored import replies_of, text_of

LOOKED_AT = 500
"""Among so many queues, and as many workers, the busiest are looked for."""


class Busiest(NamedTuple):
    """The busiest ``queues`` and ``workers``, and how many there are of each."""

    queues: list[Item]
    workers: list[Item]
    queues_total: int
    workers_total: int


def read_rq(connection: redis.Redis, keys: Keys, now_ms: int, limit: int | None) -> Item:
    """RQ's ``queues`` of this fleet, with how many jobs are where, and the ``workers`` on them.
    With a ``limit`` workers are known by their names, which coord's begin as its queues do."""
    queue_names, worker_names = _read_names(connection)
    shown = sorted(worker_names)
    if limit is not None:
        shown = [name for name in shown if _has_our_name(name, keys)][:limit]
    workers = _read_open_workers(connection, keys, shown, now_ms)
    named = set(queue_names) | {queue for worker in workers for queue in worker["queues"]}
    ours = sorted(name for name in named if _is_ours(name, keys))[:limit]
    return {"queues": read_queues(connection, ours), "workers": workers}


def read_busiest(
    connection: redis.Redis, keys: Keys, now_ms: int, limit: int, text: str = ""
) -> Busiest:
    """``limit`` queues and as many workers whose names contain ``text``, in upper or lower case.

    They are the busiest of the first LOOKED_AT by name. Four round trips, whatever there is.
    """
    queue_names, worker_names = _read_names(connection)

    def matching(names: Sequence[str], is_ours: Callable[[str, Keys], bool]) -> list[str]:
        return sorted(containing(text, (name for name in names if is_ours(name, keys))))

    ours, named = matching(queue_names, _is_ours), matching(worker_names, _has_our_name)
    queues = read_queues(connection, ours[:LOOKED_AT])
    workers = _read_open_workers(connection, keys, named[:LOOKED_AT], now_ms)
    queues.sort(key=lambda queue: (-queue["waiting"] - queue["started"], -queue["failed"]))
    workers.sort(key=lambda worker: worker["state"] != "busy")
    return Busiest(queues[:limit], workers[:limit], len(ours), len(named))


def _read_names(connection: redis.Redis) -> tuple[list[str], list[str]]:
    """Of all queues and all workers that RQ knows of."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.smembers(Queue.redis_queues_keys)
        pipe.smembers(REDIS_WORKER_KEYS)
        queues, workers = replies_of(pipe)
    return [_last_part(key) for key in queues or ()], [_last_part(key) for key in workers or ()]


def read_queues(connection: redis.Redis, names: Sequence[str]) -> list[Item]:
    """How many jobs are where in each queue."""
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(Queue.redis_queue_namespace_prefix + name)
            pipe.zcard(StartedJobRegistry.key_template.format(name))
            pipe.zcard(FailedJobRegistry.key_template.format(name))
        counts = iter([count or 0 for count in replies_of(pipe)])
    return [
        {"name": name, "waiting": next(counts), "started": next(counts), "failed": next(counts)}
        for name in names
    ]


def _read_open_workers(
    connection: redis.Redis, keys: Keys, names: Sequence[str], now_ms: int
) -> list[Item]:
    """This fleet's among RQ's workers; one whose record has expired is there no more."""
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            key = Worker.redis_worker_namespace_prefix + name
            pipe.hmget(key, "queues", "state", "current_job", "last_heartbeat")
        replies = [reply or [None] * 4 for reply in replies_of(pipe)]
    workers = []
    for name, reply in zip(names, replies, strict=True):
        queues, state, job, heartbeat = map(text_of, reply)
        heartbeat_ms = ms_of(heartbeat)
        if _is_ours(queues, keys) and heartbeat_ms is not None:
            workers.append(
                {
                    "name": name,
                    "queues": queues.split(","),
                    "state": state,
                    "current_job": job or None,
                    "heartbeat_ms": heartbeat_ms,
                    "heartbeat_age_ms": now_ms - heartbeat_ms,
                }
            )
    return workers


def _is_ours(queue: str, keys: Keys) -> bool:
    return queue == keys.validation_queue or queue.startswith(keys.queue(""))


def _has_our_name(worker: str, keys: Keys) -> bool:
    return worker.startswith((keys.queue(""), keys.validator("")))


def _last_part(key: bytes) -> str:
    """The name of a queue or worker, from RQ's key of it."""
    return text_of(key).split(":", 2)[-1]
