"""What is kept of the numbered streams: enough, not more, and cut where the rule says."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator.fleet import Numbered
from coordinator.keys import Keys
from coordinator.retention import Rule, last_droppable, relieve
from coordinator.settings import Settings
from tests.fleet import FleetUnderTest

NOW_MS = 1_000_000


def write(redis: Redis, ages_s: list[float], size_bytes: int = 10, first: int = 1) -> Numbered:
    """A stream ``s`` of entries of these ages, oldest first."""
    stream = Numbered(first - 1)
    for age_s in ages_s:
        n = stream.append(size_bytes)
        ms = NOW_MS - int(age_s * 1000)
        redis.xadd("s", {"ms": ms, "bytes": stream.total_bytes}, id=f"{n}-0")
    return stream


@pytest.mark.parametrize(
    ("rule", "ages_s", "dropped"),
    [
        (Rule(3, 60, 10**9), [], 0),
        (Rule(3, 60, 10**9), [100, 100, 100], 0),
        (Rule(3, 60, 10**9), [100] * 8, 5),
        (Rule(3, 60, 10**9), [100, 100, 61, 60, 59, 1, 1, 1], 3),
        (Rule(3, 60, 10**9), [1] * 8, 0),
        (Rule(3, 0, 10**9), [0] * 8, 0),
        (Rule(3, 0, 10**9), [1] * 8, 5),
        (Rule(3, 60, 50), [1] * 8, 3),
        (Rule(3, 60, 10), [1] * 8, 7),
        (Rule(3, 60, 1), [1] * 8, 7),
        (Rule(100, 60, 80), [100] * 8, 0),
        (Rule(1, 60, 10**9), [100] * 1000 + [1], 1000),
        (Rule(3, 60, 10**9), [100, 100, -7200, -7200, -7200, 1, 1, 1], 5),
        (Rule(3, 60, 10**9), [-7200] * 8, 5),
        (Rule(3, 60, 10**9), [-2] * 8, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [1, 41])
def test_what_may_go(
    redis: Redis, rule: Rule, ages_s: list[float], dropped: int, first: int
) -> None:
    stream = write(redis, ages_s, first=first)
    found = last_droppable(redis, "s", stream, rule, NOW_MS)
    assert found == (dropped + first - 1 if dropped else 0)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_what_strangers_wrote_hinders_nothing(redis: Redis, place: str) -> None:
    """An entry says neither when it was written nor how much came before it."""
    before = {"first": 0, "middle": 3, "last": 8}[place]
    for n in range(8):
        if n == before:
            redis.xadd("s", {"foo": "bar"}, id=f"{n or 0}-1")
        redis.xadd("s", {"ms": NOW_MS - 100_000, "bytes": 10 * (n + 1)}, id=f"{n + 1}-0")
    if place == "last":
        redis.xadd("s", {"ms": "soon", "bytes": "10"}, id="8-1")
    assert last_droppable(redis, "s", Numbered(8, 80), Rule(3, 60, 10**9), NOW_MS) == 5


def test_a_stream_with_holes(redis: Redis) -> None:
    stream = write(redis, [100] * 20)
    redis.xdel("s", *(f"{n}-0" for n in (1, 2, 9, 10, 11, 20)))
    assert last_droppable(redis, "s", stream, Rule(10, 60, 10**9), NOW_MS) in (8, 9, 10)


def numbers(fleet: FleetUnderTest, key: str) -> list[int]:
    return [int(entry_id.split("-")[0]) for entry_id, _ in fleet.stream(key)]


def share(fleet: FleetUnderTest, count: int, target: str | None = None, **own: Any) -> None:
    for _ in range(count):
        fleet.say("a", "pattern_share", {"pattern": {"id": "p", **own}}, target)
    fleet.run()


def test_history_is_trimmed_as_time_goes_by(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, log_keep=5, log_keep_s=3, lease_s=100)
    fleet.join("a", "b")
    share(fleet, 10)
    share(fleet, 10, "b")
    assert numbers(fleet, "coord:log") == list(range(1, 13))
    assert numbers(fleet, "coord:events") == list(range(1, 33))
    fleet.clock.advance(4)
    share(fleet, 1)
    fleet.clock.advance(1)
    fleet.run()
    assert numbers(fleet, "coord:log") == [9, 10, 11, 12, 13]
    assert numbers(fleet, "coord:events") == [29, 30, 31, 32, 33]


def test_history_is_bounded_in_bytes_whatever_its_age(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, log_max_bytes=20_000)
    fleet.join("a")
    share(fleet, 50, text="x" * 1000)
    fleet.clock.advance(1)
    fleet.run()
    kept = numbers(fleet, "coord:log")
    assert kept == list(range(kept[0], 52))
    assert 13 <= len(kept) <= 18


def test_numbers_go_on_after_a_trim_and_a_reload(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, log_keep=1, log_keep_s=0)
    fleet.join("a")
    share(fleet, 10)
    fleet.clock.advance(1)
    fleet.run()
    assert numbers(fleet, "coord:log") == [11]
    in_memory = fleet.coordinator._fleet.log
    fleet.replace_coordinator("coordinator-2")
    assert fleet.coordinator._fleet.log == in_memory
    share(fleet, 1)
    assert numbers(fleet, "coord:log") == [11, 12]


def test_an_inbox_is_bounded_in_number_at_once(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, inbox_keep=4)
    fleet.join("a", "b")
    share(fleet, 10, "b")
    assert numbers(fleet, "coord:inbox:b") == [8, 9, 10, 11]


def test_an_inbox_is_bounded_in_bytes(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, inbox_max_bytes=20_000)
    fleet.join("a", "b")
    share(fleet, 40, "b", text="x" * 1000)
    fleet.clock.advance(1)
    fleet.run()
    kept = numbers(fleet, "coord:inbox:b")
    assert kept == list(range(kept[0], 42))
    assert 13 <= len(kept) <= 18


def test_room_is_made_by_halving_history(redis: Redis) -> None:
    for key in ("coord:log", "coord:events", "coord:dead"):
        for n in range(1, 401):
            redis.xadd(key, {"x": n}, id=f"{n}-0")
    redis.xtrim("coord:dead", maxlen=120, approximate=False)
    for _ in range(3):
        relieve(redis, Keys(), Settings(log_keep=150))
    lengths = [redis.xlen(key) for key in ("coord:log", "coord:events", "coord:dead")]
    assert lengths == [100, 100, 100]


def test_room_is_made_in_an_empty_fleet(redis: Redis) -> None:
    relieve(redis, Keys(), Settings())
    assert redis.dbsize() == 0


@pytest.mark.parametrize(
    ("rule", "dropped"),
    [
        (Rule(3, 60, 10**9, stored=8, unstored_max_bytes=10**9), 5),
        (Rule(3, 60, 10**9, stored=4, unstored_max_bytes=10**9), 4),
        (Rule(3, 60, 10**9, stored=0, unstored_max_bytes=10**9), 0),
        (Rule(3, 60, 10**9, stored=1, unstored_max_bytes=60), 2),
        (Rule(3, 60, 20, stored=1, unstored_max_bytes=10**9), 1),
        (Rule(3, 60, 50, stored=1, unstored_max_bytes=20), 5),
        (Rule(8, 60, 10**9, stored=8, unstored_max_bytes=10**9), 0),
    ],
    ids=str,
)
def test_what_an_archive_has_not_stored_is_kept(redis: Redis, rule: Rule, dropped: int) -> None:
    stream = write(redis, [100] * 8)
    assert last_droppable(redis, "s", stream, rule, NOW_MS) == dropped


def archived(fleet: FleetUnderTest, log: int, events: int, archive: str = "one") -> None:
    epoch = fleet.coordinator._fleet.epoch
    fleet.order("archived", archive=archive, epoch=epoch, log=log, events=events)


def kept(fleet: FleetUnderTest) -> tuple[int, int]:
    """The first numbers that are kept of the log, and of the events."""
    return numbers(fleet, "coord:log")[0], numbers(fleet, "coord:events")[0]


def test_history_waits_for_the_slowest_archive(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, log_keep=2, log_keep_s=0)
    fleet.join("a")
    archived(fleet, 0, 0)
    share(fleet, 10)
    archived(fleet, 6, 2, "two")
    fleet.pass_time(1)
    assert kept(fleet) == (1, 1)
    archived(fleet, 8, 9)
    fleet.pass_time(1)
    assert kept(fleet) == (7, 3)
    archived(fleet, 11, 11, "two")
    fleet.pass_time(1)
    assert kept(fleet) == (9, 10)


def test_an_archive_that_is_too_far_behind_is_left_behind(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = FleetUnderTest(redis, log_keep=1, log_keep_s=0, archive_max_bytes=20_000)
    fleet.join("a")
    archived(fleet, 1, 1)
    share(fleet, 5, text="x" * 1000)
    fleet.pass_time(1)
    assert kept(fleet) == (2, 2)
    share(fleet, 50, text="x" * 1000)
    fleet.pass_time(1)
    event = fleet.events()[-1]
    assert event["kind"] == "archive_left_behind"
    assert event["ai"] == "operator"
    assert event["data"] == {
        "archive": "one",
        "unread_log": 55,
        "unread_events": 55,
        "why": "more than 20000 bytes waited for it (COORD_ARCHIVE_MAX_BYTES)",
    }
    assert "history is kept no longer for archive one" in caplog.text
    fleet.pass_time(1)
    assert kept(fleet) == (56, 57)
    assert redis.hgetall("coord:archives") == {}


def test_an_archive_that_is_silent_for_too_long_is_left_behind(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, log_keep=1, log_keep_s=0, archive_wait_s=60, lease_s=1000)
    fleet.join("a")
    archived(fleet, 1, 1)
    fleet.pass_time(100)
    share(fleet, 5)
    fleet.pass_time(59)
    assert kept(fleet) == (2, 2)
    fleet.pass_time(2)
    fleet.pass_time(1)
    assert kept(fleet) == (6, 7)
    assert fleet.events()[-1]["data"] == {
        "archive": "one",
        "unread_log": 5,
        "unread_events": 5,
        "why": "nothing was heard of it for 60 s",
    }
