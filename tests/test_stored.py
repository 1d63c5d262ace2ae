"""What strangers spoil is left out or shown as unknown, and costs nobody else anything."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from redis import Redis

from coordinator.audit import read_audit
from coordinator.clock import LAST_MS, iso, ms_of
from coordinator.credit import read_contributions
from coordinator.keys import Keys
from coordinator.letters import read_letters
from coordinator.lineage_reads import read_lineage
from coordinator.reads import (
    Page,
    read_ais,
    read_benchmarks,
    read_counts,
    read_homes,
    read_record,
    read_records,
    with_work,
)
from coordinator.session_reads import read_open_work
from coordinator.stored import finite_number, json_of, number_of, whole_number
from coordinator.streams import Source, last_number
from reports.formats import duration
from tests.fleet import FleetUnderTest, python

HELD = "coord:component:c"
SPOILED: dict[str, tuple[Any, ...]] = {
    "validation: junk": ("HSET", HELD, "validation", "junk"),
    "validation: a list": ("HSET", HELD, "validation", "[1]"),
    "validation: an object": ("HSET", HELD, "validation", '{"verdict": {"a": 1}}'),
    "validation: deep": ("HSET", HELD, "validation", "[" * 100_000),
    "validation: huge": ("HSET", HELD, "validation", '{"verdict": "passed", "score": 1e999}'),
    "validating: a list": ("HSET", HELD, "validating", "[]"),
    "validating: late": ("HSET", HELD, "validating", '{"queued_ms": 1e30}'),
    "quality: junk": ("HSET", HELD, "quality_score", "junk"),
    "quality: no number": ("HSET", HELD, "quality_score", "nan"),
    "record: junk": ("HSET", HELD, "record", "junk"),
    "revision: junk": ("HSET", HELD, "revision", "junk"),
    "no contributor": ("HDEL", HELD, "contributor"),
    "contributor: no text": ("HSET", HELD, "contributor", b"\xff\xfe"),
    "origins: no text": ("HSET", HELD, "origins", b"\xff"),
    "derived: strange": ("ZADD", "coord:derived:component:c", 1, b"\xff", 1, "component:zz\n"),
    "no hash": ("SET", HELD, "x"),
    "derived: no list": ("SET", "coord:derived:component:c", "x"),
    "credit: no hash": ("SET", "coord:credit:a", "x"),
    "member: no hash": ("SET", "coord:member:a", "x"),
    "member: a score": ("HSET", "coord:member:a", "contribution_score", "x"),
    "member: a count": ("HSET", "coord:member:a", "units_completed", "x"),
    "AI: a load": ("HSET", "coord:ai:a", "load", "x"),
    "AI: no hash": ("SET", "coord:ai:a", "x"),
    "validations: no list": ("SET", "coord:validations", "x"),
    "totals: junk": ("HSET", "coord:totals", "hello", "x"),
    "components: no list": ("SET", "coord:components", "x"),
    "reports: junk": ("XADD", "coord:benchmarks:c", "*", "ms", "x", "metrics", "x"),
    "a ghost": ("ZADD", "coord:components", 10**15, "ghost"),
}  # fmt: skip


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """a's component that passed, and b's that began from it."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.enroll("v", role="validator")
    fleet.join("a", "b", specialization="audio")
    fleet.join("v", evaluators={"sound": "1"})
    fleet.say("a", "code_share", {"code": python("c")})
    fleet.say("b", "code_share", {"code": python("k", "x = 2", derived_from="c")})
    fleet.run()
    for name in "ck":
        fleet.judge("v", name, verdict="passed", score=0.5, problem="disk", evaluator="1")
    return fleet


@pytest.fixture(params=SPOILED.values(), ids=SPOILED.keys())
def spoiled(fleet: FleetUnderTest, request: pytest.FixtureRequest) -> FleetUnderTest:
    if request.param[0] == "SET":
        fleet.redis.delete(request.param[1])
    fleet.redis.execute_command(*request.param)
    return fleet


