"""What others send, as it is on its way to clients: lines, under the numbers of their streams."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

PAGE = 100
_MESSAGE = b',"message":'


class EpochChanged(Exception):
    """The fleet is in another epoch: where to read on, only the coordinator can tell."""


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


async def read_page(
    connection: Redis, key: str, fleet_key: str, epoch: str, after: int
) -> list[Item]:
    """What a stream holds after number ``after``, and what is gone of it; empty at its end.

    Raises EpochChanged when the fleet is not in ``epoch``.
    """
    async with connection.pipeline() as pipe:
        pipe.hget(fleet_key, "epoch")
        pipe.xrange(key, min=f"{after + 1}-0", count=PAGE)
        present, reply = await pipe.execute()
    if (present or b"").decode() != epoch:
        raise EpochChanged
    items = []
    for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", reply):
        n = int(entry_id.partition(b"-")[0])
        if n > after + 1:
            items.append(Item(after + 1, n - 1, b""))
        items.append(_item(n, fields))
        after = n
    return items


async def read_newest(connection: Redis, key: str, after: int) -> list[Item]:
    """The last few entries of a stream after number ``after``, newest first."""
    reply = await connection.xrevrange(key, min=f"{after + 1}-0", count=20)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
    return [_item(int(entry_id.partition(b"-")[0]), fields) for entry_id, fields in entries]


def _item(n: int, fields: dict[bytes, bytes]) -> Item:
    exclude = fields.get(b"exclude")
    instance = fields.get(b"instance")
    return Item(
        n,
        n,
        fields[b"message"] + b"\n",
        tuple(exclude.decode().split(",")) if exclude else (),
        instance.decode() if instance else None,
    )
