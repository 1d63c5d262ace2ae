"""A feed: pushes in order, gaps read from the stream, cuts by retention, and the epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fakeredis
import pytest

from coordinator.feed import Cut, EpochChanged, Feed, find_reply
from coordinator.messages import Push, to_json
from tests.clients import in_loop

EPOCH = "e1"


class Stream:
    """A log as the coordinator writes it, and a feed of it."""

    def __init__(self) -> None:
        self.redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        self.feed = Feed(self.redis, "log", "fleet")
        self.feed.start(EPOCH, 0)

    async def write(self, *numbers: int, epoch: str = EPOCH, **payload: Any) -> None:
        await self.redis.hset("fleet", "epoch", epoch)
        for n in numbers:
            fields = {"message": to_json({"n": n, "payload": payload}), "epoch": epoch}
            await self.redis.xadd("log", fields, id=f"{n}-0")

    async def read_all(self) -> list[Any]:
        items = []
        while page := await self.feed.read():
            items += [item if isinstance(item, Cut) else item.n for item in page]
        return items


@pytest.fixture
def new_stream() -> Callable[[], Stream]:
    return Stream


def push(n: int | None, epoch: str = EPOCH) -> Push:
    return Push(epoch, n, {})


@in_loop
async def test_a_push_is_taken_if_it_is_the_next(new_stream: Callable[[], Stream]) -> None:
    feed = new_stream().feed
    assert feed.offer(push(1)) is True
    assert feed.offer(push(2)) is True
    assert feed.offer(push(2)) is False  # it came before
    assert feed.offer(push(4)) is None  # 3 is missing
    assert feed.offer(push(None)) is False
    assert feed.last == 2
    with pytest.raises(EpochChanged):
        feed.offer(push(3, "e2"))


@in_loop
async def test_the_stream_is_read_page_by_page_from_where_it_is(
    new_stream: Callable[[], Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.feed.PAGE", 2)
    stream = new_stream()
    await stream.write(1, 2, 3, 4, 5)
    stream.feed.start(EPOCH, 1)
    assert await stream.read_all() == [2, 3, 4, 5]
    assert await stream.read_all() == []
    await stream.write(6)
    assert await stream.read_all() == [6]


@in_loop
async def test_what_retention_cut_is_told_to_the_number(new_stream: Callable[[], Stream]) -> None:
    stream = new_stream()
    await stream.write(4, 5, 9)
    assert await stream.read_all() == [Cut(1, 3), 4, 5, Cut(6, 8), 9]


@in_loop
async def test_another_epoch_of_the_fleet_stops_it_before_anything_is_read(
    new_stream: Callable[[], Stream],
) -> None:
    stream = new_stream()
    await stream.write(1, 2)
    await stream.write(3, epoch="e2")
    with pytest.raises(EpochChanged):
        await stream.feed.read()
    assert stream.feed.last == 0
    stream.feed.start("e2", 0)  # the coordinator says that 1 and 2 still count
    assert await stream.read_all() == [1, 2, 3]


@in_loop
async def test_a_server_that_has_forgotten_the_fleet_is_another_epoch(
    new_stream: Callable[[], Stream],
) -> None:
    with pytest.raises(EpochChanged):
        await new_stream().feed.read()


@in_loop
async def test_what_was_read_can_be_read_again_and_nothing_beyond(
    new_stream: Callable[[], Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.feed.PAGE", 3)
    stream = new_stream()
    await stream.write(1, 2, 3, 4, 5)
    for n in range(1, 5):
        stream.feed.offer(push(n))
    assert [item.n for item in await stream.feed.read_again(0)] == [1, 2, 3]
    assert [item.n for item in await stream.feed.read_again(3)] == [4]
    await stream.redis.xtrim("log", minid="3-0", approximate=False)
    assert (await stream.feed.read_again(0))[0] == Cut(1, 2)
    await stream.redis.xtrim("log", minid="5-0", approximate=False)
    assert await stream.feed.read_again(1) == [Cut(2, 4)]
    await stream.redis.delete("log")
    assert await stream.feed.read_again(1) == [Cut(2, 4)]
    assert stream.feed.last == 4


@in_loop
async def test_a_reply_is_found_among_the_last_few(new_stream: Callable[[], Stream]) -> None:
    stream = new_stream()
    await stream.write(1, in_reply_to="m1")
    await stream.write(2, in_reply_to="m2")
    found = await find_reply(stream.redis, "log", "m1")
    assert found is not None
    assert found["n"] == 1
    assert await find_reply(stream.redis, "log", "m3") is None
