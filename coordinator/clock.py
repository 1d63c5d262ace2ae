"""Time and ids, handed in wherever they are needed so that tests can hold them still."""

from __future__ import annotations

import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import Protocol

LAST_MS = 253_402_300_799_999
"""The end of the year 9999, which is the last that ``iso`` can say."""


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall-clock milliseconds since 1970, for what is stored and shown."""

    def elapsed_s(self) -> float:
        """Seconds on a clock that never steps, for leases and pauses."""


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        return time.monotonic()


class Ids(Protocol):
    def new(self) -> str:
        """A fresh id, unique in the world, that nobody can guess: 32 hex digits."""


class RandomIds:
    def new(self) -> str:
        return secrets.token_hex(16)


_RANDOM_IDS = RandomIds()


def instance_id(ids: Ids = _RANDOM_IDS) -> str:
    """An id for one start of one process that says where it runs: ``host.pid.8 hex digits``."""
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())[:32]
    return f"{host or 'host'}.{os.getpid()}.{ids.new()[:8]}"


def iso(ms: int) -> str:
    """``ms`` since 1970, LAST_MS at most, as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(min(ms, LAST_MS) / 1000, UTC).isoformat(timespec="milliseconds")


def ms_of(timestamp: str) -> int | None:
    """The inverse of ``iso``; None for what is no moment that it could say."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    ms = round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    return ms if 0 <= ms <= LAST_MS else None