def test_all_else_is_read_as_ever(spoiled: FleetUnderTest) -> None:
    connection, keys = spoiled.redis, spoiled.keys
    (whole,) = read_record(connection, keys, "component", "k").items
    read_record(connection, keys, "component", "c")
    read_records(connection, keys, "component", 10)
    read_benchmarks(connection, keys, ["c"], 5)
    read_homes(connection, keys, "c")
    nodes = read_lineage(connection, keys, "k", 9, 99).nodes
    read_lineage(connection, keys, "c", 9, 99)
    read_counts(connection, keys)
    ais = {item["ai_id"] for item in read_ais(connection, keys, 10).items}
    (worker,) = with_work(connection, keys, [{"ai_id": "b"}])
    assert (whole["contributor"], whole["quality_score"]) == ("b", 0.5)
    assert nodes["component", "k"]["contributor"] == "b"
    assert ais >= {"b", "v"}
    assert read_contributions(connection, keys, ["b"]) == [worker["contribution_score"]] == [0.5]


def test_who_comes_is_let_in_and_who_takes_it_back_may(spoiled: FleetUnderTest) -> None:
    spoiled.replace_coordinator("coordinator-2")
    spoiled.join("z")
    assert spoiled.sync("z")["counts"]["active_ais"] >= 3
    spoiled.order("retract", id="c")
    spoiled.order("retract", id="k")
    assert spoiled.coordinator.active
    assert spoiled.redis.exists("coord:component:k", "coord:dead") == 0


@pytest.mark.parametrize("key", ["leases", "sessions", "events", "dead", "specialization:audio"])
@pytest.mark.parametrize("command", ["SET", "LPUSH"])
def test_a_list_of_another_type_counts_as_empty(redis: Redis, key: str, command: str) -> None:
    keys = Keys()
    redis.execute_command(command, f"coord:{key}", "x")
    assert read_open_work(redis, keys)["sessions"] == {"pending": 0, "active": 0, "features": 0}
    assert read_ais(redis, keys, 10) == Page([], None, 0)
    assert read_ais(redis, keys, 10, "audio", "audio") == Page([], None, 0)
    assert (read_audit(redis, keys, 10), read_letters(redis, keys)) == ([], [])


def test_numbers_that_strangers_wrote_count_as_none(redis: Redis) -> None:
    keys = Keys()
    redis.hset(keys.fleet, mapping={"log_n": "x", "events_n": "1e9"})
    assert [last_number(redis, keys, source) for source in get_args(Source)] == [0, 0]


def test_a_moment_beyond_all_calendars_is_the_last_one() -> None:
    assert iso(10**19) == iso(LAST_MS)
    assert duration(math.inf) == duration(LAST_MS)


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("1", None), (10**400, None), (float("inf"), None)],
)
def test_a_number_is_finite_or_none(value: object, number: float | None) -> None:
    assert finite_number(value) == number


@pytest.mark.parametrize(
    ("stored", "whole", "number"),
    [(b"7", 7, 7.0), (b"-1", 0, -1.0), (b"0.5", 0, 0.5), (b"x", 0, None), (None, 0, None)],
)
def test_a_number_as_text(stored: bytes | None, whole: int, number: float | None) -> None:
    assert (whole_number(stored), number_of(stored)) == (whole, number)


@pytest.mark.parametrize(
    ("stored", "ms"),
    [
        (iso(1_750_000_000_123), 1_750_000_000_123),
        (iso(0), 0),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01 01:00:01+01:00", 1000),
        ("1970-01-02", 86_400_000),
        ("1969-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_moment_is_one_that_can_be_told_or_none(stored: str, ms: int | None) -> None:
    assert ms_of(stored) == ms


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, None])
def test_what_cannot_be_written_again_is_no_json(junk: bytes | None) -> None:
    assert json_of(junk) is None
