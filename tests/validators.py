"""Validations under test: validators that are enrolled, components that take their time, and all
that was said of one."""

from __future__ import annotations

import json
from typing import Any

from cli.local_fleet import enroll_validator
from cli.options import OpenFleet
from tests.clients import RealFleet
from tests.components import LRU
from tests.processes import children_of
from tests.servers import wait_for
from tests.trainers import Start, Validator, instance

SLOW = f"{LRU}\n\ndef test_slow():\n    import time\n    time.sleep(3)\n"
"""A component whose validation lasts long enough to be struck in the middle of it."""


def enroll(fleet: RealFleet, ai: str) -> bool:
    return enroll_validator(OpenFleet(fleet.redis, "the test's", fleet.keys), ai)


def joined(fleet: RealFleet, start: Start, ai: str) -> Validator:
    """A validator that is enrolled, and there."""
    enroll(fleet, ai)
    validator = start(ai)
    wait_for(lambda: instance(fleet, ai), what=f"{ai} to join")
    assert isinstance(validator, Validator)
    return validator


def share(fleet: RealFleet, contributor: str, record_id: str, code: str) -> None:
    component = {"id": record_id, "language": "python", "specialization": "file_system"}
    with fleet.client(contributor) as client:
        client.share_code(component | {"code": code})


def verdict_on(fleet: RealFleet, record_id: str) -> dict[str, Any] | None:
    """What is stored of it, None while it waits."""
    found: Any = fleet.redis.hget(fleet.keys.record("component", record_id), "validation")
    return json.loads(found) if found else None


def judged(fleet: RealFleet, record_id: str, limit_s: float = 40) -> dict[str, Any]:
    """The verdict on it, once there is one."""
    found = wait_for(lambda: verdict_on(fleet, record_id), limit_s, f"a verdict on {record_id}")
    assert found is not None
    return found


def told(fleet: RealFleet, record_id: str) -> list[dict[str, Any]]:
    """The verdicts on it that all were told."""
    return [
        message["payload"]
        for message in fleet.log()
        if message["message_type"] == "validation_result"
        and message["payload"]["component_id"] == record_id
    ]


def events(fleet: RealFleet, record_id: str) -> list[str]:
    """What happened to it, by kinds of events."""
    entries: Any = fleet.redis.xrange(fleet.keys.events)
    return [
        fields[b"kind"].decode()
        for _, fields in entries
        if json.loads(fields[b"data"]).get("component_id") == record_id
    ]


def is_over(fleet: RealFleet, record_id: str) -> bool:
    """Nothing of its validation is left to be done."""
    is_open = fleet.redis.hexists(fleet.keys.record("component", record_id), "validating")
    return not is_open and not fleet.redis.zscore(fleet.keys.validations, f"component:{record_id}")


def work_horse(validator: Validator) -> int | None:
    """The process that validates, once it has started a sandbox."""
    worker, agent = validator.processes
    horses = (child for child in children_of(worker) if child != agent)
    return next((horse for horse in horses if children_of(horse)), None)
