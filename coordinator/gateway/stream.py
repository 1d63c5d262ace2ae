"""What others send, as it is on its way to clients: lines, under the numbers of their streams."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from coordinator.feed import Cut, read_page
from coordinator.messages import stream_number

NEWEST = 20
_MESSAGE = b',"message":'


class Item(NamedTuple):
    """The message numbered ``n`` as a line, or the numbers from ``first`` to ``n`` that are gone,
    whose line is empty. ``n`` is 0 for what no stream keeps.

    ``exclude`` are AIs that are not meant, ``instance`` the one instance of an AI that is.
    """

    first: int
    n: int
    line: bytes
    exclude: tuple[str, ...] = ()
    instance: str | None = None


def read_push(data: bytes) -> tuple[str, Item]:
    """The epoch and the message that a channel carried; ValueError or KeyError for anything else.

    The message comes last and is not parsed: within JSON strings no quote stands by itself, so
    that the first ``,"message":`` is the one.
    """
    at = data.index(_MESSAGE)
    head: dict[str, Any] = json.loads(data[:at] + b"}")
    n = head.get("n") or 0
    line = data[at + len(_MESSAGE) : -1] + b"\n"
    return head["epoch"], Item(n, n, line, tuple(head.get("exclude", ())), head.get("instance"))


async def read_items(redis: Redis, key: str, fleet_key: str, epoch: str, after: int) -> list[Item]:
    """What a stream holds after number ``after``, and what is gone of it; empty at its end.

    Raises EpochChanged when the fleet is not in ``epoch``.
    """
    page = await read_page(redis, key, fleet_key, epoch, after, _item)
    return [Item(one.first, one.n, b"") if isinstance(one, Cut) else one for one in page]


async def read_newest(redis: Redis, key: str, after: int) -> list[Item]:
    """The last few entries of a stream after number ``after``, newest first."""
    reply = await redis.xrevrange(key, min=f"{after + 1}-0", count=NEWEST)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
    return [_item(fields, stream_number(entry_id)) for entry_id, fields in entries]


def _item(fields: dict[bytes, bytes], n: int) -> Item:
    exclude = fields.get(b"exclude")
    instance = fields.get(b"instance")
    return Item(
        n,
        n,
        fields[b"message"] + b"\n",
        tuple(exclude.decode().split(",")) if exclude else (),
        instance.decode() if instance else None,
    )
