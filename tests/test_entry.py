"""One attempt at a unit: what its skill is given, what is sent of it, and how it fails."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import ConnectionError as Disconnected
from redis import Redis

from coordinator.clock import SystemClock
from coordinator.jobs import ENTRY_FUNCTION
from coordinator.keys import Keys
from coordinator.settings import Settings
from coordinator.work import Attempt, Unit
from tests.fleet import ManualClock
from workers.entry import UnitReport, run_attempt, run_unit
from workers.job import Host
from workers.skills.registry import all_skills
from workers.skills.skill import Output, UnitContext

KEYS = Keys()
HOST = Host("AI_1", Settings(message_max_bytes=4096, specialization="audio"), "host.1.x")

Do = Callable[[Unit, UnitContext], Any]


class Doing:
    """A skill that does what a test says."""

    capabilities = ()

    def __init__(self, do: Do) -> None:
        self._do = do

    def run(self, unit: Unit, context: UnitContext) -> Output:
        done: Output = self._do(unit, context)
        return done


def stored(redis: Redis, number: int, needs: tuple[int, ...] = (), **more: Any) -> Unit:
    """A unit of session ``s`` in its first attempt, as the coordinator writes it."""
    unit = Unit(
        **{
            "id": f"s-{number}",
            "session_id": "s",
            "name": f"unit{number}",
            "kind": "doing",
            "participant": None,
            "needs": [f"s-{need}" for need in needs],
            "inputs": {},
            "limit_s": 5,
            "tries": 3,
            "state": "queued",
            "attempts": [Attempt("AI_1", 0)],
            **more,
        }
    )
    redis.hset(KEYS.unit(unit.id), mapping={"unit": unit.to_json(), "attempt": unit.attempt})
    return unit


def sent(redis: Redis) -> list[tuple[str, int, dict[str, Any]]]:
    """What lies in the ingress: instance, number, and the message."""
    entries: Any = redis.xrange(KEYS.ingress("AI_1"))
    return [(e[b"instance"].decode(), int(e[b"n"]), json.loads(e[b"body"])) for _, e in entries]


Attempted = Callable[..., dict[str, Any]]


@pytest.fixture
def attempted(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Attempted:
    """Runs unit 1 with a skill that does what is given; the result."""

    def run(do: Do, number: int = 1, attempt: int = 1) -> dict[str, Any]:
        monkeypatch.setitem(all_skills(), "doing", Doing(do))
        return run_attempt(f"s-{number}", attempt, redis, HOST, SystemClock())

    return run


def result(outcome: str, **more: Any) -> dict[str, Any]:
    return {"session_id": "s", "unit_id": "s-1", "attempt": 1, "outcome": outcome, **more}


def test_what_a_skill_makes_is_sent_and_returned(redis: Redis, attempted: Attempted) -> None:
    stored(redis, 1)

    def make(unit: Unit, context: UnitContext) -> Output:
        context.workspace.put("key", [1])
        return {"made": unit.name}

    returned = attempted(make)
    assert returned == result("completed", output={"made": "unit1"}, workspace={"key": [1]})
    ((instance, n, message),) = sent(redis)
    assert (instance, n) == ("host.1.x/s-1/1", 1)
    assert message["payload"] == returned
    assert (message["sender_id"], message["message_type"]) == ("AI_1", "work_result")
    assert redis.smembers(KEYS.doors) == {b"AI_1"}


def test_a_skill_is_given_what_others_made_and_shared(redis: Redis, attempted: Attempted) -> None:
    for number in (2, 3):
        stored(redis, number)
        redis.hset(KEYS.unit(f"s-{number}"), "output", json.dumps({"n": number}))
    stored(redis, 1, needs=(2, 3))
    for key, value in {"b": 2, "a": 1, "other": 3}.items():
        redis.hset(KEYS.workspace("s"), key, json.dumps({"value": value, "version": 1}))
    record = {"record": json.dumps({"id": "p"}), "specialization": "audio", "contributor": "AI_2"}
    redis.hset(KEYS.record("pattern", "p"), mapping={**record, "timestamp": "t", "revision": 1})
    redis.zadd(KEYS.records("pattern"), {"p": 1})
    given: dict[str, Any] = {}

    def look(unit: Unit, context: UnitContext) -> Output:
        given["outputs"] = context.outputs
        given["items"] = context.workspace.items()
        given["a"] = context.workspace.items("a"), context.workspace.get("a")
        given["none"] = context.workspace.get("none", "default")
        given["patterns"] = [item["pattern"]["id"] for item in context.knowledge.patterns()]
        given["features"] = context.knowledge.features("audio")
        given["me"] = context.ai_id, context.specialization
        return {}

    assert attempted(look)["outcome"] == "completed"
    assert given == {
        "outputs": {"unit2": {"n": 2}, "unit3": {"n": 3}},
        "items": {"a": 1, "b": 2, "other": 3},
        "a": ({"a": 1}, 1),
        "none": "default",
        "patterns": ["p"],
        "features": [],
        "me": ("AI_1", "audio"),
    }


@pytest.mark.parametrize("attempt", [2, 0, -1])
def test_another_attempt_than_the_present_one_is_not_run(
    attempt: int, redis: Redis, attempted: Attempted
) -> None:
    stored(redis, 1)
    returned = attempted(lambda *_: pytest.fail("it was run"), attempt=attempt)
    assert returned["outcome"] == "failed"
    assert sent(redis) == []


def test_a_unit_that_is_gone_or_not_assigned_is_not_run(redis: Redis, attempted: Attempted) -> None:
    stored(redis, 1)
    redis.hset(KEYS.unit("s-1"), "attempt", 0)
    assert attempted(lambda *_: pytest.fail("it was run"))["outcome"] == "failed"
    assert attempted(lambda *_: pytest.fail("it was run"), number=9)["outcome"] == "failed"
    assert sent(redis) == []


def raised(error: BaseException) -> Do:
    def do(*_: object) -> Any:
        raise error

    return do


TOO_LARGE = {"large": "x" * 4096}


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (raised(ValueError("two\nlines")), "ValueError: two\\nlines"),
        (raised(RuntimeError("x" * 1000)), "RuntimeError: " + "x" * 383 + "..."),
        (raised(SystemExit(3)), "SystemExit: 3"),
        (lambda *_: {"nan": float("nan")}, "has no NaN and no infinity"),
        (lambda *_: {"set": {1}}, "Object of type set is not JSON serializable"),
        (lambda *_: [1], "payload.output should be a valid dictionary"),
        (lambda *_: TOO_LARGE, "bytes; at most 4096 are allowed; put what is large into an artif"),
        (lambda _, c: c.workspace.put("k", TOO_LARGE) or {}, "at most 4096 are allowed"),
        (lambda _, c: c.workspace.put("two words", 1) or {}, "is not a word"),
        (lambda _, c: c.artifacts.put(bytes(16 * 1024 * 1024 + 1)), "is too large; the most is"),
        (lambda _, c: c.artifacts.get("AI_1:" + "0" * 64), "is gone"),
        (lambda _, c: c.artifacts.get("AI_1"), "is no artifact's reference"),
    ],
)
def test_whatever_goes_wrong_is_a_failure_with_one_line_of_reason(
    do: Do, reason: str, redis: Redis, attempted: Attempted, caplog: pytest.LogCaptureFixture
) -> None:
    stored(redis, 1)
    returned = attempted(do)
    assert reason in returned["reason"]
    assert len(returned["reason"]) <= 400
    assert returned == result("failed", reason=returned["reason"])
    ((_, n, message),) = sent(redis)
    assert (n, message["payload"]) == (1, returned)
    assert not any(record.exc_info for record in caplog.records if record.levelname != "DEBUG")


def test_a_needed_output_that_is_gone_is_a_failure(redis: Redis, attempted: Attempted) -> None:
    stored(redis, 2)
    stored(redis, 1, needs=(2,))
    assert "the output of unit s-2" in attempted(lambda *_: {})["reason"]


def test_a_kind_without_a_skill_is_a_failure(redis: Redis, attempted: Attempted) -> None:
    stored(redis, 1, kind="unheard-of")
    assert attempted(lambda *_: {})["reason"] == "SkillError: AI_1 has no skill for unheard-of"


def test_artifacts_are_kept_for_a_while_and_checked(redis: Redis, attempted: Attempted) -> None:
    stored(redis, 1)
    kept: dict[str, Any] = {}

    def keep(_: Unit, context: UnitContext) -> Output:
        kept["reference"] = context.artifacts.put(b"data")
        kept["data"] = context.artifacts.get(kept["reference"])
        return {}

    assert attempted(keep)["outcome"] == "completed"
    ai_id, sha256 = kept["reference"].split(":")
    assert (ai_id, kept["data"]) == ("AI_1", b"data")
    key = KEYS.artifact(ai_id, sha256)
    assert 3_500_000 < redis.pttl(key) <= 3_600_000
    (instance, n, told), (_, last, _) = sent(redis)
    assert (instance, n, last) == ("host.1.x/s-1/1", 1, 2)
    assert told["message_type"] == "payload"
    assert told["payload"] == {"artifact": sha256, "bytes": 4, "share": True}
    redis.set(key, b"other")
    reason = attempted(lambda _, c: c.artifacts.get(kept["reference"]))["reason"]
    assert "holds something else" in reason


def test_an_artifact_of_another_is_read_where_it_is_shared(
    redis: Redis, attempted: Attempted
) -> None:
    stored(redis, 1)
    sha256 = hashlib.sha256(b"data").hexdigest()
    redis.set(KEYS.artifact("AI_2", sha256), b"not ours to read")
    got: list[bytes] = []

    def get(_: Unit, context: UnitContext) -> Output:
        got.append(context.artifacts.get(f"AI_2:{sha256}"))
        return {}

    assert "is gone, or there was no room" in attempted(get)["reason"]
    redis.set(KEYS.artifact("", sha256), b"data")
    assert attempted(get)["outcome"] == "completed"
    assert got == [b"data"]


@pytest.fixture
def alarms() -> Iterator[list[float]]:
    """Catches the alarm that was set outside; pytest's own is put back."""
    went_off: list[float] = []
    handler = signal.signal(signal.SIGALRM, lambda *_: went_off.append(time.monotonic()))
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    yield went_off
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *left)


