"""One numbered stream, read in order: a push is for speed, the stream is the truth."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from redis.asyncio import Redis

from coordinator.messages import Push, decode_entry

StreamName = Literal["log", "inbox"]
PAGE = 200


class EpochChanged(Exception):
    """The stream goes on in another epoch: where to read on, only the coordinator can tell."""


class Cut(NamedTuple):
    """The numbers from ``first`` to ``last`` are gone: retention has cut them."""

    first: int
    last: int


class Feed:
    """``last`` is the number that was read last. What has been read is never read again."""

    def __init__(self, connection: Redis, key: str) -> None:
        self._redis = connection
        self._key = key
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

        Raises EpochChanged when the next entry belongs to another epoch.
        """
        reply = await self._redis.xrange(self._key, min=f"{self.last + 1}-0", count=PAGE)
        items: list[Push | Cut] = []
        for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
            push = decode_entry(fields, int(entry_id.split(b"-")[0]))
            if push.epoch != self.epoch:
                if items:
                    return items
                raise EpochChanged
            n = cast(int, push.n)
            if n > self.last + 1:
                items.append(Cut(self.last + 1, n - 1))
            items.append(push)
            self.last = n
        return items


async def find_reply(connection: Redis, key: str, in_reply_to: str) -> dict[str, Any] | None:
    """The newest message in an inbox that answers ``in_reply_to``, if it is among the last few."""
    reply = await connection.xrevrange(key, count=20)
    for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
        message = decode_entry(fields, 0).message
        if message["payload"].get("in_reply_to") == in_reply_to:
            return message
    return None
