"""The list of who was ever enrolled: how it is kept, read, and made again."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator.credentials import parse_credentials
from coordinator.enrolled import READ_AT_ONCE, find_enrolled, read_enrolled
from coordinator.enrolled_list import KEYS_AT_ONCE, list_enrolled
from coordinator.enrolment import Access
from coordinator.keys import Keys
from tests.fleet import FleetUnderTest

KEYS = Keys()
JUNK_NAMES = ("", "\n", "x" * 1000, b"\xff\xfe")


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """``a`` was enrolled, ``b`` was and is revoked, ``c`` only joined, ``d`` was shut out."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("a", "key0000a")
    fleet.enroll("b", "key0000b")
    fleet.join("c", "d")
    fleet.order("revoke", ai="b")
    fleet.order("revoke", ai="d")
    return fleet


def store(redis: Redis, *ais: str) -> None:
    """As after an enrolment of each, save that nobody lists them."""
    with redis.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hset(KEYS.member(ai), "access", Access().to_json())
        pipe.execute()


def never_scan(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody should walk through all keys")

    monkeypatch.setattr(redis, "scan", scan)
    monkeypatch.setattr(redis, "scan_iter", scan)


# -- reading it ------------------------------------------------------------------------------------


def test_whoever_was_ever_enrolled_is_listed(fleet: FleetUnderTest) -> None:
    assert fleet.redis.smembers("coord:enrolled") == {b"a", b"b", b"d"}
    assert fleet.redis.ttl("coord:enrolled") == -1


def test_finding_all_reads_nothing_but_the_list_and_whom_it_names(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_scan(fleet.redis, monkeypatch)
    kept = parse_credentials(fleet.redis.hgetall("coord:credentials:a"))  # type: ignore[arg-type]

    found = find_enrolled(fleet.redis, KEYS)
    items = read_enrolled(fleet.redis, KEYS, 0)

    assert found == {"a": kept, "b": [], "d": []}
    assert [one.key_id for one in kept] == ["key0000a"]
    shown = [(one["ai_id"], one["is_revoked"], one["is_here"], len(one["tokens"])) for one in items]
    assert shown == [("a", False, False, 1), ("b", True, False, 0), ("d", True, False, 0)]


def test_many_are_read_some_at_a_time(redis: Redis) -> None:
    ais = [f"AI_{n:05}" for n in range(2 * READ_AT_ONCE + 1)]
    store(redis, *ais)
    redis.sadd(KEYS.enrolled, *ais)

    assert list(find_enrolled(redis, KEYS)) == ais
    assert [item["ai_id"] for item in read_enrolled(redis, KEYS, 0)] == ais


def test_names_that_strangers_list_are_nobodys(fleet: FleetUnderTest) -> None:
    fleet.redis.sadd("coord:enrolled", *JUNK_NAMES, "c")

    assert list(find_enrolled(fleet.redis, KEYS)) == ["a", "b", "d"]
    assert [item["ai_id"] for item in read_enrolled(fleet.redis, KEYS, 0)] == ["a", "b", "d"]


def test_keys_of_another_type_hide_only_what_they_held(fleet: FleetUnderTest) -> None:
    for key in ("coord:member:b", "coord:credentials:a"):
        fleet.redis.delete(key)
        fleet.redis.set(key, "spoiled")

    assert find_enrolled(fleet.redis, KEYS) == {"a": [], "d": []}
    items = read_enrolled(fleet.redis, KEYS, 0)
    assert [(one["ai_id"], one["tokens"]) for one in items] == [("a", []), ("d", [])]


def test_access_that_nobody_can_read_counts_as_revoked(fleet: FleetUnderTest) -> None:
    fleet.redis.hset("coord:member:a", "access", '{"role": "king"}')

    (item, *_) = read_enrolled(fleet.redis, KEYS, 0)

    assert (item["ai_id"], item["is_revoked"]) == ("a", True)


def test_what_is_no_list_names_nobody(fleet: FleetUnderTest) -> None:
    fleet.redis.delete("coord:enrolled")
    fleet.redis.set("coord:enrolled", "spoiled")

    assert find_enrolled(fleet.redis, KEYS) == {}
    assert read_enrolled(fleet.redis, KEYS, 0) == []


# -- making it again -------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["deleted", "retyped"])
def test_a_list_that_is_gone_is_made_again_at_a_takeover(fleet: FleetUnderTest, harm: str) -> None:
    """As it is where an older coord ran the fleet, which kept none."""
    before = find_enrolled(fleet.redis, KEYS)
    fleet.redis.delete("coord:enrolled")
    if harm == "retyped":
        fleet.redis.set("coord:enrolled", "spoiled")

    fleet.replace_coordinator("coordinator-2")

    assert fleet.redis.smembers("coord:enrolled") == {b"a", b"b", b"d"}
    assert find_enrolled(fleet.redis, KEYS) == before


def test_a_list_that_is_retyped_while_it_is_written(real_redis: Redis) -> None:
    """What is then committed is torn; the coordinator reads afresh, and whoever was enrolled by it
    is listed."""
    fleet = FleetUnderTest(real_redis, lease_s=3600)
    fleet.enroll("a")
    real_redis.delete("coord:enrolled")
    real_redis.set("coord:enrolled", "spoiled")
    fleet.enroll("b")
    fleet.pass_time(2)
    fleet.enroll("c")

    assert real_redis.smembers("coord:enrolled") == {b"a", b"b", b"c"}
    assert list(find_enrolled(real_redis, KEYS)) == ["a", "b", "c"]


def test_a_takeover_walks_through_no_keys_while_there_is_a_list(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_scan(fleet.redis, monkeypatch)

    fleet.replace_coordinator("coordinator-2")

    assert fleet.redis.smembers("coord:enrolled") == {b"a", b"b", b"d"}


def test_a_takeover_walks_through_no_keys_where_nobody_was_ever_enrolled(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    never_scan(redis, monkeypatch)

    fleet.replace_coordinator("coordinator-2")

    assert redis.exists("coord:enrolled") == 0


def test_the_lease_is_renewed_on_a_walk_however_few_were_enrolled(redis: Redis) -> None:
    redis.hset(KEYS.fleet, "credentials_n", 1)
    redis.mset({f"coord:artifact::{n}": "" for n in range(5 * KEYS_AT_ONCE)})
    store(redis, "a")
    redis.hset(KEYS.member("b"), "profile", "{}")
    renewals: list[None] = []

    list_enrolled(redis, KEYS, lambda: renewals.append(None))

    assert redis.smembers(KEYS.enrolled) == {b"a"}
    assert len(renewals) >= 5
