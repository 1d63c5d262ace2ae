"""Signals that ask for the end: noted, and acted on where no process can be lost."""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Any, Self


class Interrupted(Exception):
    """A signal came: everything is to end."""


class Signals:
    """While in its context, notes SIGINT, SIGTERM and SIGHUP. What is under way then ends where it
    asks, at places where no process can be lost."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self._count:
            raise Interrupted

    @property
    def hurry(self) -> bool:
        """Whether a second signal came: the end is to be a hard one."""
        return self._count > 1

    def _note(self, *_: object) -> None:
        self._count += 1
