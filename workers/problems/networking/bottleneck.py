"""A link that senders share: what waits for it, for how long, and what finds no room.

What is sent flows evenly between events, as a fluid: V. Misra, W.-B. Gong, D. Towsley, Fluid-based
Analysis of a Network of AQM Routers Supporting TCP Flows with an Application to RED, SIGCOMM 2000.
Packets are therefore no whole numbers. The simulation goes from event to event; between two all
rates are constant, and what it says of queue and drops is exact. Times are milliseconds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heapreplace
from itertools import accumulate, pairwise


@dataclass(frozen=True)
class Link:
    """A capacity that changes in steps, and a buffer in front of it.

    Step i has `packets_per_ms[i]`, and begins at `begins_ms[i]`: the first at 0, and each after the
    one before. The last has no end, and a capacity above 0. Others may have none: an outage.
    """

    begins_ms: tuple[float, ...]
    packets_per_ms: tuple[float, ...]
    buffer_packets: float

    @cached_property
    def carried_packets(self) -> list[float]:
        """The most that it can carry until each step begins."""
        lengths_ms = (end - begin for begin, end in pairwise(self.begins_ms))
        parts = (ms * rate for ms, rate in zip(lengths_ms, self.packets_per_ms, strict=False))
        return list(accumulate(parts, initial=0.0))

    def carries_packets(self, until_ms: float) -> float:
        """The most that it can carry from the beginning until then."""
        step = bisect_right(self.begins_ms, until_ms) - 1
        since_ms = until_ms - self.begins_ms[step]
        return self.carried_packets[step] + since_ms * self.packets_per_ms[step]

    def carried_ms(self, packets: float) -> float:
        """When it can have carried so many, and carry more at once."""
        step = bisect_right(self.carried_packets, packets) - 1
        rest = packets - self.carried_packets[step]
        return self.begins_ms[step] + rest / self.packets_per_ms[step]


class Bottleneck:
    """A link while it is used: first in, first out, and what finds the buffer full is dropped.

    now_ms           how far it has come
    inflow           what comes now, packets per ms
    queue_packets    what waits
    dropping_ms      the integral over time of the share of what comes that is dropped. Who sends
                     at a constant rate loses rate * (increase of dropping_ms)
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.now_ms = 0.0
        self.inflow = 0.0
        self.queue_packets = 0.0
        self.dropping_ms = 0.0
        self._step = 0

    def delay_ms(self) -> float:
        """How long what comes now waits: until the link has carried all that came before. Exact,
        since whatever comes later waits behind it."""
        link, step = self.link, self._step
        since_ms = self.now_ms - link.begins_ms[step]
        carried = link.carried_packets[step] + since_ms * link.packets_per_ms[step]
        return max(0.0, link.carried_ms(carried + self.queue_packets) - self.now_ms)

    def advance(self, until_ms: float) -> None:
        """Let time pass, while all that come do so at the same rate."""
        begins_ms = self.link.begins_ms
        while self._step + 1 < len(begins_ms) and begins_ms[self._step + 1] <= until_ms:
            self._pass(begins_ms[self._step + 1] - self.now_ms)
            self._step += 1
            self.now_ms = begins_ms[self._step]
        self._pass(until_ms - self.now_ms)
        self.now_ms = until_ms

    def _pass(self, ms: float) -> None:
        """So much time at one capacity."""
        growth = self.inflow - self.link.packets_per_ms[self._step]
        queue = self.queue_packets + growth * ms
        excess = queue - self.link.buffer_packets
        if excess > 0:
            self.dropping_ms += excess / self.inflow
            queue -= excess
        self.queue_packets = max(0.0, queue)


class Sender(ABC):
    """Who uses a bottleneck: it sends at a constant rate from one event of its own to the next.

    `packets_per_ms` is its rate. `work` is what the link has to do for one of its packets, in
    packets; it counts when the packet comes, and both are looked at after every event.
    """

    packets_per_ms = 0.0
    work = 1.0

    @abstractmethod
    def wake(self, bottleneck: Bottleneck) -> float:
        """Its time has come: what has become of what it sent, what does it send from now on?

        Returns when it wants to be woken again, in ms, which is later than now.
        """


def run(
    bottleneck: Bottleneck, senders: Sequence[Sender], starts_ms: Sequence[float], until_ms: float
) -> None:
    """Let senders use a bottleneck, each from its start, until a time; none is woken then or later.

    Of those whose time comes together the one that is named first is woken first.
    """
    coming = [(at_ms, place) for place, at_ms in enumerate(starts_ms)]
    heapify(coming)
    while coming[0][0] < until_ms:
        at_ms, place = coming[0]
        bottleneck.advance(at_ms)
        next_ms = senders[place].wake(bottleneck)
        bottleneck.inflow = math.fsum([one.packets_per_ms * one.work for one in senders])
        heapreplace(coming, (next_ms, place))
    bottleneck.advance(until_ms)
