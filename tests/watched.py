"""A fleet whose validations are watched: jobs are taken, time passes look by look."""

from __future__ import annotations

import json
from typing import Any

from coordinator.keys import RecordKey
from coordinator.validation.jobs import validation_job_id
from tests.fleet import FleetUnderTest, python

QUEUE = "rq:queue:coord.validation"


def share(fleet: FleetUnderTest, *ids: str) -> None:
    for record_id in ids:
        fleet.say("a", "code_share", {"code": python(record_id)})
    fleet.run()


def job(fleet: FleetUnderTest, attempt: int = 1, record_id: str = "c") -> str:
    """The key of the job of that attempt."""
    digest = fleet.record("component", record_id)["hash"]
    return f"rq:job:{validation_job_id(RecordKey('component', record_id), digest, attempt)}"


def take(fleet: FleetUnderTest) -> str:
    """Be a worker that takes the next job, and says that it has begun; the job's key."""
    taken: Any = fleet.redis.lpop(QUEUE)
    key = f"rq:job:{taken.decode()}"
    fleet.redis.hset(key, mapping={"status": "started", "last_heartbeat": "1"})
    return key


def waiting(fleet: FleetUnderTest, record_id: str = "c") -> dict[str, Any]:
    return dict(json.loads(fleet.record("component", record_id).get("validating", "{}")))


def queued(fleet: FleetUnderTest) -> list[str]:
    found: Any = fleet.redis.lrange(QUEUE, 0, -1)
    return [f"rq:job:{name.decode()}" for name in found]


def look(fleet: FleetUnderTest, seconds: float) -> None:
    """Let time pass as it does, look by look."""
    for _ in range(int(seconds / 3)):
        fleet.pass_time(3)


def verdict(fleet: FleetUnderTest, record_id: str = "c") -> dict[str, Any]:
    return dict(json.loads(fleet.record("component", record_id)["validation"]))
