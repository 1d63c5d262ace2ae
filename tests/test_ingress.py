"""Reading the ingress streams: doors, fair shares, bounded batches, and what counts as drained."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from redis import Redis

from coordinator.coordinator import Coordinator
from coordinator.doors import Speaker
from coordinator.ingress import COLD_COUNT, Entry, Ingress, read_entry
from coordinator.keys import Keys
from coordinator.settings import Settings
from tests.fleet import FleetUnderTest, ManualClock

KEYS = Keys()


class Entrance:
    """An ingress, and senders before it."""

    def __init__(self, redis: Redis, **settings: Any) -> None:
        self.redis = redis
        self.clock = ManualClock()
        self.ingress = Ingress(redis, KEYS, Settings(**settings), self.clock)

    def send(self, door: str, count: int = 1, body: str = "b", first: int = 1) -> None:
        with self.redis.pipeline(transaction=False) as pipe:
            for n in range(first, first + count):
                pipe.xadd(KEYS.ingress(door), {"body": body, "instance": "i", "n": n})
            pipe.sadd(KEYS.doors, door)
            pipe.execute()

    def find(self) -> None:
        """Doors are found in one round and read from the next."""
        self.ingress.poll(0)

    def poll(self, max_messages: int = 1000, max_bytes: int = 10**9) -> list[tuple[str, int]]:
        self.ingress.poll(0)
        return self.take(max_messages, max_bytes)

    def take(self, max_messages: int = 1000, max_bytes: int = 10**9) -> list[tuple[str, int]]:
        return [(entry.door, entry.n) for entry in self.ingress.take(max_messages, max_bytes)]


@pytest.fixture
def entrance(redis: Redis) -> Entrance:
    return Entrance(redis)


@pytest.mark.parametrize(
    ("fields", "instance", "n", "body"),
    [
        ({b"body": b"x", b"instance": b"i", b"n": b"7"}, "i", 7, b"x"),
        ({}, "", 0, b""),
        ({b"instance": b"i"}, "i", 0, b""),
        ({b"n": b"7"}, "", 7, b""),
        ({b"n": b"-1"}, "", 0, b""),
        ({b"n": b"1.5"}, "", 0, b""),
        ({b"n": b"seven"}, "", 0, b""),
        ({b"n": "٣".encode()}, "", 0, b""),
        ({b"n": b"9" * 18}, "", 10**18 - 1, b""),
        ({b"n": b"9" * 19}, "", 0, b""),
        ({b"instance": b"\xff" * 2}, "��", 0, b""),
        ({b"instance": b"i" * 200}, "i" * 128, 0, b""),
        ({b"own": b"field"}, "", 0, b""),
        ({b"ai": b"b"}, "", 0, b""),
    ],
)
def test_any_entry_can_be_read(
    fields: dict[bytes, bytes], instance: str, n: int, body: bytes
) -> None:
    is_sound = bool(instance) and n > 0
    expected = Entry("a", b"1-1", Speaker("a", instance), n, body, is_sound)
    assert read_entry("a", b"1-1", fields) == expected


@pytest.mark.parametrize(
    ("fields", "owner", "n", "is_sound"),
    [
        ({b"ai": b"a", b"n": b"7"}, "a", 7, True),
        ({b"ai": b"a"}, "a", 0, True),
        ({b"ai": b"a", b"n": b"seven"}, "a", 0, True),
        ({b"n": b"7"}, "gateway", 7, True),
        ({}, "gateway", 0, False),
        ({b"ai": b"operator", b"n": b"7"}, "gateway", 7, False),
        ({b"ai": b"\xff", b"n": b"7"}, "gateway", 7, False),
        ({b"ai": b"x" * 200}, "gateway", 0, False),
    ],
)
def test_any_entry_of_a_gateway_can_be_read(
    fields: dict[bytes, bytes], owner: str, n: int, is_sound: bool
) -> None:
    entry = read_entry("gw:g", b"1-1", {b"instance": b"i", **fields})
    assert entry == Entry("gw:g", b"1-1", Speaker(owner, "i"), n, b"", is_sound)


def test_nothing_there(entrance: Entrance) -> None:
    assert entrance.poll() == []
    assert entrance.ingress.doors == []


def test_a_new_door_is_found_and_read_from_its_beginning(entrance: Entrance) -> None:
    entrance.send("a", 3)
    entrance.find()
    assert entrance.ingress.doors == ["a"]
    assert entrance.poll() == [("a", 1), ("a", 2), ("a", 3)]
    entrance.send("b")
    entrance.send("a", first=4)
    entrance.find()
    assert sorted(entrance.take() + entrance.poll()) == [("a", 4), ("b", 1)]


def test_what_was_read_is_not_read_again_until_a_reset(entrance: Entrance) -> None:
    entrance.send("a", 2)
    entrance.find()
    assert entrance.poll() == [("a", 1), ("a", 2)]
    assert entrance.poll() == []
    entrance.ingress.reset()
    entrance.find()
    assert entrance.poll() == [("a", 1), ("a", 2)]


def test_one_that_floods_is_one_voice_among_the_others(redis: Redis) -> None:
    entrance = Entrance(redis, batch_max_messages=16)
    entrance.send("flood", 1000)
    for quiet in ("a", "b", "c"):
        entrance.send(quiet, 2)
    entrance.find()
    entrance.ingress.poll(0)
    taken = entrance.take(16)
    assert Counter(door for door, _ in taken) == {"flood": 4, "a": 2, "b": 2, "c": 2}
    assert {door for door, _ in taken[:4]} == {"flood", "a", "b", "c"}
    for door in ("flood", "a", "b", "c"):
        numbers = [n for taken_door, n in taken if taken_door == door]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_message_behind_a_flood_of_many_waits_for_one_round(redis: Redis) -> None:
    entrance = Entrance(redis, batch_max_messages=8)
    floods = [f"flood{i}" for i in range(8)]
    for door in floods:
        entrance.send(door, 500)
    entrance.find()
    for _ in range(5):
        assert len(entrance.poll(8)) == 8
    entrance.send("late")
    entrance.find()
    waited = 0
    while ("late", 1) not in entrance.poll(8):
        waited += 1
    assert waited <= 2


def test_a_turn_is_kept_from_one_batch_to_the_next(entrance: Entrance) -> None:
    for door in ("a", "b", "c"):
        entrance.send(door, 3)
    entrance.find()
    entrance.ingress.poll(0)
    batches = [entrance.take(2) for _ in range(5)]
    doors = [door for batch in batches for door, _ in batch]
    assert [len(batch) for batch in batches] == [2, 2, 2, 2, 1]
    assert [set(doors[i : i + 3]) for i in (0, 3, 6)] == [{"a", "b", "c"}] * 3


def test_a_batch_is_bounded_by_bytes_but_never_empty(entrance: Entrance) -> None:
    entrance.send("a", 4, body="x" * 100)
    entrance.find()
    entrance.ingress.poll(0)
    sizes = [len(entrance.take(100, max_bytes)) for max_bytes in (199, 200, 1)]
    assert sizes == [1, 2, 1]
    assert entrance.take(100, 1) == []


def test_what_is_held_is_bounded(redis: Redis) -> None:
    entrance = Entrance(redis, batch_max_messages=10)
    entrance.send("a", 1000)
    entrance.find()
    entrance.ingress.poll(0)
    assert len(entrance.take()) == COLD_COUNT
    for _ in range(3):
        entrance.ingress.poll(0)
    assert len(entrance.take()) == 10


def test_a_busy_door_is_read_in_greater_portions_while_it_is_busy(entrance: Entrance) -> None:
    entrance.send("a", COLD_COUNT + 300)
    entrance.find()
    assert [len(entrance.poll()) for _ in range(4)] == [8, 256, 44, 0]
    entrance.send("a", 300, first=1000)
    assert [len(entrance.poll()) for _ in range(3)] == [8, 256, 36]


def test_waiting_doors_share_a_round(redis: Redis) -> None:
    entrance = Entrance(redis, batch_max_messages=20)
    for i in range(10):
        entrance.send(f"door{i}", 8)
    entrance.find()
    entrance.ingress.poll(0)
    taken = entrance.take()
    assert Counter(door for door, _ in taken) == {f"door{i}": 2 for i in range(10)}


def test_drained(entrance: Entrance) -> None:
    ingress, clock = entrance.ingress, entrance.clock
    assert ingress.is_drained_since("a", clock.elapsed_s())
    entrance.send("a")
    entrance.find()
    assert not ingress.is_drained_since("a", clock.elapsed_s())
    ingress.poll(0)
    assert not ingress.is_drained_since("a", clock.elapsed_s())
    entrance.take()
    assert not ingress.is_drained_since("a", clock.elapsed_s())
    ingress.poll(0)
    began_s = clock.elapsed_s()
    assert ingress.is_drained_since("a", began_s)
    assert not ingress.is_drained_since("a", began_s + 0.001)
    clock.advance(1)
    ingress.poll(0)
    assert ingress.is_drained_since("a", began_s + 1)


def test_a_read_counts_from_when_it_began(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance.send("a", 0)
    entrance.find()
    clock, hold = entrance.clock, Ingress._hold

    def slow(self: Ingress, *arguments: Any) -> None:
        clock.advance(5)
        hold(self, *arguments)

    monkeypatch.setattr(Ingress, "_hold", slow)
    began_s = clock.elapsed_s()
    entrance.ingress.poll(0)
    assert entrance.ingress.is_drained_since("a", began_s)
    assert not entrance.ingress.is_drained_since("a", began_s + 5)


@pytest.mark.parametrize(
    "name",
    [b"", b"a b", b"a\n", b"a/b", b"a:b", b"gw:", b"gw:a:b", b"-a", b"x" * 65, b"\xff\xfe", "ä"],
)
def test_a_name_that_no_client_can_have_is_removed(
    entrance: Entrance, redis: Redis, name: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    redis.sadd(KEYS.doors, name, "good", "gw:one")
    for _ in range(4):
        entrance.ingress.poll(0)
    assert redis.smembers(KEYS.doors) == {b"good", b"gw:one"}
    assert sorted(entrance.ingress.doors) == ["good", "gw:one"]
    assert len([record for record in caplog.records if "ignored a door" in record.message]) == 1


def test_doors_are_looked_up_only_when_there_are_more_or_fewer(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    find = Ingress._find_doors
    monkeypatch.setattr(Ingress, "_find_doors", lambda self: (looks.append(None), find(self))[1])
    entrance.send("a")
    for _ in range(3):
        entrance.poll()
    assert len(looks) == 1
    entrance.send("b")
    for _ in range(3):
        entrance.poll()
    assert len(looks) == 2


def test_with_no_door_at_all_a_round_waits_too(real_redis: Redis) -> None:
    ingress = Entrance(real_redis).ingress
    ingress.poll(20_000)  # the first looks for doors at once
    before_s = time.monotonic()
    ingress.poll(50)
    assert time.monotonic() - before_s > 0.04
    assert ingress.doors == []


def test_a_round_that_waits_ends_when_something_comes(real_redis: Redis) -> None:
    entrance = Entrance(real_redis)
    entrance.send("a")
    entrance.find()
    before_s = time.monotonic()
    entrance.ingress.poll(20_000)
    assert time.monotonic() - before_s < 10
    assert entrance.take() == [("a", 1)]


# -- as the coordinator uses it --------------------------------------------------------------------


def batches_of(fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the coordinator takes until it is quiet."""
    sizes: list[int] = []
    take = Coordinator._take

    def taking(self: Coordinator) -> list[Entry]:
        entries = take(self)
        sizes.append(len(entries))
        return entries

    monkeypatch.setattr(Coordinator, "_take", taking)
    fleet.run()
    return [size for size in sizes if size]


