"""Units as RQ has them: RQ's own classes read what the transaction wrote."""

from __future__ import annotations

import re

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from coordinator.jobs import ENTRY_FUNCTION, enqueue, job_id, unit_of
from coordinator.keys import Keys
from coordinator.work import Attempt, Unit
from tests.fleet import FleetUnderTest

UNIT = [{"name": "u", "kind": "k", "limit_s": 7.5}]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("AI_1", skills=["k"])
    return fleet


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue("coord.ai.AI_1", connection=redis, serializer=JSONSerializer)


def test_rq_finds_a_job_in_its_queue(fleet: FleetUnderTest, queue: Queue) -> None:
    s = fleet.collaborate("AI_1", plan=UNIT)
    assert queue in Queue.all(connection=fleet.redis)
    (job,) = queue.jobs
    assert job.id == job_id("AI_1", f"{s}-1", 1)
    assert (job.func_name, job.args, job.kwargs) == (ENTRY_FUNCTION, [f"{s}-1", 1], {})
    assert (job.get_status(), job.timeout, job.result_ttl, job.failure_ttl) == (
        "queued",
        37,
        300,
        300,
    )
    assert (job.origin, job.description, job.retries_left) == (
        queue.name,
        f"k of session {s}",
        None,
    )
    assert job.created_at == job.enqueued_at
    assert job.enqueued_at.timestamp() * 1000 == fleet.clock.now_ms()


def test_a_worker_takes_it(fleet: FleetUnderTest, queue: Queue) -> None:
    fleet.collaborate("AI_1", plan=UNIT)
    taken = Queue.dequeue_any([queue], None, fleet.redis, serializer=JSONSerializer)
    assert taken is not None
    assert taken[0].func_name == ENTRY_FUNCTION
    assert queue.job_ids == []


def test_one_that_is_taken_off_leaves_nothing_behind(fleet: FleetUnderTest, queue: Queue) -> None:
    s = fleet.collaborate("AI_1", plan=UNIT)
    (job,) = queue.jobs
    fleet.redis.rpush(queue.intermediate_queue_key, job.id)
    fleet.say("operator", "cancel", {"session_id": s})
    fleet.run()
    left = {name: end for name, (_, end) in fleet.state().items() if name.startswith("rq:")}
    assert left == {"rq:queues": "stays", f"rq:job:{job.id}": "expires"}


@pytest.mark.parametrize("ai", ["a", "A.b_c-" + "x" * 58, "a.b", "a_b"])
def test_a_jobs_id_is_what_rq_allows_and_each_ai_has_its_own(ai: str) -> None:
    name = job_id(ai, "0123456789ab-256", 12)
    assert re.fullmatch(r"[0-9a-f]{16}-0123456789ab-256-12", name)
    assert name[:16] != job_id(f"{ai[:-1]}y", "", 1)[:16]
    assert unit_of(name) == "0123456789ab-256"


def test_the_same_unit_is_the_same_commands() -> None:
    unit = Unit("s-1", "s", "u", "k", None, [], {}, 60, 3, attempts=[Attempt("a", 0)])
    assert enqueue(unit, "a", Keys(), 5) == enqueue(unit, "a", Keys(), 5)


def test_the_queue_of_who_left_is_no_longer_listed(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", skills=["k"])
    fleet.collaborate("a", "b", plan=[{"name": "u", "kind": "k", "participant": 1}])
    fleet.say("b", "goodbye")
    fleet.run()
    assert redis.smembers("rq:queues") == {b"rq:queue:coord.ai.a"}


def test_what_rq_lists_of_who_left_goes_and_stays_if_it_comes_back(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    lists = [f"rq:{name}:coord.ai.a" for name in ("wip", "finished", "failed")]
    fleet.join("a")
    for name in lists:
        redis.zadd(name, {"job": 1})
    fleet.say("a", "goodbye")
    fleet.run()
    assert {redis.ttl(name) for name in lists} == {300}
    fleet.join("a")
    assert {redis.ttl(name) for name in lists} == {-1}
