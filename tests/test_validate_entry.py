"""One attempt at a validation: what is read, what is not run, and what is sent of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import ConnectionError as Disconnected
from redis import Redis

from coordinator.keys import Keys
from coordinator.payloads import Verdict
from coordinator.settings import Settings
from coordinator.validation.jobs import VALIDATION_FUNCTION, VALIDATION_LIMIT_S
from coordinator.validation.models import record_hash
from tests.fleet import ManualClock
from workers.job import Host
from workers.sandbox import Interrupted
from workers.time_limit import TookTooLong
from workers.validate import MARGIN_S, run_attempt, run_validation
from workers.validation import Component, day_of, validation_seed

KEYS = Keys()
RECORD = {"id": "c", "language": "python", "code": "x = 1"}
HASH = record_hash(RECORD, "file_system")
ASKED = {"kind": "component", "component_id": "c", "hash": HASH, "attempt": 2}
FAILED = Verdict(verdict="failed", reason="it has no Policy")

Judge = Callable[..., Verdict]


def sent(redis: Redis) -> list[tuple[str, int, dict[str, Any]]]:
    """What lies in the ingress: instance, number, and the message."""
    entries: Any = redis.xrange(KEYS.ingress("V_1"))
    return [(e[b"instance"].decode(), int(e[b"n"]), json.loads(e[b"body"])) for _, e in entries]


def stored(redis: Redis, **fields: Any) -> None:
    record = {"record": json.dumps(RECORD), "specialization": "file_system", "contributor": "AI_1"}
    redis.hset(KEYS.record("component", "c"), mapping={**record, **fields})


@pytest.fixture
def attempted(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Runs the attempt as V_1 with a judge instead of the sandbox; the result."""
    settings = Settings(state_dir=tmp_path / "state")

    def run(judge: Judge, connection: Any = redis, clock: Any = None) -> dict[str, Any]:
        monkeypatch.setattr("workers.validate.validate", judge)
        host = Host("V_1", settings, "host.1.x")
        return run_attempt(dict(ASKED), connection, host, clock or ManualClock())

    return run


Attempted = Callable[..., dict[str, Any]]


def failing(*_: object, day: str) -> Verdict:
    return FAILED


def not_called(*_: object, day: str) -> Verdict:
    raise AssertionError("it was run")


def test_the_verdict_is_sent_once_and_returned(
    redis: Redis, attempted: Attempted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(redis)
    seen: list[Any] = []

    def judge(component: Component, seed: bytes, day: str) -> Verdict:
        seen.append((component, seed, day))
        return FAILED

    returned = attempted(judge)
    seed = validation_seed(Settings(state_dir=tmp_path / "state"))
    assert seen == [(Component(RECORD, "file_system"), seed, day_of(ManualClock().now_ms()))]
    assert returned == ASKED | FAILED.model_dump()
    ((instance, n, message),) = sent(redis)
    assert (instance.rpartition("/")[0], n) == ("host.1.x/validation", 1)
    assert (message["sender_id"], message["message_type"]) == ("V_1", "validation_result")
    assert message["payload"] == returned
    assert caplog.messages == ["component c: failed: it has no Policy"]


def test_two_runs_are_two_instances(redis: Redis, attempted: Attempted) -> None:
    """Or the coordinator would take the second message for the first one, sent again."""
    stored(redis)
    attempted(failing)
    attempted(failing)
    assert len({instance for instance, _, _ in sent(redis)}) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"record": json.dumps(RECORD | {"code": "x = 2"})},
        {"specialization": "process_manager"},
        {"record": "{"},
        {"record": b"\xff"},
    ],
)
def test_what_has_changed_is_not_validated(
    fields: dict[str, Any], redis: Redis, attempted: Attempted
) -> None:
    stored(redis, **fields)
    assert attempted(not_called)["skipped"] == "it has changed"
    assert sent(redis) == []


def test_neither_is_what_is_gone(redis: Redis, attempted: Attempted) -> None:
    assert attempted(not_called)["skipped"] == "it has changed"
    assert sent(redis) == []


@pytest.mark.parametrize(
    "fields", [{"contributor": "V_1"}, {"contributors": json.dumps(["AI_1", "V_1"])}]
)
def test_nor_what_is_of_the_validator_itself(
    fields: dict[str, Any], redis: Redis, attempted: Attempted, caplog: pytest.LogCaptureFixture
) -> None:
    stored(redis, **fields)
    assert "contributor" in attempted(not_called)["skipped"]
    assert sent(redis) == []
    assert "component c is of V_1 itself, and is left to another validator" in caplog.messages


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("two\nlines"), "the validator failed: RuntimeError: two\\nlines"),
        (TookTooLong(), "its validation took longer than 70 s"),
    ],
)
def test_a_fault_of_the_validator_is_none_of_the_component(
    error: BaseException, reason: str, redis: Redis, attempted: Attempted
) -> None:
    stored(redis)

    def raising(*_: object, day: str) -> Verdict:
        raise error

    attempted(raising)
    ((_, _, message),) = sent(redis)
    assert (message["payload"]["verdict"], message["payload"]["reason"]) == (
        "not_validated",
        reason,
    )


def test_an_accident_of_the_sandbox_is_no_verdict(
    redis: Redis, attempted: Attempted, caplog: pytest.LogCaptureFixture
) -> None:
    """So the coordinator has it tried again."""
    stored(redis)

    def struck(*_: object, day: str) -> Verdict:
        raise Interrupted("the sandbox was killed from outside")

    told = "the sandbox was killed from outside; let it be run again"
    assert attempted(struck) == ASKED | {"skipped": told}
    assert sent(redis) == []
    assert f"component c: attempt 2: {told}" in caplog.messages


class Flaky:
    """A connection that is away for the next so many tries of each kind."""

    def __init__(self, redis: Redis, outages: int) -> None:
        self._redis = redis
        self.reads = self.writes = outages

    def hmget(self, *arguments: Any) -> Any:
        if self.reads:
            self.reads -= 1
            raise Disconnected("away")
        return self._redis.hmget(*arguments)

    def pipeline(self, transaction: bool) -> Any:
        if self.writes:
            self.writes -= 1
            raise Disconnected("away")
        return self._redis.pipeline(transaction=transaction)


def test_it_outlives_an_outage(
    redis: Redis, attempted: Attempted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.outages.FIRST_WAIT_S", 0.001)
    stored(redis)
    returned = attempted(failing, Flaky(redis, outages=3))
    ((_, n, message),) = sent(redis)
    assert (n, message["payload"]) == (1, returned)


def test_a_verdict_that_cannot_be_told_in_time_is_said_and_returned(
    redis: Redis, attempted: Attempted, caplog: pytest.LogCaptureFixture
) -> None:
    stored(redis)
    clock = ManualClock()

    def judge(*_: object, day: str) -> Verdict:
        clock.advance(VALIDATION_LIMIT_S - MARGIN_S)
        return FAILED

    flaky = Flaky(redis, outages=1)
    flaky.reads = 0
    assert attempted(judge, flaky, clock) == ASKED | FAILED.model_dump()
    assert sent(redis) == []
    assert "component c: its verdict could not be sent: away" in caplog.messages


def test_the_entry_function_is_the_one_that_jobs_name() -> None:
    assert f"{run_validation.__module__}.{run_validation.__name__}" == VALIDATION_FUNCTION
