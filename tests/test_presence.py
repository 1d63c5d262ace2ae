"""How AIs are there, and what is known of those that are away."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator.clock import LAST_MS
from coordinator.presence import Presence, count_specializations, read_away, read_presence
from coordinator.reads import read_ais
from tests.fleet import BEGINNING_MS, FleetUnderTest

LEASE_MS = 15_000


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """Of three AIs one is being drained, and one has left."""
    fleet = FleetUnderTest(redis)
    fleet.join("AI_1", "AI_2", "AI_3", specialization="audio")
    fleet.order("drain", ai="AI_2")
    fleet.say("AI_3", "goodbye")
    fleet.run()
    return fleet


def test_whose_lease_ends_when(fleet: FleetUnderTest) -> None:
    found = read_presence(fleet.redis, fleet.keys, ["AI_1", "AI_2", "AI_3", "AI_4"])
    ends_ms = BEGINNING_MS + LEASE_MS
    assert found == {
        "AI_1": Presence(ends_ms, False),
        "AI_2": Presence(ends_ms, True),
        "AI_3": Presence(0, False),
        "AI_4": Presence(0, False),
    }
    assert read_presence(fleet.redis, fleet.keys, []) == {}


def test_leases_that_strangers_wrote(fleet: FleetUnderTest) -> None:
    fleet.redis.zadd(fleet.keys.leases, {"AI_1": 1e300, "AI_2": -5})
    fleet.redis.set(fleet.keys.member("AI_4"), "no hash")
    found = read_presence(fleet.redis, fleet.keys, ["AI_1", "AI_2", "AI_4"])
    assert [presence.lease_ends_ms for presence in found.values()] == [LAST_MS, 0, 0]


def test_one_that_has_left_is_known(fleet: FleetUnderTest) -> None:
    away = read_away(fleet.redis, fleet.keys, "AI_3")
    assert away is not None
    assert away.pop("capabilities")[:1] == ["pattern_recognition"]
    assert away == {
        "ai_id": "AI_3",
        "specialization": "audio",
        "instance": "AI_3.1",
        "door": "AI_3",
        "joined_ms": BEGINNING_MS,
        "units_completed": 0,
        "units_failed": 0,
        "collaborations_completed": 0,
        "features_implemented": 0,
        "contribution_score": 0.0,
    }
    assert read_away(fleet.redis, fleet.keys, "AI_4") is None


@pytest.mark.parametrize("profile", ["junk", "{}", "[" * 99_999, '{"specialization": 7}'])
def test_a_profile_that_cannot_be_read_is_none(fleet: FleetUnderTest, profile: str) -> None:
    fleet.redis.hset(fleet.keys.member("AI_3"), "profile", profile)
    assert read_away(fleet.redis, fleet.keys, "AI_3") is None


def test_specializations_are_counted(fleet: FleetUnderTest) -> None:
    fleet.redis.set(fleet.keys.specialization("spoiled"), "no set")
    found = count_specializations(fleet.redis, fleet.keys, ["audio", "graphics", "spoiled"])
    assert found == {"audio": 2, "graphics": 0, "spoiled": 0}


def test_ais_are_found_by_a_part_of_their_names(fleet: FleetUnderTest) -> None:
    fleet.join("Other")
    page = read_ais(fleet.redis, fleet.keys, 10, search="ai_")
    assert ([ai["ai_id"] for ai in page.items], page.total) == (["AI_1", "AI_2"], 2)
    assert read_ais(fleet.redis, fleet.keys, 10, search="*").total == 0


SPOILED: dict[str, list[Any]] = {
    "capabilities": ["7", "junk", "null"],
    "joined_ms": ["soon", "9" * 30, "-1"],
    "heartbeat_ms": ["9" * 30],
    "status": [b"\xff"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in SPOILED.items() for value in values]
)
def test_an_ai_that_cannot_be_read_is_left_out(
    fleet: FleetUnderTest, field: str, value: Any
) -> None:
    fleet.redis.hset(fleet.keys.ai("AI_1"), field, value)
    assert [ai["ai_id"] for ai in read_ais(fleet.redis, fleet.keys, 10).items] == ["AI_2"]


@pytest.mark.parametrize("load", ["nan", "inf", "much"])
def test_a_load_that_is_no_number_counts_as_none(fleet: FleetUnderTest, load: str) -> None:
    fleet.redis.hset(fleet.keys.ai("AI_1"), "load", load)
    assert read_ais(fleet.redis, fleet.keys, 1).items[0]["load"] == 0