def test_a_unit_ends_at_its_limit_though_its_skill_catches_all(
    redis: Redis, attempted: Attempted, alarms: list[float]
) -> None:
    stored(redis, 1, limit_s=0.2)
    signal.setitimer(signal.ITIMER_REAL, 30)

    def stubborn(*_: object) -> Any:
        while True:
            try:
                time.sleep(10)
            except Exception:
                continue

    returned = attempted(stubborn)
    assert returned == result("failed", reason="took longer than 0.2 s")
    left_s, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 25 < left_s < 29.9  # RQ's own alarm goes on
    assert alarms == []


# -- progress, and outages -------------------------------------------------------------------------


def test_progress_is_told_once_a_second_and_numbered_before_the_result(redis: Redis) -> None:
    clock = ManualClock()
    report = UnitReport(stored(redis, 1), redis, HOST, clock)
    for progress, step_s in [(-1.0, 0.4), (0.3, 0.6), (0.6, 0.5), (0.7, 0.5), (7.0, 0.0)]:
        report.progress(progress)
        clock.advance(step_s)
    report.end({}, {}, "", clock.elapsed_s())
    told = [(n, message["payload"]) for _, n, message in sent(redis)]
    assert told == [
        (1, result("running", progress=0.0)),
        (2, result("running", progress=0.6)),
        (3, result("running", progress=1.0)),
        (4, result("completed", output={}, workspace={})),
    ]


