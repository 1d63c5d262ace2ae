"""What is costly to read, and asked for by many."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from coordinator.clock import Clock

T = TypeVar("T")

FRESH_S = 1.0


class Cached(Generic[T]):
    """What ``read`` gave within the last second; one thread at a time reads it, others wait."""

    def __init__(self, read: Callable[[], T], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = Lock()
        self._last: tuple[float, T] | None = None

    def get(self) -> T:
        """Raises what ``read`` raises, which is not kept."""
        with self._lock:
            if self._last is None or self._clock.elapsed_s() - self._last[0] >= FRESH_S:
                self._last = None
                value = self._read()
                self._last = self._clock.elapsed_s(), value
            return self._last[1]
