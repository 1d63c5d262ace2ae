"""Archives: how far each has come is known, also after a takeover; nothing is believed of it."""

from __future__ import annotations

import json
from typing import Any

import fakeredis
import pytest
from redis import Redis

from coordinator.archive_marks import MAX_ARCHIVES, read_archives, read_behind, stored_by_all
from coordinator.history import Cursor
from coordinator.status import read_status
from tests.fleet import BEGINNING_MS, FleetUnderTest, envelope


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b")
    return fleet


def tell(fleet: FleetUnderTest, **own: Any) -> None:
    """An archive says that it has stored two of the log, and one of the events."""
    epoch = fleet.coordinator._fleet.epoch
    fleet.order("archived", **{"archive": "one", "epoch": epoch, "log": 2, "events": 1, **own})


def stored(fleet: FleetUnderTest) -> tuple[int, ...] | None:
    """Of the log and of the events."""
    found = stored_by_all(fleet.coordinator._fleet)
    return found and (found.log, found.events)


def test_how_far_an_archive_has_come_is_known_and_goes_into_no_history(
    fleet: FleetUnderTest,
) -> None:
    events = fleet.events()
    tell(fleet)
    assert stored(fleet) == (2, 1)
    (found,) = read_archives(fleet.redis, fleet.keys).values()
    assert found.cursor == Cursor(fleet.coordinator._fleet.epoch, 2, 1)
    assert found.heard_ms == BEGINNING_MS
    assert fleet.events() == events
    assert not fleet.redis.hexists(fleet.keys.totals, "archived")


def test_it_is_known_after_a_takeover(fleet: FleetUnderTest) -> None:
    tell(fleet)
    fleet.replace_coordinator("coordinator-2")
    assert stored(fleet) == (2, 1)


def test_in_another_epoch_nothing_counts_as_stored_until_it_is_told_again(
    fleet: FleetUnderTest,
) -> None:
    tell(fleet)
    old = fleet.coordinator._fleet.epoch
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    assert stored(fleet) == (0, 0)
    tell(fleet, epoch=old, log=1)
    assert stored(fleet) == (0, 0)
    tell(fleet)
    assert stored(fleet) == (2, 1)


def test_more_than_there_is_has_nobody_stored(fleet: FleetUnderTest) -> None:
    tell(fleet, log=10**30, events=3)
    assert stored(fleet) == (2, 2)
    assert read_archives(fleet.redis, fleet.keys)["one"].cursor.log == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"log": -1},
        {"log": "2"},
        {"events": 1.5},
        {"events": None},
        {"archive": "no id"},
        {"epoch": 7},
        {"epoch": "e" * 65},
    ],
    ids=str,
)
def test_what_is_no_such_word_is_refused(fleet: FleetUnderTest, wrong: dict[str, Any]) -> None:
    tell(fleet, **wrong)
    error = fleet.error("operator")
    assert (error["code"], error["field"]) == ("bad_payload", f"payload.{next(iter(wrong))}")
    assert stored(fleet) is None


def test_only_operators_say_so(fleet: FleetUnderTest) -> None:
    fleet.say("a", "archived", {"archive": "one", "epoch": "e", "log": 1, "events": 1})
    fleet.run()
    assert fleet.error("a")["code"] == "forbidden"
    assert stored(fleet) is None


def test_the_longest_silent_of_too_many_is_left_behind(fleet: FleetUnderTest) -> None:
    tell(fleet, archive="oldest")
    fleet.clock.advance(0.1)
    epoch = fleet.coordinator._fleet.epoch
    for n in range(MAX_ARCHIVES):
        payload = {"archive": f"archive{n}", "epoch": epoch, "log": 2, "events": 2}
        fleet.say("operator", "archived", payload)
    fleet.run()
    left = fleet.events()[-1]
    assert (left["kind"], left["data"]["archive"]) == ("archive_left_behind", "oldest")
    assert len(read_archives(fleet.redis, fleet.keys)) == MAX_ARCHIVES


def test_what_strangers_wrote_there_is_no_archive(fleet: FleetUnderTest) -> None:
    tell(fleet)
    fleet.redis.hset("coord:archives", "two", "{}")
    fleet.redis.hset("coord:archives", "three", b"\xff")
    assert list(read_archives(fleet.redis, fleet.keys)) == ["one"]
    fleet.redis.delete("coord:archives")
    fleet.redis.set("coord:archives", "x")
    assert read_archives(fleet.redis, fleet.keys) == {}
    fleet.replace_coordinator("coordinator-2")
    tell(fleet)
    assert list(read_archives(fleet.redis, fleet.keys)) == ["one"]


def test_an_archive_that_has_it_all_is_waited_for_however_long_nothing_happens(
    redis: Redis,
) -> None:
    fleet = FleetUnderTest(redis, archive_wait_s=10, lease_s=1000)
    fleet.join("a")
    tell(fleet, log=1)
    for _ in range(5):
        fleet.pass_time(8)
    fleet.say("a", "heartbeat")
    fleet.run()
    assert stored(fleet) == (1, 1)


def test_status_tells_how_far_each_is_behind(real_redis: Redis) -> None:
    fleet = FleetUnderTest(real_redis)
    fleet.join("a", "b")
    tell(fleet)
    found = read_status(fleet.redis, fleet.keys, BEGINNING_MS + 1500)["archives"]
    expected = {"id": "one", "log": 2, "events": 1, "behind": 1, "seen_age_ms": 1500}
    assert found == [expected]


def test_of_another_epoch_all_is_still_to_be_stored(fleet: FleetUnderTest) -> None:
    tell(fleet)
    cursor = Cursor(fleet.coordinator._fleet.epoch, 2, 1)
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    (behind,) = read_behind(fleet.redis, fleet.keys, BEGINNING_MS + 1500)
    assert behind == ("one", cursor, 2, 2, 1500)


def test_a_fleet_without_archives_asks_the_server_nothing_more() -> None:
    """As many commands a second as with an archive, or fewer."""
    counts = []
    for told in (False, True):
        with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as redis:
            fleet = FleetUnderTest(redis)
            fleet.join("a")
            if told:
                tell(fleet, log=1)
            counts.append(commands_of_a_look(fleet))
    assert counts[0] <= counts[1]


def commands_of_a_look(fleet: FleetUnderTest) -> int:
    asked: list[str] = []
    execute = fleet.redis.execute_command

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(str(arguments[0]))
        return execute(*arguments, **options)

    fleet.redis.execute_command = counted  # type: ignore[method-assign]
    fleet.pass_time(1)
    return len(asked)


def test_the_message_is_what_archives_write(fleet: FleetUnderTest) -> None:
    """As a stranger would write it: the number of the entry is all that tells a repeat."""
    epoch = fleet.coordinator._fleet.epoch
    payload = {"archive": "one", "epoch": epoch, "log": 2, "events": 2}
    body = json.dumps(json.loads(envelope("m1", "operator", "archived", payload)))
    fleet.write("operator", body, instance="archive.1", n=1)
    fleet.run()
    assert stored(fleet) == (2, 2)
