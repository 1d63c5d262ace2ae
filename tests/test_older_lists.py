"""A fleet that an older coord ran: what it listed by specialization is listed by problem."""

from __future__ import annotations

from redis import Redis

from coordinator.specializations import CAPABILITIES
from coordinator.validation.older_lists import SPECIALIZATIONS
from tests.fleet import FleetUnderTest
from tests.watched import share
from workers.problems import JOINT_PROBLEMS, PROBLEMS

OLDER = "coord:best:components:general"
NOW = "coord:best:components:sound"


def test_what_passed_is_listed_by_its_problem_after_a_takeover(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a")
    fleet.join("v")
    share(fleet, "c", "d", "unjudged")
    fleet.judge("v", "c", verdict="passed", score=0.9)
    fleet.judge("v", "d", verdict="failed", reason="it is worse")
    redis.delete(NOW)
    redis.zadd(OLDER, {"c": 0.9, "d": 0.5, "unjudged": 0.4, "gone": 0.3, b"\xff": 0.2})

    fleet.replace_coordinator("coordinator-2")
    fleet.run()

    assert redis.zrange(NOW, 0, -1, withscores=True) == [(b"c", 0.9)]
    assert redis.exists(OLDER) == 0
    assert sorted(key for key in redis.keys("coord:component:*")) == [
        *(b"coord:component:c", b"coord:component:d", b"coord:component:unjudged"),
    ]


def test_a_list_that_strangers_spoiled_stops_no_takeover(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a")
    fleet.join("v")
    share(fleet, "c")
    fleet.judge("v", "c", verdict="passed", score=0.9)
    redis.set(NOW, "spoiled")
    redis.zadd(OLDER, {"c": 0.9})

    fleet.replace_coordinator("coordinator-2")
    fleet.run()

    assert (redis.get(NOW), redis.exists(OLDER)) == (b"spoiled", 0)


def test_no_problem_is_called_like_a_specialization() -> None:
    names = {problem.name for problem in (*PROBLEMS, *JOINT_PROBLEMS)}
    assert names.isdisjoint({*SPECIALIZATIONS, *CAPABILITIES})
