"""Outages of the server: how a client waits until one is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from coordinator.clock import Clock
from coordinator.errors import ServerUnusable
from coordinator.server_errors import is_outage

log = logging.getLogger("coord.client")

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
LONGEST_SLEEP_S = 1.0

BACKOFF = ExponentialWithJitterBackoff(cap=LONGEST_WAIT_S, base=FIRST_WAIT_S)


async def through_outages(
    action: Callable[[], Awaitable[T]], ai_id: str, check: Callable[[], None]
) -> T:
    """Try ``action`` until the server takes it; ``check`` raises when that is no longer wanted.

    What no waiting can cure raises ServerUnusable.
    """

    async def note(error: Exception) -> None:
        check()
        if not is_outage(error):
            raise ServerUnusable(f"the server refuses what {ai_id} needs: {error}") from None
        log.info("%s: waiting for the server: %s", ai_id, error)

    retry: Retry = Retry(
        BACKOFF,
        retries=-1,
        supported_errors=(redis.RedisError,),
    )
    check()
    return await retry.call_with_retry(action, note)


def sit_out(action: Callable[[], T], until_s: float, clock: Clock) -> T:
    """Try ``action`` until the server takes it; from ``until_s`` on (of ``clock.elapsed_s``), or
    when no waiting can cure it, its error is raised."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return action()
        except redis.RedisError as error:
            if not is_outage(error) or clock.elapsed_s() >= until_s:
                raise
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, LONGEST_SLEEP_S)
