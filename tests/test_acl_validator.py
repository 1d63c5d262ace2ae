"""The Redis user of a validator: the validators' queue is its own, and nothing of anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from redis import Redis

from coordinator.acl import rules
from coordinator.connection import connect
from coordinator.jobs import job_id
from coordinator.keys import Keys, RecordKey
from coordinator.validation.jobs import validation_job_id
from tests.acl_users import denials, url_as
from tests.clients import RealFleet
from tests.components import LRU
from tests.sandboxes import needs_sandbox
from tests.servers import RealKind, TestServer
from tests.trainers import LEASE_S, Validator, started_trainers
from tests.validators import enroll, is_over, joined, judged, share

KEYS = Keys()
ME = "Validator_1"
OTHER = "Validator_10"
"""Its id begins like ours."""
TRAINER = "AI_1"
JOB = validation_job_id(RecordKey("component", "c"), "0" * 64, 1)
QUEUE = KEYS.validation_queue

OWN = [
    f"BLMOVE rq:queue:{QUEUE} rq:queue:{QUEUE}:intermediate LEFT RIGHT 0.01",
    f"LRANGE rq:queue:{QUEUE} 0 -1",
    f"LREM rq:queue:{QUEUE}:intermediate 0 {JOB}",
    f"HSET rq:job:{JOB} status started",
    f"XADD rq:results:{JOB} * a b",
    f"ZADD rq:wip:{QUEUE} 1 x",
    f"ZADD rq:executions:{JOB} 1 x",
    f"HSET rq:execution:{JOB}:x a b",
    f"HSET rq:worker:{QUEUE}.{ME} state busy",
    f"SADD rq:workers:{QUEUE} rq:worker:{QUEUE}.{ME}",
    f"HGETALL {KEYS.record('component', 'c')}",
    f"HGET {KEYS.member(ME)} access",
    f"XADD {KEYS.ingress(ME)} * a b",
    f"SUBSCRIBE rq:pubsub:{QUEUE}.{ME}",
]
REFUSED = [
    f"HSET {KEYS.record('component', 'c')} quality_score 1",
    f"HSET {KEYS.record('component', 'c')} validation x",
    f"DEL {KEYS.record('feature', 'f')}",
    f"ZADD {KEYS.best('component', 'sound')} 1 c",
    f"ZADD {KEYS.validations} 1 component:c",
    f"ZREM {KEYS.validations} component:c",
    f"HSET {KEYS.evaluators} sound x",
    f"ZADD {KEYS.derived('component', 'c')} 1 component:d",
    f"HSET {KEYS.credit(ME)} own:audio x",
    f"HSET {KEYS.member(ME)} contribution_score 9",
    f"HSET {KEYS.member(ME)} access x",
    f"HGET {KEYS.member(OTHER)} access",
    f"HGETALL {KEYS.credentials(ME)}",
    f"HSET rq:worker:{QUEUE}.{OTHER} state busy",
    f"SUBSCRIBE rq:pubsub:{QUEUE}.{OTHER}",
    f"RPUSH rq:queue:{KEYS.queue(TRAINER)} {JOB}",
    f"LRANGE rq:queue:{KEYS.queue(TRAINER)} 0 -1",
    f"RPOP rq:queue:{KEYS.queue(ME)}",
    f"HGETALL rq:job:{job_id(TRAINER, 'u', 1)}",
    f"HGETALL rq:job:{job_id(ME, 'u', 1)}",
    f"XADD {KEYS.ingress(OTHER)} * a b",
    f"XADD {KEYS.ingress(TRAINER)} * a b",
    f"XRANGE {KEYS.inbox(TRAINER)} - +",
    f"LRANGE rq:queue:{Keys('coord2').validation_queue} 0 -1",
]
FOR_TRAINERS = [line for line in OWN if QUEUE in line or JOB in line]


@pytest.fixture(scope="module")
def server(real_kind: RealKind) -> Iterator[TestServer]:
    with TestServer(real_kind) as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server: TestServer) -> Iterator[RealFleet]:
    with RealFleet(server.url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def me(server: TestServer, fleet: RealFleet) -> Iterator[Redis]:
    """Our user, which was made after we were enrolled."""
    enroll(fleet, ME)
    with connect(url_as(server, fleet.redis, ME)) as me:
        yield me


def is_refused(connection: Redis, line: str) -> bool:
    """Whether the server refuses it for want of permission; others of its refusals are raised."""
    with connection.client() as alone:
        try:
            alone.execute_command(*line.split())
        except redis_py.exceptions.NoPermissionError:
            return True
        finally:
            assert alone.connection is not None
            alone.connection.disconnect()
    return False


def test_what_a_validator_needs_is_its_own_and_all_else_is_not(me: Redis) -> None:
    assert [line for line in OWN if is_refused(me, line)] == []
    assert [line for line in REFUSED if not is_refused(me, line)] == []


def test_the_queue_is_no_trainers(server: TestServer, fleet: RealFleet) -> None:
    with connect(url_as(server, fleet.redis, TRAINER)) as trainer:
        assert [line for line in FOR_TRAINERS if not is_refused(trainer, line)] == []
    assert len(FOR_TRAINERS) > 5


def test_the_rules_follow_the_role() -> None:
    assert rules(KEYS, ME, (7, 2)) == rules(KEYS, ME, (7, 2), role="observer")
    assert rules(KEYS, ME, (7, 2)) != rules(KEYS, ME, (7, 2), role="validator")


@needs_sandbox
def test_a_validator_validates_as_a_user_of_its_own(
    server: TestServer, fleet: RealFleet, ai: str, tmp_path: Path
) -> None:
    """And not one command is refused."""
    fleet.redis.acl_log_reset()
    enroll(fleet, f"{ai}_v")
    with started_trainers(tmp_path, lambda v: url_as(server, fleet.redis, v), Validator) as start:
        validator = joined(fleet, start, f"{ai}_v")
        share(fleet, ai, f"{ai}-c", LRU)
        assert judged(fleet, f"{ai}-c")["verdict"] == "passed", validator.said()
        validator.process.terminate()
        assert validator.process.wait(20) == 0, validator.said()
    assert is_over(fleet, f"{ai}-c")
    assert denials(fleet.redis) == []
