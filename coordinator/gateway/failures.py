"""Failed logins: how long an address must wait, and what is told of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from coordinator.clock import Clock

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 2.0
MAX_FAILURES = 10
FORGOTTEN_S = 60.0
MAX_ADDRESSES = 10_000
MAX_TOLD = 20


@dataclass
class _Record:
    count: int = 0
    last_s: float = 0.0
    untold: int = 0
    ai_id: str = ""
    reason: str = ""


class Failures:
    """Of each address that failed within the last FORGOTTEN_S; of too many the oldest go."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def note(self, address: str, ai_id: str, reason: str) -> float:
        """A login failed; for how many seconds its answer is held back."""
        record = self._record(address) or _Record()
        record.count += 1
        record.untold += 1
        record.last_s = self._clock.elapsed_s()
        record.ai_id, record.reason = ai_id, reason
        self._records[address] = record
        self._records.move_to_end(address)
        if len(self._records) > MAX_ADDRESSES:
            self._records.popitem(last=False)
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(record.count - 1, 10)))

    def is_blocked(self, address: str) -> bool:
        """Whether it failed so often that nobody gets in from there by a token to be guessed."""
        record = self._record(address)
        return record is not None and record.count >= MAX_FAILURES

    def take_untold(self) -> list[dict[str, Any]]:
        """What is new since the last call, summed up: payloads of ``login_refused``, of MAX_TOLD
        addresses at a time."""
        told: list[dict[str, Any]] = []
        for address, record in self._records.items():
            if record.untold and len(told) < MAX_TOLD:
                told.append(
                    {
                        "ai_id": record.ai_id,
                        "address": address,
                        "reason": record.reason,
                        "count": record.untold,
                    }
                )
                record.untold = 0
        return told

    def _record(self, address: str) -> _Record | None:
        record = self._records.get(address)
        if record and self._clock.elapsed_s() - record.last_s > FORGOTTEN_S and not record.untold:
            del self._records[address]
            return None
        return record
