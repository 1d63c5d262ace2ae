"""How fast a client sends to a gateway."""

from __future__ import annotations

import asyncio
from typing import Any

from coordinator.clock import Clock


class Pace:
    """Keeps a client within what its gateway takes, over all its connections: of what is sent too
    fast some is refused, and what is sent again comes out of its order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._per_s = 0.0
        self._burst = 0.0
        self._free = 0.0
        self._counted_s = clock.elapsed_s()

    def keep(self, accepted: dict[str, Any]) -> None:
        """To what a gateway says: half of the burst is left to delays on the way."""
        self._per_s = float(accepted.get("messages_per_s", 0))
        burst = max(1.0, accepted.get("burst", 0) / 2)
        if not self._burst:
            self._free = burst
        self._burst = burst

    async def turn(self) -> None:
        """Wait until another message may be sent."""
        if not self._per_s:
            return
        now_s = self._clock.elapsed_s()
        more = (now_s - self._counted_s) * self._per_s
        self._free = min(self._burst, self._free + more) - 1
        self._counted_s = now_s
        if self._free < 0:
            await asyncio.sleep(-self._free / self._per_s)
