"""The leader lease: one holder, a new token at each take, and a fence that holds back others."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.client import Pipeline

from coordinator.errors import LeaseLost
from coordinator.keys import Keys
from coordinator.lease import Lease
from tests.fleet import CountingIds, ManualClock
from tests.servers import wait_for

KEYS = Keys()


class Candidates:
    """Leases of several coordinators over one server; they share a clock and a source of ids."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.clock = ManualClock()
        self.ids = CountingIds()

    def lease(self, name: str, lease_s: float = 100) -> Lease:
        return Lease(self.redis, KEYS, name, lease_s, self.clock, self.ids)

    def remaining_ms(self) -> int:
        return int(self.redis.pttl(KEYS.leader))


@pytest.fixture
def candidates(redis: Redis) -> Candidates:
    return Candidates(redis)


def write(redis: Redis, lease: Lease, value: str) -> None:
    with redis.pipeline() as pipe:
        lease.fence(pipe)
        pipe.multi()
        pipe.set("written", value)
        pipe.execute()


def test_taken_by_the_first(redis: Redis, candidates: Candidates) -> None:
    first, second = candidates.lease("one"), candidates.lease("two")
    assert [first.take(), second.take()] == [True, False]
    assert redis.get(KEYS.leader) == b"one/" + b"00000001" * 4
    assert 99_000 < candidates.remaining_ms() <= 100_000


def test_a_name_that_begins_like_the_holders_is_another(candidates: Candidates) -> None:
    assert candidates.lease("one/two").take()
    assert not candidates.lease("one/tw").take()


def test_taken_again_under_a_new_token(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    before = redis.get(KEYS.leader)
    assert lease.take()
    assert redis.get(KEYS.leader) != before


def test_our_own_token_is_ours_also_if_we_never_heard_of_it(candidates: Candidates) -> None:
    candidates.lease("one").take()
    assert candidates.lease("one").take()


def test_free_again_once_it_ended(redis: Redis, candidates: Candidates) -> None:
    candidates.lease("one", lease_s=0.05).take()
    second = candidates.lease("two")
    assert wait_for(second.take)
    write(redis, second, "by two")
    assert redis.get("written") == b"by two"


def test_of_two_that_take_at_once_one_gets_it(
    redis: Redis, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = candidates.lease("one"), candidates.lease("two")
    execute = Pipeline.execute

    def overtaken(pipe: Pipeline) -> object:
        monkeypatch.setattr(Pipeline, "execute", execute)
        assert second.take()
        return pipe.execute()

    monkeypatch.setattr(Pipeline, "execute", overtaken)
    assert not first.take()
    write(redis, second, "by two")
    with pytest.raises(LeaseLost):
        write(redis, first, "by one")


def test_the_fence_lets_the_holder_write(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    write(redis, lease, "by one")
    assert redis.get("written") == b"by one"


@pytest.mark.parametrize("how", ["never taken", "ended", "taken over", "released", "refused"])
def test_the_fence_holds_back(redis: Redis, candidates: Candidates, how: str) -> None:
    lease = candidates.lease("one")
    if how != "never taken":
        lease.take()
    if how in ("ended", "taken over", "refused"):
        redis.delete(KEYS.leader)
    if how in ("taken over", "refused"):
        candidates.lease("two").take()
    if how == "refused":
        assert not lease.take()
    if how == "released":
        lease.release()
    with pytest.raises(LeaseLost):
        write(redis, lease, "by one")
    assert redis.get("written") is None


@pytest.mark.parametrize("how", ["ended", "taken over", "taken again", "renewed by another"])
def test_what_happens_between_fence_and_exec_aborts_it(
    redis: Redis, candidates: Candidates, how: str
) -> None:
    lease = candidates.lease("one")
    lease.take()
    with redis.pipeline() as pipe:
        lease.fence(pipe)
        pipe.multi()
        pipe.set("written", "late")
        if how == "renewed by another":
            redis.pexpire(KEYS.leader, 50_000)
        elif how != "taken again":
            redis.delete(KEYS.leader)
        if how == "taken over":
            candidates.lease("two").take()
        if how == "taken again":
            lease.take()
        with pytest.raises(Exception, match="Watched variable changed"):
            pipe.execute()
    assert redis.get("written") is None


def test_renewed_once_a_quarter_has_passed(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    redis.pexpire(KEYS.leader, 60_000)
    candidates.clock.advance(24)
    lease.renew_if_due()
    assert candidates.remaining_ms() <= 60_000
    candidates.clock.advance(2)
    lease.renew_if_due()
    assert 99_000 < candidates.remaining_ms() <= 100_000
    redis.pexpire(KEYS.leader, 60_000)
    lease.renew_if_due()
    assert candidates.remaining_ms() <= 60_000


def test_a_step_of_the_wall_clock_renews_nothing(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    redis.pexpire(KEYS.leader, 60_000)
    candidates.clock.step_wall(1_000_000)
    lease.renew_if_due()
    assert candidates.remaining_ms() <= 60_000


@pytest.mark.parametrize("taken_over", [False, True])
def test_one_that_is_gone_is_not_renewed(
    redis: Redis, candidates: Candidates, taken_over: bool
) -> None:
    lease = candidates.lease("one")
    lease.take()
    redis.delete(KEYS.leader)
    if taken_over:
        candidates.lease("two").take()
    holder = redis.get(KEYS.leader)
    candidates.clock.advance(50)
    with pytest.raises(LeaseLost):
        lease.renew_if_due()
    assert redis.get(KEYS.leader) == holder


def test_released_at_once_for_another(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    lease.release()
    assert redis.get(KEYS.leader) is None
    assert candidates.lease("two").take()


def test_anothers_is_not_released(redis: Redis, candidates: Candidates) -> None:
    lease = candidates.lease("one")
    lease.take()
    redis.delete(KEYS.leader)
    candidates.lease("two").take()
    holder = redis.get(KEYS.leader)
    lease.release()
    assert redis.get(KEYS.leader) == holder


def test_renewed_when_the_servers_memory_is_full(real_redis: Redis) -> None:
    clock = ManualClock()
    lease = Lease(real_redis, KEYS, "one", 100, clock, CountingIds())
    lease.take()
    clock.advance(50)
    real_redis.pexpire(KEYS.leader, 1000)
    real_redis.config_set("maxmemory", "1")
    try:
        lease.renew_if_due()
    finally:
        real_redis.config_set("maxmemory", "0")
    assert real_redis.pttl(KEYS.leader) > 99_000
