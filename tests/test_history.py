"""Following the two streams: in order, in bounds, and on from a stored cursor."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from redis import Redis

from coordinator.history import AT_ONCE, Cursor, Follower, Line, read_end, read_line
from coordinator.keys import Keys

KEYS = Keys()
MESSAGE = {
    "message_id": "m",
    "sender_id": "a",
    "message_type": "message",
    "timestamp": "2026-01-01T00:00:00",
    "payload": {},
    "target_ai": None,
}


@pytest.fixture
def epochs(redis: Redis) -> Redis:
    set_epochs(redis, ("f.1", 0))
    return redis


def set_epochs(redis: Redis, *begins: tuple[str, int]) -> None:
    redis.hset(KEYS.fleet, mapping={"epoch": begins[-1][0], "epochs": json.dumps(begins)})


def append(redis: Redis, source: str, n: int, ms: int, epoch: str = "f.1") -> None:
    event = {"kind": "joined", "ai": "a", "text": "t", "data": "{}"}
    fields = {"message": json.dumps(MESSAGE)} if source == "log" else event
    key = KEYS.log if source == "log" else KEYS.events
    redis.xadd(key, cast(Any, {**fields, "epoch": epoch, "ms": ms}), id=f"{n}-0")


def resumed(redis: Redis, cursor: Cursor, at_once: int = AT_ONCE) -> Follower:
    follower = Follower(redis, KEYS, at_once)
    follower.resume(cursor)
    return follower


def told(follower: Follower) -> list[tuple[str, int]]:
    """All that is new: messages and events by their streams, all else by its kind."""
    lines: list[Line] = [line for some in iter(lambda: follower.read(0), []) for line in some]
    kinds = ("message", "event")
    return [(line.source if line.kind in kinds else line.kind, line.n) for line in lines]


def test_it_goes_on_from_a_cursor(epochs: Redis) -> None:
    for n in range(1, 5):
        append(epochs, "log", n, n * 10)
        append(epochs, "events", n, n * 10 + 5)
    assert told(resumed(epochs, Cursor("f.1", 3, 2))) == [("events", 3), ("log", 4), ("events", 4)]


def test_from_no_cursor_it_begins_with_the_epoch(epochs: Redis) -> None:
    append(epochs, "log", 1, 10)
    follower = resumed(epochs, Cursor())
    (line,) = follower.read(0)
    assert line == Line("epoch", "log", 0, 0, 0, "f.1", {"events_n": 0})
    assert told(follower) == [("log", 1)]


def test_an_epoch_that_began_meanwhile_is_told_first(epochs: Redis) -> None:
    """Of 5 messages and 4 events that were read the server has forgotten 2 each."""
    set_epochs(epochs, ("f.1", 0), ("f.2", 3))
    for n in range(1, 5):
        epoch = "f.1" if n <= 3 else "f.2"
        append(epochs, "log", n, n * 10, epoch)
        append(epochs, "events", n, n * 10 + 5, "f.1" if n <= 2 else "f.2")
    follower = resumed(epochs, Cursor("f.1", 5, 4))
    (line,) = follower.read(0)
    assert line == Line("epoch", "log", 3, 3, 0, "f.2", {"events_n": 2, "forgot": 2})
    assert told(follower) == [("events", 3), ("log", 4), ("events", 4)]


def test_without_an_epoch_there_is_nothing_to_tell(redis: Redis) -> None:
    assert told(resumed(redis, Cursor("f.1", 7, 7))) == []


def test_a_clock_that_is_set_back_changes_no_order_within_a_stream(epochs: Redis) -> None:
    for n, ms in enumerate([100, 110, 10, 20, 30], 1):
        append(epochs, "log", n, ms)
        append(epochs, "events", n, ms)
    both = told(resumed(epochs, Cursor("f.1", 0, 0), at_once=3))
    assert [n for source, n in both if source == "log"] == [1, 2, 3, 4, 5]
    assert [n for source, n in both if source == "events"] == [1, 2, 3, 4, 5]


def test_little_is_held_of_a_stream_that_is_ahead(epochs: Redis) -> None:
    """All events come after all messages."""
    for n in range(1, 41):
        append(epochs, "log", n, n)
        append(epochs, "events", n, 1000 + n)
    follower = resumed(epochs, Cursor("f.1", 0, 0), at_once=4)
    seen: list[Line] = []
    while lines := follower.read(0):
        seen += lines
        assert sum(map(len, follower._held.values())) <= 8
    assert [(line.source, line.n) for line in seen] == [
        *(("log", n) for n in range(1, 41)),
        *(("events", n) for n in range(1, 41)),
    ]


def test_an_entry_that_is_none_of_ours_is_a_gap(epochs: Redis) -> None:
    append(epochs, "log", 1, 10)
    epochs.xadd(KEYS.log, {"x": "y"}, id="3-0")
    epochs.xadd(KEYS.log, {"x": "y"}, id="3-1")
    append(epochs, "log", 4, 20)
    follower = resumed(epochs, Cursor("f.1", 0, 0))
    lines = follower.read(0)
    assert [(line.kind, line.first, line.n) for line in lines] == [
        ("message", 1, 1),
        ("gap", 2, 2),
        ("gap", 3, 3),
        ("message", 4, 4),
    ]
    assert [line.data for line in lines[1:3]] == [{}, {"unreadable": True}]


def test_what_strangers_wrote_hinders_no_beginning(epochs: Redis) -> None:
    """A number, or a moment, is looked for among entries one of which has no time."""
    for n in range(1, 6):
        if n == 3:
            epochs.xadd(KEYS.log, {"foo": "bar"}, id="3-0")
            epochs.xadd(KEYS.events, {"foo": "bar"}, id="3-0")
            continue
        append(epochs, "log", n, n * 10)
        append(epochs, "events", n, n * 10 + 5)
    by_number, by_time = Follower(epochs, KEYS), Follower(epochs, KEYS)
    by_number.begin_at(3)
    by_time.begin_since(40)
    rest = [("gap", 3), ("gap", 3), ("log", 4), ("events", 4), ("log", 5), ("events", 5)]
    assert told(by_time) == told(by_number) == rest


@pytest.mark.parametrize(
    "data", ["{}", '{"message": 7}', '{"message": "{"}', '{"message": "[]"}', '{"message": "{}"}']
)
def test_an_event_that_tells_of_no_message_has_none(epochs: Redis, data: str) -> None:
    event = {"kind": "message", "ai": "a", "text": "t", "data": data, "epoch": "f.1", "ms": 10}
    epochs.xadd(KEYS.events, cast(Any, event), id="1-0")
    (line,) = resumed(epochs, Cursor("f.1", 0, 0)).read(0)
    assert (line.kind, line.envelope) == ("event", None)


def test_a_cursor_after_each_line(epochs: Redis) -> None:
    append(epochs, "log", 1, 10)
    append(epochs, "events", 1, 5)
    follower = resumed(epochs, Cursor())
    cursors = [Cursor()]
    for line in (line for lines in iter(lambda: follower.read(0), []) for line in lines):
        cursors.append(cursors[-1].after(line))
    assert cursors[1:] == [Cursor("f.1"), Cursor("f.1", 0, 1), Cursor("f.1", 1, 1)]
    assert cursors[-1] == follower.cursor == read_end(epochs, KEYS)


def test_a_history_ends_where_the_last_number_was_given(epochs: Redis) -> None:
    epochs.hset(KEYS.fleet, mapping={"log_n": 9, "events_n": "junk"})
    append(epochs, "log", 3, 10)
    append(epochs, "events", 4, 10)
    assert read_end(epochs, KEYS) == Cursor("f.1", 9, 4)
    epochs.delete(KEYS.fleet, KEYS.log)
    assert read_end(epochs, KEYS) == Cursor("", 0, 4)


def test_one_entry_is_read_by_its_number(epochs: Redis) -> None:
    append(epochs, "log", 3, 30)
    append(epochs, "events", 3, 35)
    epochs.xadd(KEYS.log, {"x": "y"}, id="4-0")
    message, event = (read_line(epochs, KEYS, source, 3) for source in ("log", "events"))
    assert message == Line("message", "log", 3, 3, 30, "f.1", MESSAGE)
    assert event is not None
    assert (event.kind, event.n, event.ms, event.data["event"]) == ("event", 3, 35, "joined")
    spoiled = Line("gap", "log", 4, 4, 0, "", {"unreadable": True})
    assert read_line(epochs, KEYS, "log", 4) == spoiled
    assert read_line(epochs, KEYS, "events", 4) is None


def test_where_there_is_no_history_there_is_no_entry(redis: Redis) -> None:
    redis.set(KEYS.log, "spoiled")
    assert read_line(redis, KEYS, "log", 1) is None
    assert read_line(redis, KEYS, "events", 1) is None
