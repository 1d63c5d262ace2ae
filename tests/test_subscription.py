"""A subscription hears its channels, those that come and go included, over every connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from coordinator import subscription as subscription_module
from coordinator.connection import connect_async
from coordinator.outages import Patience
from coordinator.subscription import Subscription
from coordinator.tasks import Tasks
from tests.clients import in_loop, until


class Heard:
    """A running subscription to ``a``, and what it heard."""

    def __init__(self, listener: Redis, teller: Redis, tasks: Tasks) -> None:
        self._teller = teller
        self.came: list[tuple[bytes, bytes]] = []
        self.completed = 0
        self.subscription = Subscription(
            listener,
            ("a",),
            Patience("the test").through_outages,
            self._take,
            self._catch_up,
            tasks.start,
        )

    async def _take(self, channel: bytes, data: bytes) -> None:
        self.came.append((channel, data))

    async def _catch_up(self) -> None:
        self.completed += 1

    async def tell(self, channel: str) -> int:
        """How many heard it."""
        return int(await self._teller.publish(channel, channel))

    async def cut(self) -> int:
        """CLIENT KILL of the subscribed connection; how many there were."""
        return int(await self._teller.client_kill_filter(_type="pubsub"))


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[Heard]:
    errors: list[BaseException] = []
    tasks = Tasks(errors.append)
    async with connect_async(url) as listener, connect_async(url) as teller:
        heard = Heard(listener, teller, tasks)
        tasks.start(heard.subscription.run())
        await until(lambda: heard.completed == 1)
        yield heard
        await tasks.end()
        assert errors == []
        assert not heard.subscription.is_complete


@in_loop
async def test_a_channel_comes_and_goes(real_url: str) -> None:
    async with hearing(real_url) as heard:
        await heard.subscription.add("b")
        assert [await heard.tell("b"), await heard.tell("a")] == [1, 1]
        await until(lambda: heard.came == [(b"b", b"b"), (b"a", b"a")])
        await heard.subscription.remove("b")
        while await heard.tell("b"):
            await asyncio.sleep(0)
        assert heard.completed == 1


@in_loop
async def test_after_a_cut_all_channels_are_heard_again(real_url: str) -> None:
    async with hearing(real_url) as heard:
        await heard.subscription.add("b")
        assert await heard.cut() == 1
        await until(lambda: heard.completed == 2)
        assert heard.subscription.is_complete
        assert [await heard.tell("a"), await heard.tell("b")] == [1, 1]
        await until(lambda: heard.came == [(b"a", b"a"), (b"b", b"b")])


@in_loop
async def test_a_channel_that_is_not_confirmed_is_told(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "CONFIRM_LIMIT_S", 0.05)
    async with connect_async(real_url) as listener, connect_async(real_url) as teller:
        heard = Heard(listener, teller, Tasks(lambda error: None))  # it does not run
        with pytest.raises(TimeoutError):
            await heard.subscription.add("b")
