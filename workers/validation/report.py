"""What a validation finds out on its way to the verdict."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from coordinator.errors import CoordError
from coordinator.messages import one_line
from coordinator.payloads import Verdict, VerdictWord
from workers.sandbox import Limits

OnStep = Callable[[str], None]


class NotValidated(CoordError):
    """A component cannot be judged: the reason, and the cure."""

    code = "not_validated"


class Report:
    """The fields of the verdict that are known so far, and times in milliseconds by name.

    ``on_step`` is told what is done next.
    """

    def __init__(self, limits: Limits, on_step: OnStep) -> None:
        self.limits = limits
        self.on_step = on_step
        self.fields: dict[str, Any] = {"limits": asdict(limits)}
        self.times_ms: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add what is spent inside to the time of that name, however it ends."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.times_ms[name] += (time.perf_counter() - began_s) * 1000

    def forget(self, times: Iterable[str]) -> None:
        """Leave the times of these names out of the verdict."""
        for name in times:
            self.times_ms.pop(name, None)

    def verdict(self, word: VerdictWord, reason: str) -> Verdict:
        """All of it; the times to a tenth of a millisecond."""
        timings = {name: round(ms, 1) for name, ms in self.times_ms.items()}
        return Verdict(verdict=word, reason=one_line(reason), timings=timings, **self.fields)
