"""Waiting for what other processes do, by looking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.01


def comes_true(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether ``condition`` comes true within ``limit_s`` seconds."""
    return settles(lambda: condition() or None, limit_s) is True


def settles(condition: Callable[[], bool | None], limit_s: float) -> bool | None:
    """What ``condition`` says once that is not None, or None when ``limit_s`` seconds are over."""
    deadline = time.monotonic() + limit_s
    while (answer := condition()) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return answer
