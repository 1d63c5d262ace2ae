"""Links whose capacity changes, by models instead of recordings.

Each model gives the capacity until some time: when each step begins, and its packets per ms. A
packet has 1,500 bytes, so 1 packet per ms is 12 Mbit/s. What no source gives is a round number, and
none was chosen by how any policy scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import MappingProxyType

from workers.problems.draws import Draws

LEAST, MOST = 0.2, 1.0
TICK_MS = 100.0
CELL_SIGMA, CELL_MOST, CELL_ESCAPE = 200.0, 1_000.0, 1.0
OTHERS, OTHERS_SHARE, ON_MS, OFF_MS = 8, 0.8, 1_000.0, 2_000.0
GOOD_MS, BAD_MS, BAD_SHARE = 4_000.0, 1_000.0, 0.2

Step = tuple[float, float]
"""For how long, in ms, and how many packets per ms meanwhile."""


def wired(draws: Draws) -> Iterator[Step]:
    """A capacity that stays: only the flows themselves come and make room."""
    yield math.inf, _any_rate(draws)


def shared(draws: Draws) -> Iterator[Step]:
    """What others leave, of whom each sends for a while and then is silent for a while, both
    exponentially distributed.

    D. Anick, D. Mitra, M. M. Sondhi, Stochastic Theory of a Data-Handling System with Multiple
    Sources, Bell System Technical Journal 61(8), 1982. If all OTHERS send at once they have
    OTHERS_SHARE of the link.
    """
    rate = _any_rate(draws)
    sending = sum(draws.happens(ON_MS / (ON_MS + OFF_MS)) for _ in range(OTHERS))
    while True:
        begin, end = (OTHERS - sending) / OFF_MS, sending / ON_MS
        yield draws.exponential() / (begin + end), rate * (1 - OTHERS_SHARE * sending / OTHERS)
        sending += 1 if draws.happens(begin / (begin + end)) else -1


def cellular(draws: Draws) -> Iterator[Step]:
    """A cellular link, whose capacity moves as Brownian motion does, and stays at zero for a while
    when it comes there.

    The model by which Sprout forecasts: K. Winstein, A. Sivaraman, H. Balakrishnan, Stochastic
    Forecasts Achieve High Throughput and Low Delay over Cellular Networks, NSDI 2013, with its
    CELL_SIGMA, packets per s and square root of s, its CELL_ESCAPE, by which an outage ends, per s,
    and its CELL_MOST packets per s.
    """
    move = CELL_SIGMA * math.sqrt(TICK_MS / 1_000)
    per_s = CELL_MOST * _any_rate(draws)
    while True:
        yield TICK_MS, per_s / 1_000
        if per_s:
            per_s = min(CELL_MOST, max(0.0, per_s + move * draws.normal()))
        elif draws.happens(CELL_ESCAPE * TICK_MS / 1_000):
            per_s = move * abs(draws.normal())


def wireless(draws: Draws) -> Iterator[Step]:
    """A wireless link that is either good or bad, for times that are exponentially distributed.

    E. N. Gilbert, Capacity of a Burst-Noise Channel, Bell System Technical Journal 39(5), 1960.
    When it is bad it has BAD_SHARE of its capacity.
    """
    rate = _any_rate(draws)
    while True:
        yield draws.exponential() * GOOD_MS, rate
        yield draws.exponential() * BAD_MS, rate * BAD_SHARE


def _any_rate(draws: Draws) -> float:
    """Packets per ms."""
    return LEAST + draws.uniform() * (MOST - LEAST)


MODELS: MappingProxyType[str, Callable[[Draws], Iterator[Step]]] = MappingProxyType(
    {"wired": wired, "shared": shared, "cellular": cellular, "wireless": wireless}
)
"""Each goes on until who asks has enough."""
MOST_LOSS: MappingProxyType[str, float] = MappingProxyType(
    {"wired": 0.0, "shared": 0.001, "cellular": 0.002, "wireless": 0.01}
)
"""The largest share of packets that is lost by chance."""


def capacity(
    model: str, until_ms: float, draws: Draws
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The steps of a model's capacity: when each begins, and its packets per ms. From `until_ms`
    on it is LEAST."""
    begins_ms, rates = [0.0], []
    for length_ms, rate in MODELS[model](draws):
        rates.append(rate)
        begins_ms.append(begins_ms[-1] + length_ms)
        if begins_ms[-1] >= until_ms:
            break
    return (*begins_ms[:-1], until_ms), (*rates, LEAST)
