"""Lines of the log that anybody who can connect may cause: a few, with how many there were."""

from __future__ import annotations

import logging

from coordinator.clock import Clock

EVERY_S = 10.0


class Seldom(logging.Filter):
    """Lets a text through once in EVERY_S, with how many were left out since the last time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text, now_s = str(record.msg), self._clock.elapsed_s()
        if text in self._last_s and now_s - self._last_s[text] < EVERY_S:
            self._left_out[text] = self._left_out.get(text, 0) + 1
            return False
        self._last_s[text] = now_s
        if left_out := self._left_out.pop(text, 0):
            record.msg = f"{text} ({left_out} more like it before)"
        return True
