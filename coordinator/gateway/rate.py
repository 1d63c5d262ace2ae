"""How much one AI may send."""

from __future__ import annotations

from collections import OrderedDict

from coordinator.clock import Clock


class Bucket:
    """Holds up to ``burst`` tokens, and gets ``per_s`` new ones a second."""

    def __init__(self, per_s: float, burst: int, clock: Clock) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_s = clock.elapsed_s()

    def take(self) -> bool:
        """Whether there was a token to take."""
        now_s = self._clock.elapsed_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """One for each AI, which outlives its connection: coming back does not fill it."""

    MAX = 10_000

    def __init__(self, per_s: float, burst: int, clock: Clock) -> None:
        self.per_s = per_s
        self.burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, ai: str) -> Bucket:
        bucket = self._buckets.get(ai) or Bucket(self.per_s, self.burst, self._clock)
        self._buckets[ai] = bucket
        self._buckets.move_to_end(ai)
        if len(self._buckets) > self.MAX:
            self._buckets.popitem(last=False)
        return bucket
