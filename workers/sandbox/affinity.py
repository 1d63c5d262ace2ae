"""Supervisor and component take turns: on one processor a turn costs a tenth of what it costs
to wake another processor up."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

PROCESSOR_FIELD = 36
"""Of /proc/thread-self/stat, counted from behind the name."""


class _Pinned(threading.local):
    depth = 0
    before: set[int] = set()  # noqa: RUF012  (never changed in place)


_pinned = _Pinned()


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """Keep this thread, and what it starts, on the processor on which it runs now.

    Contexts may overlap in any order: the last that ends gives back what was before the first.
    """
    if _pinned.depth == 0:
        _pinned.before = os.sched_getaffinity(0)
        stat = Path("/proc/thread-self/stat").read_text()
        os.sched_setaffinity(0, {int(stat.rpartition(")")[2].split()[PROCESSOR_FIELD])})
    _pinned.depth += 1
    try:
        yield
    finally:
        _pinned.depth -= 1
        if _pinned.depth == 0:
            os.sched_setaffinity(0, _pinned.before)
