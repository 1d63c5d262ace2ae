"""The doors of a fleet: who comes in by which ingress stream, and how an entry is written there."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline

from coordinator.keys import Keys
from coordinator.messages import GATEWAY

GATEWAY_PREFIX = "gw:"


class Speaker(NamedTuple):
    """Whose messages are numbered together: an instance of who owns them."""

    owner: str
    instance: str


def gateway_door(gateway_id: str) -> str:
    return f"{GATEWAY_PREFIX}{gateway_id}"


def is_gateway_door(door: str) -> bool:
    return door.startswith(GATEWAY_PREFIX)


def owner_of(door: str, ai: str) -> str:
    """Who speaks: behind a gateway's door the ``ai`` that it has authenticated, or without one the
    gateway itself; behind any other door whose it is."""
    return (ai or GATEWAY) if is_gateway_door(door) else door


def add_entry(
    pipe: Pipeline | AsyncPipeline,
    keys: Keys,
    door: str,
    body: str | bytes,
    instance: str,
    n: int | None = None,
    ai: str | None = None,
) -> None:
    """Queue the two commands that put a message into an ingress; executing ``pipe`` sends them.

    ``n`` numbers the messages of ``instance`` from 1. ``ai`` is for gateways: who is speaking.
    """
    fields: dict[str, Any] = {"body": body, "instance": instance}
    if n is not None:
        fields["n"] = n
    if ai is not None:
        fields["ai"] = ai
    writer = cast(Pipeline, pipe)
    writer.xadd(keys.ingress(door), cast(Any, fields))
    writer.sadd(keys.doors, door)
