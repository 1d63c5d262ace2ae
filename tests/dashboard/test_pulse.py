"""Messages a second, by the totals that the coordinator counts."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.fleet import FleetUnderTest, ManualClock
from web.live.pulse import Pulses, rates_over_time


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pulses(fleet: FleetUnderTest, clock: ManualClock) -> Pulses:
    return Pulses(fleet.redis, fleet.keys, clock)


def count(fleet: FleetUnderTest, **totals: Any) -> None:
    fleet.redis.hset(fleet.keys.totals, mapping=cast(Any, totals))


def test_rates_are_since_the_one_before(
    fleet: FleetUnderTest, pulses: Pulses, clock: ManualClock
) -> None:
    count(fleet, hello=5, query=7)
    assert pulses.take().rates == {}
    count(fleet, hello=8, query=7, pattern_share=1)
    clock.advance(2)
    pulse = pulses.take()
    assert pulse.rates == {"hello": 1.5, "pattern_share": 0.5}
    assert list(pulse.totals.items()) == [("hello", 8), ("query", 7), ("pattern_share", 1)]


def test_after_an_outage_there_are_none_until_the_next(
    fleet: FleetUnderTest, pulses: Pulses, clock: ManualClock
) -> None:
    taken = [pulses.take()]
    for hellos in (10, None, 30, 40):
        clock.advance(1)
        if hellos is not None:
            count(fleet, hello=hellos)
        taken.append(pulses.take() if hellos is not None else pulses.miss("a\nb"))
    assert [pulse.outage for pulse in taken] == ["", "", "a\\nb", "", ""]
    assert rates_over_time(taken) == {
        "ms": [pulse.ms for pulse in taken],
        "rates": {"hello": [0, 10, None, 0, 10]},
    }


def test_what_strangers_count_is_bounded(
    fleet: FleetUnderTest, pulses: Pulses, clock: ManualClock
) -> None:
    count(fleet, **{f"type-{n}": n for n in range(100)}, **{"x" * 1000: 10**6, "junk": "9e9"})
    pulses.take()
    clock.advance(1)
    pulse = pulses.take()
    assert len(pulse.totals) == 64
    assert list(pulse.totals)[:2] == ["x" * 125 + "...", "type-99"]
    assert pulse.rates == {}


def test_totals_that_are_none_are_borne(fleet: FleetUnderTest, pulses: Pulses) -> None:
    fleet.redis.set(fleet.keys.totals, "spoiled")
    fleet.redis.set(fleet.keys.leader, "x\u202e/1")
    pulse = pulses.take()
    assert (pulse.totals, pulse.coordinator, pulse.outage) == ({}, "x\\u202e", "")
