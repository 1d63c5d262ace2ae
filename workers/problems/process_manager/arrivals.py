"""Processes as they come to a computer, by models instead of recordings.

What no source gives is a round number, and none was chosen by how any policy scores.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate, pairwise
from types import MappingProxyType

from workers.problems.draws import Draws

SHORTEST_US, LONGEST_US = 1_000, 10_000_000
SPAN_US = 1_000_000_000
BURSTS = 20
BURSTS_TIME, BURSTS_PROCESSES = 0.1, 0.5


def cpu_times_us(count: int, draws: Draws) -> tuple[int, ...]:
    """How much CPU time processes need: of those that need more than x about half need 2x.

    Measured for Unix processes of more than a second (M. Harchol-Balter, A. B. Downey, Exploiting
    Process Lifetime Distributions for Dynamic Load Balancing, ACM TOCS 15(3), 1997), and taken here
    from SHORTEST_US, about what it takes to start a program at all, to LONGEST_US.
    """
    return tuple(map(int, draws.heavy_tailed(count, SHORTEST_US, LONGEST_US)))


def steady(count: int, draws: Draws) -> list[int]:
    """Microseconds at which processes arrive, within SPAN_US, as in a Poisson process: each at any
    time, whenever the others do."""
    return sorted(int(draws.uniform() * SPAN_US) for _ in range(count))


def bursty(count: int, draws: Draws) -> list[int]:
    """The same for a Poisson process that changes between two rates at random.

    W. Fischer, K. Meier-Hellstern, The Markov-modulated Poisson Process (MMPP) Cookbook,
    Performance Evaluation 18(2), 1993. One rate is nine times the other: bursts have half of the
    processes in a tenth of the time, as where one command starts many.
    """
    lengths = zip(_cut(BURSTS, draws), _cut(BURSTS, draws), strict=True)
    shares, times = [], []
    for calm, burst in lengths:
        shares += [calm * (1 - BURSTS_PROCESSES), burst * BURSTS_PROCESSES]
        times += [calm * (1 - BURSTS_TIME), burst * BURSTS_TIME]
    share_at, time_at = ([0.0, *accumulate(parts)] for parts in (shares, times))
    arrivals_us = []
    for _ in range(count):
        point = draws.uniform() * share_at[-1]
        part = min(bisect(share_at, point), len(shares)) - 1
        within = (point - share_at[part]) / shares[part]
        arrivals_us.append(int((time_at[part] + within * times[part]) * SPAN_US))
    return sorted(arrivals_us)


def _cut(count: int, draws: Draws) -> list[float]:
    """The whole, cut into so many parts anywhere."""
    cuts = sorted(draws.uniform() for _ in range(count - 1))
    return [end - begin for begin, end in pairwise((0.0, *cuts, 1.0))]


MODELS: MappingProxyType[str, Callable[[int, Draws], list[int]]] = MappingProxyType(
    {"steady": steady, "bursty": bursty}
)
"""When so many processes arrive: microseconds, in order."""
