"""Outages of the server: how a client waits until one is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

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


class Persist(Protocol):
    """Runs an action again and again until no outage hinders it, and returns what that did."""

    def __call__(self, action: Callable[[], Awaitable[T]], /) -> Awaitable[T]: ...


class Patience:
    """How ``name`` waits for the server, whatever it does there: an outage is told once.

    ``check`` raises when nothing is waited for any more.
    """

    def __init__(self, name: str, check: Callable[[], None] | None = None) -> None:
        self._name = name
        self._check = check or (lambda: None)
        self._is_waiting = False

    async def through_outages(self, action: Callable[[], Awaitable[T]]) -> T:
        """Try ``action`` until the server takes it. What no waiting can cure raises
        ServerUnusable."""
        retry: Retry = Retry(BACKOFF, retries=-1, supported_errors=(redis.RedisError,))
        self._check()
        done = await retry.call_with_retry(action, self._note)
        self._is_waiting = False
        return done

    async def _note(self, error: Exception) -> None:
        self._check()
        if not is_outage(error):
            raise ServerUnusable(f"the server refuses what {self._name} needs: {error}") from None
        self.note_outage(error)

    def note_outage(self, error: Exception) -> None:
        """Tell that there is one; once, until something is done again."""
        if not self._is_waiting:
            log.info("%s: waiting for the server: %s", self._name, str(error) or repr(error))
        self._is_waiting = True


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
