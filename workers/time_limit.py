"""The limit on a job's time, which no code that runs in it can put off."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class TookTooLong(BaseException):
    """A job's limit is over. Nothing that catches every Exception holds it up."""


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """TookTooLong after so long. The alarm that was set before (RQ's own) goes off as it would."""

    def end(*_: object) -> None:
        raise TookTooLong

    handler = signal.signal(signal.SIGALRM, end)
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        spent_s = limit_s - signal.setitimer(signal.ITIMER_REAL, 0)[0]
        signal.signal(signal.SIGALRM, handler)
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s - spent_s, 0.001))
