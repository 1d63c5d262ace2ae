"""One numbered stream, read in order: a push is for speed, the stream is the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from redis.asyncio import Redis

from coordinator.messages import Push, decode_entry, stream_number

PAGE = 100

T = TypeVar("T")


class EpochChanged(Exception):
    """The fleet is in another epoch: where to read on, only the coordinator can tell."""


class Cut(NamedTuple):
    """The numbers from ``first`` to ``n`` are gone: retention has cut them."""

    first: int
    n: int


class Feed:
    """``last`` is the number that was read last; what has been read is read again only when asked.

    ``fleet_key`` is where the fleet's present epoch is. Entries of earlier epochs are as good as
    those of ours: the coordinator has said that they still count.
    """

    def __init__(self, connection: Redis, key: str, fleet_key: str) -> None:
        self._redis = connection
        self._key = key
        self._fleet_key = fleet_key
        self.epoch = ""
        self.last = 0

    def start(self, epoch: str, last: int) -> None:
        self.epoch = epoch
        self.last = last

    def offer(self, push: Push) -> bool | None:
        """Take ``push`` if it is the next one: True. None when some are missing before it, so that
        the stream must be read; False when it was read before. Raises EpochChanged."""
        if push.epoch != self.epoch:
            raise EpochChanged
        if push.n is None or push.n <= self.last:
            return False
        if push.n > self.last + 1:
            return None
        self.last = push.n
        return True

    async def read(self) -> list[Push | Cut]:
        """The next page of the stream, with a Cut where numbers are gone; empty at its end.

        Raises EpochChanged.
        """
        items = await self._page(self.last)
        self.last = items[-1].n or 0 if items else self.last
        return items

    async def read_again(self, after: int) -> list[Push | Cut]:
        """A page of what was read before, from ``after`` on: up to ``last``, and never empty."""
        items: list[Push | Cut] = []
        for item in await self._page(after):
            if isinstance(item, Cut):
                items.append(item._replace(n=min(item.n, self.last)))
            elif item.n is not None and item.n <= self.last:
                items.append(item)
        return items or [Cut(after + 1, self.last)]

    async def _page(self, after: int) -> list[Push | Cut]:
        return await read_page(
            self._redis, self._key, self._fleet_key, self.epoch, after, decode_entry
        )


async def read_page(
    connection: Redis,
    key: str,
    fleet_key: str,
    epoch: str,
    after: int,
    decode: Callable[[dict[bytes, bytes], int], T],
) -> list[T | Cut]:
    """What a stream holds after number ``after``, each entry as ``decode`` makes it of its fields
    and its number, with a Cut where numbers are gone; empty at its end.

    Raises EpochChanged when the fleet is not in ``epoch``.
    """
    async with connection.pipeline() as pipe:
        pipe.hget(fleet_key, "epoch")
        pipe.xrange(key, min=f"{after + 1}-0", count=PAGE)
        present, reply = await pipe.execute()
    if (present or b"").decode() != epoch:
        raise EpochChanged
    items: list[T | Cut] = []
    for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
        n = stream_number(entry_id)
        if n > after + 1:
            items.append(Cut(after + 1, n - 1))
        items.append(decode(fields, n))
        after = n
    return items


async def find_reply(connection: Redis, key: str, in_reply_to: str) -> dict[str, Any] | None:
    """The newest message in an inbox that answers ``in_reply_to``, if it is among the last few."""
    reply = await connection.xrevrange(key, count=20)
    for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
        message = decode_entry(fields, 0).message
        if message["payload"].get("in_reply_to") == in_reply_to:
            return message
    return None
