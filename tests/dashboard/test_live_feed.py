"""One thread follows a fleet for all who look: what it keeps, and what it bears."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, cast

import pytest
import redis as redis_py
from redis import Redis

from coordinator.clock import SystemClock
from coordinator.history import Cursor, Line
from coordinator.waiting import comes_true
from tests.dashboards import LIMIT_S
from tests.fleet import FleetUnderTest
from web.live.feed import Feed, Tail
from web.live.told import Filter

Follow = Callable[..., Feed]


@pytest.fixture
def follow(fleet: FleetUnderTest) -> Iterator[Follow]:
    """Call it for a feed of the fleet that has begun; ``listeners`` and ``connection`` go to it."""
    with ExitStack() as stack:

        def follow(listeners: Sequence[Any] = (), connection: Any = None) -> Feed:
            feed = Feed(connection or fleet.redis, fleet.keys, SystemClock(), listeners)
            feed.start()
            stack.callback(feed.join)
            stack.callback(feed.end)
            return feed

        yield follow


def told(feed: Feed, last: str) -> list[str]:
    """The types of what was told, once ``last`` was."""
    assert comes_true(lambda: last in types(feed.last(100)), LIMIT_S), types(feed.last(100))
    return types(feed.last(100))


def types(tail: Tail) -> list[str]:
    return [line.type for line in tail.lines]


def places(tail: Tail) -> list[tuple[str, int]]:
    return [(line.source, line.n) for line in tail.lines]


class Away:
    """A connection whose server does not answer while ``is_away``."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self.is_away = False

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            raise redis_py.ConnectionError("the cable is out")
        return getattr(self._connection, name)


def test_what_happens_is_told_in_order(fleet: FleetUnderTest, follow: Follow) -> None:
    fleet.join("A", "B")
    feed = follow()
    assert told(feed, "joined") == ["hello", "joined", "hello", "joined"]
    fleet.say("A", "message", {"text": "to you"}, "B")
    fleet.run()
    told(feed, "message")
    fleet.say("A", "pattern_share", {"pattern": {"id": "p", "type": "note"}})
    fleet.run()
    assert told(feed, "shared")[4:] == ["message", "pattern_share", "shared"]
    message = feed.last(3).lines[0]
    assert (message.kind, message.source, message.ai, message.to) == (
        *("message", "events"),
        *("A", "B"),
    )


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(ai="B"), ["hello", "joined", "message"]),
        (Filter(type="hello"), ["hello", "hello"]),
        (Filter(kind="message"), ["hello", "hello", "message"]),
        (Filter("A", "joined", "event"), ["joined"]),
    ],
)
def test_a_filter_lets_through_what_is_wanted(
    fleet: FleetUnderTest, follow: Follow, wanted: Filter, found: list[str]
) -> None:
    fleet.join("A", "B")
    fleet.say("A", "message", {"text": "to you"}, "B")
    fleet.run()
    feed = follow()
    told(feed, "message")
    assert types(feed.last(100, wanted.passes)) == found
    assert types(feed.last(1, wanted.passes)) == found[-1:]


