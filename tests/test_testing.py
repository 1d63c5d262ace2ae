"""FakeFleet, as users write tests with it: a real coordinator, no server, nothing to stub."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coordinator.errors import IdTaken, Refused
from coordinator.settings import Settings
from coordinator.testing import FakeFleet
from tests.clients import in_loop, is_pattern, numbers_of, pattern, receive_until


def test_blocking_clients_meet_in_it() -> None:
    with (
        FakeFleet() as fleet,
        fleet.client("AI_1", specialization="audio") as one,
        fleet.client("AI_2") as two,
    ):
        one.share_pattern(pattern(1))
        one.confirm()
        came = []
        for message in two.messages():
            came.append(message)
            if is_pattern(1)(message):
                break
        assert numbers_of(came) == [1]
        assert one.query("ais", {"specialization": "audio"}).total == 1
        with pytest.raises(IdTaken):
            fleet.client("AI_1").connect()
        one.report("c", {})
        with pytest.raises(Refused):
            one.confirm()


@in_loop
async def test_async_clients_meet_in_it() -> None:
    async with (
        FakeFleet() as fleet,
        fleet.async_client("AI_1") as one,
        fleet.async_client("AI_2") as two,
    ):
        await one.share_pattern(pattern(1), target_ai="AI_2")
        assert numbers_of(await receive_until(two, is_pattern(1))) == [1]


@in_loop
async def test_two_fleets_know_nothing_of_each_other() -> None:
    async with (
        FakeFleet() as first,
        FakeFleet() as second,
        first.async_client("AI_1"),
        second.async_client("AI_1") as other,
    ):
        assert (await other.query("ais")).total == 1


@in_loop
async def test_its_settings_are_those_given() -> None:
    settings = Settings(message_max_bytes=2048)
    async with FakeFleet(settings) as fleet, fleet.async_client("AI_1") as client:
        assert client.settings is settings


@in_loop
async def test_it_goes_on_after_a_pause_that_ended_its_lease() -> None:
    """As when somebody looks at a test in a debugger."""
    async with FakeFleet() as fleet, fleet.async_client("AI_1") as client:
        await client._transport._redis.delete(client._transport._keys.leader)
        await client.share_pattern(pattern(1))
        await client.confirm(5)


def test_nothing_is_left_of_it() -> None:
    before = threading.active_count()
    with FakeFleet() as fleet, fleet.client("AI_1") as client:
        client.confirm()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
