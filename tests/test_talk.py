"""What AIs say to each other: passed on as it is, and stored nowhere but where messages are."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.fleet import FleetUnderTest, changed

SAID = {"text": "has anybody a spare cache?", "own": [1, {"x": None}]}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", "c")
    return fleet


def test_one_says_something_to_all(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    fleet.say("a", "message", SAID)
    fleet.run()
    touched = {"coord:log", "coord:totals", "coord:instance:a/a.1"}
    assert changed(before, fleet.state()) == touched
    told = fleet.log()[-1]
    assert (told["sender_id"], told["message_type"], told["payload"]) == ("a", "message", SAID)
    assert fleet.excluded() == "a"


def test_one_says_something_to_another(fleet: FleetUnderTest) -> None:
    before = fleet.log()
    fleet.say("a", "message", SAID, "b")
    fleet.run()
    assert fleet.log() == before
    assert fleet.told("b", "message") == [SAID]
    assert fleet.told("c", "message") == []


def test_an_observer_only_listens(fleet: FleetUnderTest) -> None:
    fleet.enroll("o", role="observer")
    fleet.join("o")
    fleet.say("o", "message", SAID)
    fleet.run()
    assert fleet.error("o")["code"] == "forbidden"
