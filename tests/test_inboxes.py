"""What two AIs sent each other, as it is in their inboxes."""

from __future__ import annotations

import pytest
from redis import Redis

from coordinator.inboxes import LOOKED_AT, read_messages_between
from tests.fleet import FleetUnderTest


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", "c")
    return fleet


def say(fleet: FleetUnderTest, ai: str, target: str, text: str) -> None:
    fleet.clock.advance(1)
    fleet.say(ai, "pattern_share", {"pattern": {"id": text}}, target)
    fleet.run()


def test_both_ways_the_newest_first(fleet: FleetUnderTest) -> None:
    for ai, target in (("a", "b"), ("b", "a"), ("c", "a"), ("a", "c"), ("a", "b")):
        say(fleet, ai, target, f"{ai}-{target}")
    found = read_messages_between(fleet.redis, fleet.keys, "a", "b")
    assert [message["payload"]["pattern"]["id"] for message in found] == ["a-b", "b-a", "a-b"]
    moments = [message["ms"] for message in found]
    assert moments == sorted(moments, reverse=True)
    assert found == read_messages_between(fleet.redis, fleet.keys, "b", "a")


def test_only_the_newest_are_looked_at(fleet: FleetUnderTest) -> None:
    say(fleet, "a", "b", "old")
    for n in range(LOOKED_AT):
        fleet.say("c", "pattern_share", {"pattern": {"id": f"p{n}"}}, "b")
    fleet.run()
    assert read_messages_between(fleet.redis, fleet.keys, "a", "b") == []


def test_what_strangers_wrote_is_borne(fleet: FleetUnderTest) -> None:
    say(fleet, "a", "b", "p")
    for body in ("", "[]", "{", '{"sender_id": "a"}'):
        fleet.redis.xadd(fleet.keys.inbox("b"), {"message": body})
    fleet.redis.xadd(fleet.keys.inbox("b"), {"other": "x"})
    fleet.redis.set(fleet.keys.inbox("a"), "no stream")
    (found,) = read_messages_between(fleet.redis, fleet.keys, "a", "b")
    assert found["payload"]["pattern"] == {"id": "p"}
