"""Effects become literal commands under the right numbers, and each outcome has its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py
from redis import Redis

from coordinator.doors import Speaker
from coordinator.effects import Ask, Broadcast, Deliver, Event, Note, Write
from coordinator.epochs import Begin
from coordinator.errors import LeaseLost
from coordinator.fleet import Ai, Fleet, Member, Numbered
from coordinator.keys import Keys
from coordinator.lease import Lease
from coordinator.payloads import Query
from coordinator.settings import Settings
from coordinator.transaction import Batch, CommitFailed, Outcome, commit, outcome_of
from tests.fleet import CountingIds, ManualClock, dump

KEYS = Keys()
NOW_MS = 5000


@pytest.fixture
def fleet() -> Fleet:
    """An AI ``a`` that is there, an AI ``b`` that is away, and numbers well under way."""
    here = Ai("a", "audio", [], "a.1", "a", {}, 0, 0, 0, 0.0)
    return Fleet(
        epoch="e2",
        log=Numbered(10, 1000),
        events=Numbered(20, 2000),
        ais={"a": here},
        members={
            "a": Member(30, 3000, [Begin("e1", 4)], has_joined=True),
            "b": Member(0, 0, [], has_joined=True),
        },
    )


@pytest.fixture
def batch(fleet: Fleet) -> Batch:
    return Batch(fleet, KEYS, Settings(inbox_keep=50, inbox_keep_s=60), NOW_MS)


def test_an_empty_batch(batch: Batch) -> None:
    assert batch.is_empty
    assert batch.commands() == []


def test_a_write_is_written_as_it_is(batch: Batch) -> None:
    batch.add([Write(("ZADD", "k", 1, "m"))])
    assert not batch.is_empty
    assert batch.commands() == [("ZADD", "k", 1, "m")]


def test_a_broadcast(batch: Batch, fleet: Fleet) -> None:
    batch.add([Broadcast('{"m":1}', exclude=("a", "b")), Broadcast('{"m":2}')])
    assert batch.commands() == [
        (
            *("XADD", "coord:log", "11-0"),
            *("message", '{"m":1}', "exclude", "a,b"),
            *("epoch", "e2", "ms", 5000, "bytes", 1024),
        ),
        (
            "PUBLISH",
            "coord:broadcast",
            '{"epoch":"e2","n":11,"exclude":["a","b"],"message":{"m":1}}',
        ),
        (
            *("XADD", "coord:log", "12-0"),
            *("message", '{"m":2}'),
            *("epoch", "e2", "ms", 5000, "bytes", 1038),
        ),
        ("PUBLISH", "coord:broadcast", '{"epoch":"e2","n":12,"message":{"m":2}}'),
        (
            *("HSET", "coord:fleet", "log_n", 12, "log_bytes", 1038),
            *("events_n", 20, "events_bytes", 2000),
        ),
    ]
    assert fleet.log == Numbered(12, 1038)


def test_a_delivery_to_one_who_is_there(batch: Batch, fleet: Fleet) -> None:
    batch.add([Deliver("a", '{"m":1}', instance="a.2"), Deliver("a", '{"m":2}')])
    assert batch.commands() == [
        (
            *("XADD", "coord:inbox:a", "MAXLEN", 50, "31-0"),
            *("message", '{"m":1}', "after", 10, "instance", "a.2"),
            *("epoch", "e2", "ms", 5000, "bytes", 3032),
        ),
        (
            "PUBLISH",
            "coord:to:a",
            '{"epoch":"e2","n":31,"instance":"a.2","after":10,"message":{"m":1}}',
        ),
        (
            *("XADD", "coord:inbox:a", "MAXLEN", 50, "32-0"),
            *("message", '{"m":2}', "after", 10),
            *("epoch", "e2", "ms", 5000, "bytes", 3053),
        ),
        ("PUBLISH", "coord:to:a", '{"epoch":"e2","n":32,"after":10,"message":{"m":2}}'),
        (
            *("HSET", "coord:member:a", "inbox_n", 32, "inbox_bytes", 3053),
            *("inbox_begins", '[["e1",4],["e2",30]]'),
        ),
    ]
    assert fleet.members["a"] == Member(32, 3053, [Begin("e1", 4), Begin("e2", 30)], True)


def test_the_inbox_of_one_who_is_away_expires(batch: Batch) -> None:
    batch.add([Deliver("b", '{"m":1}')])
    assert batch.commands()[2:] == [
        (
            *("HSET", "coord:member:b", "inbox_n", 1, "inbox_bytes", 21),
            *("inbox_begins", '[["e2",0]]'),
        ),
        ("PEXPIRE", "coord:inbox:b", 60_000),
    ]


def test_a_delivery_names_the_broadcast_that_it_follows(batch: Batch) -> None:
    batch.add([Broadcast("{}"), Deliver("a", "{}"), Broadcast("{}"), Deliver("a", "{}")])
    pushes = [json.loads(command[2]) for command in batch.commands() if command[0] == "PUBLISH"]
    assert [(push["n"], push.get("after")) for push in pushes] == [
        (11, None),
        (31, 11),
        (12, None),
        (32, 12),
    ]


def test_an_event(batch: Batch, fleet: Fleet) -> None:
    batch.add([Event("joined", "a", "a joined", {"x": 1})])
    assert batch.commands() == [
        (
            *("XADD", "coord:events", "21-0"),
            *("kind", "joined", "ai", "a", "text", "a joined", "data", '{"x":1}'),
            *("epoch", "e2", "ms", 5000, "bytes", 2036),
        ),
        (
            *("HSET", "coord:fleet", "log_n", 10, "log_bytes", 1000),
            *("events_n", 21, "events_bytes", 2036),
        ),
    ]
    assert batch.notes == ["a joined"]
    assert fleet.events == Numbered(21, 2036)


def test_notes_and_answers_write_nothing(batch: Batch) -> None:
    asked = Ask("a", "a.1", "m1", Query(what="counts"))
    batch.add([Note("a line"), asked])
    assert (batch.notes, batch.asked, batch.commands()) == (["a line"], [asked], [])


def test_what_was_taken_goes_and_numbers_and_totals_are_written_once(batch: Batch) -> None:
    batch.take("a", b"1-1")
    batch.number(Speaker("a", "a.1"), 1)
    batch.count("hello")
    batch.take("a", b"2-1")
    batch.number(Speaker("a", "a.1"), 2)
    batch.count("hello")
    batch.take("b", b"3-1")
    batch.number(Speaker("b", "b.1"), 7)
    batch.count("heartbeat")
    assert not batch.is_empty
    assert batch.commands() == [
        ("SET", "coord:instance:a/a.1", 2, "PX", 60_000),
        ("SET", "coord:instance:b/b.1", 7, "PX", 600_000),
        ("HINCRBY", "coord:totals", "hello", 2),
        ("HINCRBY", "coord:totals", "heartbeat", 1),
        ("XDEL", "coord:ingress:a", b"1-1", b"2-1"),
        ("XDEL", "coord:ingress:b", b"3-1"),
    ]


def test_bytes_are_counted_as_bytes(batch: Batch, fleet: Fleet) -> None:
    message = '{"m":"' + "字" * 100 + '"}'
    batch.add([Broadcast(message)])
    assert fleet.log.total_bytes - 1000 == len("message") + len(message.encode())


# -- the table of outcomes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (LeaseLost("gone"), Outcome.REFUSED),
        (redis_py.exceptions.ExecAbortError("x"), Outcome.REFUSED),
        (redis_py.OutOfMemoryError("OOM"), Outcome.REFUSED),
        (redis_py.ResponseError("MISCONF no disk"), Outcome.REFUSED),
        (redis_py.ReadOnlyError("READONLY"), Outcome.REFUSED),
        (redis_py.BusyLoadingError("LOADING"), Outcome.REFUSED),
        (redis_py.exceptions.NoPermissionError("NOPERM"), Outcome.REFUSED),
        (redis_py.WatchError("changed"), Outcome.UNKNOWN),
        (redis_py.ConnectionError("closed"), Outcome.UNKNOWN),
        (redis_py.TimeoutError("late"), Outcome.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_the_table_of_outcomes(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_what_the_table_does_not_know_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        outcome_of(ZeroDivisionError())


@pytest.fixture
def lease(redis: Redis) -> Lease:
    lease = Lease(redis, KEYS, "one", 100, ManualClock(), CountingIds())
    assert lease.take()
    return lease


def failed(redis: Redis, lease: Lease, *commands: tuple[Any, ...]) -> CommitFailed:
    with pytest.raises(CommitFailed) as caught:
        commit(redis, lease, commands)
    return caught.value


def test_all_or_nothing(redis: Redis, lease: Lease) -> None:
    commit(redis, lease, [("SET", "x", 1), ("SADD", "y", "m")])
    state = dump(redis, {KEYS.leader})
    assert state == {"x": ("1", "stays"), "y": ({"m"}, "stays")}


def test_refused_without_the_lease(redis: Redis, lease: Lease) -> None:
    redis.set(KEYS.leader, "two/1")
    failure = failed(redis, lease, ("SET", "x", 1))
    assert failure.outcome is Outcome.REFUSED
    assert isinstance(failure.reason, LeaseLost)
    assert redis.get("x") is None


def test_unknown_when_the_lease_changes_hands_meanwhile(redis: Redis, lease: Lease) -> None:
    def commands() -> Any:
        yield ("SET", "x", 1)
        redis.set(KEYS.leader, "two/1")

    with pytest.raises(CommitFailed) as caught:
        commit(redis, lease, commands())
    assert caught.value.outcome is Outcome.UNKNOWN
    assert redis.get("x") is None


def test_refused_when_a_command_cannot_be_queued(real_redis: Redis) -> None:
    lease = Lease(real_redis, KEYS, "one", 100, ManualClock(), CountingIds())
    lease.take()
    failure = failed(real_redis, lease, ("SET", "x", 1), ("SET", "y"))
    assert failure.outcome is Outcome.REFUSED
    assert real_redis.get("x") is None


def test_torn_when_a_command_fails_inside(redis: Redis, lease: Lease) -> None:
    redis.xadd("s", {"a": 1}, id="7-0")
    failure = failed(redis, lease, ("SET", "x", 1), ("XADD", "s", "5-0", "a", 1), ("SET", "y", 1))
    assert failure.outcome is Outcome.TORN
    assert "smaller" in str(failure)
    assert (redis.get("x"), redis.get("y"), redis.xlen("s")) == (b"1", b"1", 1)