class Flaky:
    """A connection whose pipelines fail until ``outages`` are over."""

    def __init__(self, redis: Redis, outages: int) -> None:
        self._redis = redis
        self.outages = outages

    def pipeline(self, transaction: bool) -> Any:
        if self.outages:
            self.outages -= 1
            raise Disconnected("away")
        return self._redis.pipeline(transaction=transaction)


def test_progress_gives_up_at_once_and_a_result_does_not(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.outages.FIRST_WAIT_S", 0.001)
    flaky: Any = Flaky(redis, outages=4)
    report = UnitReport(stored(redis, 1), flaky, HOST, ManualClock())
    report.progress(0.5)
    assert (flaky.outages, sent(redis)) == (3, [])
    returned = report.end({"x": 1}, {}, "", until_s=2000)
    ((_, n, message),) = sent(redis)
    assert (n, message["payload"]) == (2, returned)


def test_a_result_that_cannot_be_sent_in_time_is_still_returned(redis: Redis) -> None:
    clock = ManualClock()
    flaky: Any = Flaky(redis, outages=1)
    report = UnitReport(stored(redis, 1), flaky, HOST, clock)
    returned = report.end({"x": 1}, {}, "", until_s=clock.elapsed_s())
    assert returned == result("completed", output={"x": 1}, workspace={})
    assert sent(redis) == []


def test_the_entry_function_is_the_one_that_jobs_name() -> None:
    assert f"{run_unit.__module__}.{run_unit.__name__}" == ENTRY_FUNCTION
