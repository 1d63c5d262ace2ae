"""A congestion policy that keeps few packets in the queue. Standard library only.

A queue shows in the round trip time before it shows in losses. So a flow keeps some packets of its
own in the queue, whatever its share of the link is: the rule of Vegas (L. Brakmo, L. Peterson, TCP
Vegas: End to End Congestion Avoidance on a Global Internet, IEEE JSAC 13(8), 1995) in the form of
FAST (D. Wei, C. Jin, S. Low, S. Hegde, FAST TCP: Motivation, Architecture, Algorithms, Performance,
IEEE/ACM ToN 14(6), 2006). Flows that keep equally many have equal shares. Two things are of others:
where to look for room ever faster, Copa (V. Arun, H. Balakrishnan, Copa: Practical Delay-Based
Congestion Control for the Internet, NSDI 2018), and what the change of the round trip time tells of
the next one, TIMELY (R. Mittal et al., TIMELY: RTT-based Congestion Control for the Datacenter,
SIGCOMM 2015). The default values are those of FAST, which has neither.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPECIALIZATION = "networking"

PARAMETERS: Mapping[str, float] = {
    "queued_packets": 3.0,
    "gain": 0.5,
    "startup_growth": 2.0,
    "free_queue": 0.125,
    "base_memory_ms": 10_000.0,
    "loss_tolerance": 0.02,
    "acceleration": 1.0,
    "trend": 0.0,
}

FEWEST_PACKETS, MOST_PACKETS = 1.0, 10_000.0
DECREASE = 0.5


class Policy:
    """Decides how many packets one flow may have under way.

    queued_packets   packets of its own that it wants in the queue
    gain             share of the way to the window that would have these, in each round trip
    startup_growth   factor by which the window grows in each round trip of the start, which ends
                     when the queue is no longer free
    free_queue       the queue is free while a packet waits for less than this share of the least
                     round trip time
    base_memory_ms   the least round trip time is that of so much time: a route may change
    loss_tolerance   share of packets that may be lost by chance, and says nothing of a queue
    acceleration     factor by which it wants more in the queue after each round trip that found it
                     free, until one does not
    trend            share of the last change of the round trip time that is expected of the next

    When more is lost, DECREASE of the window stays.
    """

    def __init__(self, parameters: Mapping[str, float] = PARAMETERS) -> None:
        self.queued_packets = parameters["queued_packets"]
        self.gain = parameters["gain"]
        self.startup_growth = parameters["startup_growth"]
        self.free_queue = parameters["free_queue"]
        self.base_memory_ms = parameters["base_memory_ms"]
        self.loss_tolerance = parameters["loss_tolerance"]
        self.acceleration = parameters["acceleration"]
        self.trend = parameters["trend"]
        self.packets = 2.0
        self.wanted_packets = self.queued_packets
        self.now_ms = 0.0
        self.last_ms = 0.0
        self.least_ms: deque[tuple[float, float]] = deque()
        self.is_starting = True
        self.has_shrunk = False

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None:
        """A round trip is over: the packets of the one before it were acknowledged, or lost."""
        self.now_ms += rtt_ms
        base_ms = self._base_ms(rtt_ms)
        expected_ms = max(base_ms, rtt_ms + self.trend * (rtt_ms - (self.last_ms or rtt_ms)))
        self.last_ms = rtt_ms
        is_full = lost_packets > self.loss_tolerance * (acked_packets + lost_packets)
        is_free = not is_full and rtt_ms < base_ms * (1 + self.free_queue)
        self.is_starting = self.is_starting and is_free
        self.wanted_packets *= self.acceleration
        if not is_free:
            self.wanted_packets = self.queued_packets
        # what was under way when the window shrank tells nothing of what is left of it
        self.has_shrunk = is_full and not self.has_shrunk
        if self.has_shrunk:
            self.packets *= DECREASE
        elif self.is_starting:
            self.packets *= self.startup_growth
        else:
            goal = self.packets * base_ms / expected_ms + self.wanted_packets
            self.packets += self.gain * (goal - self.packets)
        self.packets = min(MOST_PACKETS, max(FEWEST_PACKETS, self.packets))

    def window(self) -> float:
        """How many packets may be under way."""
        return self.packets

    def _base_ms(self, rtt_ms: float) -> float:
        """The least round trip time that is remembered. Kept are those after which none is less."""
        least_ms = self.least_ms
        while least_ms and least_ms[-1][1] >= rtt_ms:
            least_ms.pop()
        least_ms.append((self.now_ms, rtt_ms))
        while least_ms[0][0] < self.now_ms - self.base_memory_ms:
            least_ms.popleft()
        return least_ms[0][1]
