"""How a fleet is at a moment: little enough to be read every second, whoever looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import redis

from coordinator.clock import Clock
from coordinator.keys import Keys
from coordinator.lease import holder_name
from coordinator.messages import one_line
from coordinator.reads import Item
from coordinator.stored import replies_of, text_of, whole_number
from reports import formats
from web.live.told import NAME_MAX

TYPES_MAX = 64
"""So many message types are told apart; strangers may have stored any number."""
PULSES_KEPT = 600


class Trouble(NamedTuple):
    """Something that needs attention, and the command that helps, if one does."""

    text: str
    command: str = ""


def no_coordinator(since: str = "") -> Trouble:
    return Trouble(f"No coordinator is active{since}, and messages wait.", "coord serve")


class Pulse(NamedTuple):
    """``coordinator`` is the active one, "" if none is, which it is since ``since_ms``. ``outage``
    says why the server does not answer, "" if it does. By type, the most frequent first, ``totals``
    are the messages there were, and ``rates`` messages a second."""

    ms: int
    outage: str
    coordinator: str
    since_ms: int
    ais: int
    totals: dict[str, int]
    rates: dict[str, float]

    @property
    def trouble(self) -> Trouble | None:
        since = f" since {formats.clock(self.since_ms)} UTC"
        if self.outage:
            return Trouble(f"The Redis server does not answer{since}: {self.outage}")
        return None if self.coordinator else no_coordinator(since)

    def as_json(self) -> Item:
        trouble = self.trouble
        return self._asdict() | {"trouble": trouble and trouble._asdict()}


def rates_over_time(pulses: Sequence[Pulse]) -> Item:
    """``ms``, and by type the rate at each of these moments; null where the server did not
    answer."""
    types = sorted({name for pulse in pulses for name in pulse.rates})
    rates = {
        name: [None if pulse.outage else pulse.rates.get(name, 0) for pulse in pulses]
        for name in types
    }
    return {"ms": [pulse.ms for pulse in pulses], "rates": rates}


class Pulses:
    """Takes one after the other, each with the rates since the one before; keeps PULSES_KEPT."""

    def __init__(self, connection: redis.Redis, keys: Keys, clock: Clock) -> None:
        self._redis = connection
        self._keys = keys
        self._clock = clock
        self._totals: dict[str, int] | None = None
        self._totals_s = 0.0
        self._newest = Pulse(clock.now_ms(), "nothing was read yet", "", clock.now_ms(), 0, {}, {})
        self._recent: tuple[Pulse, ...] = ()

    @property
    def newest(self) -> Pulse:
        return self._newest

    @property
    def recent(self) -> Sequence[Pulse]:
        """Those that were taken, the oldest first."""
        return self._recent

    def take(self) -> Pulse:
        """Raises redis.RedisError."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(self._keys.leader)
            pipe.zcard(self._keys.leases)
            pipe.hgetall(self._keys.totals)
            token, ais, stored = replies_of(pipe)
        counted = [(whole_number(count), text_of(name)) for name, count in (stored or {}).items()]
        counted.sort(key=lambda one: (-one[0], one[1]))
        totals = {one_line(name, NAME_MAX): count for count, name in counted[:TYPES_MAX]}
        coordinator = one_line(holder_name(token), NAME_MAX) if token else ""
        return self._tell("", coordinator, ais or 0, totals, self._rates_of(totals))

    def miss(self, why: str) -> Pulse:
        """The server did not answer."""
        self._totals = None
        return self._tell(formats.text(why), "", 0, {}, {})

    def _rates_of(self, totals: dict[str, int]) -> dict[str, float]:
        now_s, before = self._clock.elapsed_s(), self._totals
        seconds = now_s - self._totals_s
        self._totals, self._totals_s = totals, now_s
        if before is None or seconds <= 0:
            return {}
        gained = {name: count - before.get(name, 0) for name, count in totals.items()}
        return {name: round(more / seconds, 2) for name, more in gained.items() if more > 0}

    def _tell(
        self,
        outage: str,
        coordinator: str,
        ais: int,
        totals: dict[str, int],
        rates: dict[str, float],
    ) -> Pulse:
        now_ms, last = self._clock.now_ms(), self._newest
        is_as_before = (outage != "") == (last.outage != "") and coordinator == last.coordinator
        since_ms = last.since_ms if is_as_before else now_ms
        self._newest = Pulse(now_ms, outage, coordinator, since_ms, ais, totals, rates)
        self._recent = (*self._recent, self._newest)[-PULSES_KEPT:]
        return self._newest