def test_more_than_can_be_kept_is_said_to_be_missed(
    fleet: FleetUnderTest, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.feed.LINES_KEPT", 3)
    feed = follow()
    begin = feed.last(0)
    fleet.join("A", "B")
    told(feed, "joined")
    assert comes_true(lambda: feed.last(0).seq == 5, LIMIT_S)
    kept = feed.last(100)
    assert types(kept) == ["joined", "hello", "joined"]
    assert feed.after(2) == kept
    assert feed.after(1) == feed.after(0) == kept._replace(missed=True)
    assert feed.since(begin.cursor) == kept._replace(missed=True)
    assert feed.since(kept.lines[0].cursor) == kept._replace(lines=kept.lines[1:])


def test_another_process_goes_on_where_one_has_read_to(
    fleet: FleetUnderTest, follow: Follow
) -> None:
    fleet.join("A", "B")
    feed = follow()
    told(feed, "joined")
    before = feed.last(100)
    after_hello = before.lines[2].cursor
    again = follow()
    told(again, "joined")
    assert places(again.since(after_hello)) == places(before)[3:]
    assert again.since(before.cursor).lines == []
    assert not again.since(after_hello).missed


def test_how_far_the_coordinator_is_behind_is_known_beforehand(
    fleet: FleetUnderTest, follow: Follow
) -> None:
    feed = follow()
    assert comes_true(lambda: feed.lag is not None, LIMIT_S)
    fleet.say("AI_1", "hello")
    assert comes_true(lambda: feed.lag is not None and feed.lag.entries == 1, LIMIT_S)


def test_a_new_epoch_is_told_and_gone_on_in(fleet: FleetUnderTest, follow: Follow) -> None:
    fleet.join("A")
    feed = follow()
    told(feed, "joined")
    before = feed.last(0).cursor
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    fleet.join("B")
    assert comes_true(lambda: "joined" in types(feed.since(before)), LIMIT_S)
    since = feed.since(before)
    assert (types(since), since.missed) == (["epoch", "hello", "joined"], False)
    assert since.lines[0].cursor.epoch != before.epoch


def test_who_read_another_fleet_is_told_all_and_that_it_missed_something(
    fleet: FleetUnderTest, follow: Follow
) -> None:
    fleet.join("A")
    feed = follow()
    told(feed, "joined")
    assert feed.since(Cursor("another.1", 7, 7)) == feed.last(100)._replace(missed=True)


def test_before_it_has_begun_there_is_nothing(fleet: FleetUnderTest) -> None:
    feed = Feed(fleet.redis, fleet.keys, SystemClock())
    nothing = Tail([], False, 0, Cursor())
    assert (feed.since(Cursor("e.1", 3, 3)), feed.after(0), feed.last(9)) == (nothing,) * 3


STRANGE: tuple[dict[str, Any], ...] = (
    {},
    {"message_id": 1, "sender_id": {"a": 1}, "target_ai": [2], "message_type": None, "payload": 3},
    {"payload": [[]]},
    {"payload": {"code": {"id": {"a": ["\x00"] * 500}}}},
    {"payload": {"pattern": {"id": "\u202e" * 500}}},
    {"target_ai": "x" * 100_000, "sender_id": "<script>\r\n"},
)


def test_what_strangers_wrote_stops_nothing(
    fleet: FleetUnderTest, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.join("A")
    feed = follow()
    told(feed, "joined")
    good = fleet.log()[0]
    nested = '{"payload":' + '{"":' * 900 + "1" + "}" * 901
    bodies = [json.dumps(good | odd) for odd in STRANGE]
    bodies += [
        json.dumps(good)[:-1] + "," + nested[1:],
        "[]",
        "\udcff",
    ]
    for n, body in enumerate(bodies, 2):
        encoded = body.encode(errors="surrogateescape")
        entry = cast(Any, {"message": encoded, "ms": "1", "epoch": "\n\u202e"})
        fleet.redis.xadd(fleet.keys.log, entry, id=f"{n}-0")
    fleet.redis.xadd(fleet.keys.log, {"message": "{}", "ms": "never"}, id="50-0")
    event = {"kind": "message", "ai": "\x07", "text": "", "ms": "1", "epoch": "", "data": "{}"}
    fleet.redis.xadd(fleet.keys.events, cast(Any, event), id="50-0")
    last = {"message": json.dumps(good | {"message_type": "last"}), "ms": "1", "epoch": ""}
    fleet.redis.xadd(fleet.keys.log, cast(Any, last), id="60-0")
    told(feed, "last")
    lines = feed.last(100).lines
    assert [line.n for line in lines if line.kind == "message"][1:] == [2, 3, 4, 5, 6, 7, 8, 60]
    for line in lines:
        assert "".join([line.ai, line.to, line.type, line.text, line.epoch]).isprintable()
        assert max(map(len, [line.ai, line.to, line.type, line.text, line.epoch])) <= 200
    assert caplog.messages == []


def test_a_listener_that_fails_stops_nobody(
    fleet: FleetUnderTest, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(lines: Sequence[Line]) -> None:
        raise RuntimeError("it cannot bear it")

    feed = follow([fail, lambda lines: heard.extend(line.kind for line in lines)])
    fleet.join("A")
    assert comes_true(lambda: heard[-1:] == ["event"], LIMIT_S)
    assert told(feed, "joined") == ["epoch", "hello", "joined"]
    assert heard == ["epoch", "message", "event"]
    assert "by a fault of coord's own" in caplog.text


def test_an_outage_is_told_and_nothing_of_it_is_missing(
    fleet: FleetUnderTest, follow: Follow
) -> None:
    connection = Away(fleet.redis)
    fleet.join("A")
    feed = follow(connection=connection)
    told(feed, "joined")
    assert feed.pulse.trouble is None
    connection.is_away = True
    assert comes_true(lambda: feed.pulse.outage == "the cable is out", LIMIT_S)
    fleet.join("B")
    assert feed.pulses()[-1].totals == {}
    connection.is_away = False
    assert comes_true(lambda: feed.pulse.trouble is None, LIMIT_S)
    assert comes_true(lambda: len(feed.last(100).lines) == 4, LIMIT_S)
    assert types(feed.last(2)) == ["hello", "joined"]


def test_one_that_begins_in_an_outage_begins_again(fleet: FleetUnderTest, follow: Follow) -> None:
    connection = Away(fleet.redis)
    connection.is_away = True
    feed = follow(connection=connection)
    assert comes_true(lambda: bool(feed.pulses()), LIMIT_S)
    assert feed.pulse.outage == "the cable is out"
    assert feed.pulse.trouble
    fleet.join("A")
    connection.is_away = False
    assert told(feed, "joined") == ["hello", "joined"]


def test_a_pulse_has_the_coordinator_the_ais_and_the_totals(
    fleet: FleetUnderTest, follow: Follow
) -> None:
    feed = follow()
    fleet.join("A", "B")
    assert comes_true(lambda: feed.pulse.totals == {"hello": 2}, LIMIT_S)
    pulse = feed.pulse
    assert (pulse.coordinator, pulse.ais, pulse.outage) == ("coordinator-1", 2, "")
    fleet.redis.delete(fleet.keys.leader)
    assert comes_true(lambda: not feed.pulse.coordinator, LIMIT_S)
    assert feed.pulse.since_ms > pulse.since_ms
    assert feed.pulse.trouble
    assert feed.pulse.trouble.command == "coord serve"