@pytest.mark.parametrize(
    ("settings", "largest"),
    [
        ({"batch_max_messages": 3}, 3),
        ({"batch_max_bytes": 1024}, 5),
        ({"fanout_max_bytes": 1200}, 3),
    ],
    ids=["count", "bytes", "bytes times AIs"],
)
def test_a_batch_is_bounded(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], largest: int
) -> None:
    fleet = FleetUnderTest(redis, **settings)
    fleet.join("a", "b")
    for n in range(20):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n:02}"}})
    sizes = batches_of(fleet, monkeypatch)
    assert max(sizes) == largest
    assert sum(sizes) == 20
    assert fleet.ids_in("pattern") == [f"p{n:02}" for n in range(20)]


def test_the_door_of_one_who_is_away_is_closed_once_it_is_drained(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b")
    fleet.say("a", "goodbye")
    fleet.run()
    assert redis.smembers(KEYS.doors) == {b"a", b"b"}
    fleet.clock.advance(2)
    fleet.run()
    assert redis.smembers(KEYS.doors) == {b"b"}
    assert not redis.exists(KEYS.ingress("a"))
    assert fleet.coordinator._ingress.doors == ["b"]


def test_a_closed_door_opens_again_with_the_next_message(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.clock.advance(2)
    fleet.run()
    assert redis.smembers(KEYS.doors) == set()
    fleet.join("a")
    assert fleet.live() == ["a"]
    assert redis.smembers(KEYS.doors) == {b"a"}


def test_a_message_that_comes_while_its_door_is_closed_is_not_lost(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.clock.advance(2)
    fence = type(fleet.coordinator._lease).fence

    def sent_meanwhile(self: Any, pipe: Any) -> None:
        monkeypatch.undo()
        fleet.say("a", "hello")
        fence(self, pipe)

    monkeypatch.setattr(type(fleet.coordinator._lease), "fence", sent_meanwhile)
    fleet.run()
    assert fleet.live() == ["a"]
