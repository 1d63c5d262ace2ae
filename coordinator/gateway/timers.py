"""Named timers of one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timers:
    """One that is started again begins anew."""

    def __init__(self) -> None:
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def is_running(self, name: str) -> bool:
        return name in self._handles

    def start(self, name: str, delay_s: float, action: Callable[[], None]) -> None:
        def act() -> None:
            del self._handles[name]
            action()

        self.cancel(name)
        self._handles[name] = asyncio.get_running_loop().call_later(delay_s, act)

    def cancel(self, *names: str) -> None:
        for name in names:
            handle = self._handles.pop(name, None)
            if handle is not None:
                handle.cancel()

    def cancel_all(self) -> None:
        self.cancel(*self._handles)
