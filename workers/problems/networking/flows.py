"""Flows of packets, each with a congestion policy that says how much it may have under way.

A flow goes in round trips. In each it sends its window, evenly: the window divided by the round
trip time of the first packet is its rate, and the round trip is over when that packet's
acknowledgment is back. What it sent in one round trip is acknowledged during the next, and only at
the end of that the policy is told of it. So a window that stays the same is just what is under way,
and leaves window - (capacity * base round trip time) in the queue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.problems.networking.bottleneck import Bottleneck, Link, Sender
from workers.problems.policies import Interface, bad_answer, is_finite_number, telling

MOST_PACKETS = 10_000
"""No window may be larger."""

INTERFACE = Interface(arguments=(), tells=("round_trip",), asks={"window": float})
"""See `CongestionPolicy`."""


class CongestionPolicy(Protocol):
    """What decides how many packets one flow may have under way."""

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None:
        """A round trip is over that took `rtt_ms`: of what was sent in the one before it, so many
        packets were acknowledged meanwhile, and so many are missing."""

    def window(self) -> float:
        """A round trip begins: how many packets may be under way, 1..MOST_PACKETS?"""


class Reno:
    """AIMD(1, 1/2): one packet more in each round trip, half when one is lost; before the first
    loss twice as many in each.

    V. Jacobson, Congestion Avoidance and Control, SIGCOMM 1988; that flows become equal by it: D.
    Chiu, R. Jain, Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
    Computer Networks, Computer Networks and ISDN Systems 17(1), 1989.
    """

    def __init__(self) -> None:
        self.packets = 1.0
        self.has_lost = False
        self.has_halved = False

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None:
        if not lost_packets:
            self.packets += 1.0 if self.has_lost else self.packets
        elif not self.has_halved:
            self.packets = max(1.0, self.packets / 2)
            self.has_lost = True
        # what was under way when the window was halved tells nothing of the half
        self.has_halved = bool(lost_packets) and not self.has_halved
        self.packets = min(self.packets, MOST_PACKETS)

    def window(self) -> float:
        return self.packets


@dataclass(frozen=True)
class Path:
    """What a flow finds: when it begins, its round trip time without a queue, and which packets it
    loses by chance.

    `loss_gaps` are the packets that it sends from one such loss to the next, again from the
    beginning after the last; none if it has no such losses. They depend on nothing that a policy
    does: the n-th packet is lost or not, whenever it is sent.
    """

    start_ms: float
    base_rtt_ms: float
    loss_gaps: tuple[float, ...]


class Flow(Sender):
    """One flow under a policy. It counts what was acknowledged, and how long that took:
    `delivered_packets`, and `waited_ms`, the sum of their round trip times."""

    def __init__(self, policy: CongestionPolicy, path: Path) -> None:
        self.ask_window = policy.window
        self.tell_round_trip = telling(policy, "round_trip")
        self.path = path
        self.delivered_packets = 0.0
        self.waited_ms = 0.0
        self.window_packets = 0.0
        self.rtt_ms = 0.0
        self.under_way = (0.0, 0.0, 0.0)
        self.sent_packets = 0.0
        self.dropping_ms = 0.0
        self.losses = 0
        self.next_loss = path.loss_gaps[0] if path.loss_gaps else math.inf

    def wake(self, bottleneck: Bottleneck) -> float:
        """A round trip is over, unless this is the first, and another begins."""
        if self.rtt_ms:
            self._acknowledge(bottleneck.dropping_ms)
        self.dropping_ms = bottleneck.dropping_ms
        self.window_packets = self._window()
        self.rtt_ms = self.path.base_rtt_ms + bottleneck.delay_ms()
        self.packets_per_ms = self.window_packets / self.rtt_ms
        return bottleneck.now_ms + self.rtt_ms

    def _window(self) -> float:
        answer = self.ask_window()
        packets = float(answer) if is_finite_number(answer) else answer
        if type(packets) is not float or not 1 <= packets <= MOST_PACKETS:
            raise bad_answer("window", packets, float, f"a number of packets, 1..{MOST_PACKETS}")
        return packets

    def _acknowledge(self, dropping_ms: float) -> None:
        """The acknowledgments of the round trip before are in, and what was sent in this one is
        under way."""
        acked, lost, before_ms = self.under_way
        self.delivered_packets += acked
        # the first of them took as long as that round trip, the last as this one
        self.waited_ms += acked * (before_ms + self.rtt_ms) / 2
        self.tell_round_trip(acked, lost, self.rtt_ms)
        sent = self.window_packets
        dropped = self.packets_per_ms * (dropping_ms - self.dropping_ms) + self._lost_by_chance()
        missing = min(sent, dropped)
        self.under_way = (sent - missing, missing, self.rtt_ms)

    def _lost_by_chance(self) -> int:
        """How many packets of the last window are lost, whatever is in the buffer."""
        self.sent_packets += self.window_packets
        before = self.losses
        gaps = self.path.loss_gaps
        while self.next_loss <= self.sent_packets:
            self.losses += 1
            self.next_loss += gaps[self.losses % len(gaps)]
        return self.losses - before


def fair_shares(link: Link, starts_ms: Sequence[float], until_ms: float) -> list[float]:
    """The packets of each flow that have the largest product, if flows begin in this order: its
    fair share of all that the link can carry until then.

    Proportional fairness (F. Kelly, A. Maulloo, D. Tan, Rate Control for Communication Networks:
    Shadow Prices, Proportional Fairness and Stability, JORS 49(3), 1998). Flow i and those after
    it have what is carried from its start; those for whom that is least a flow share it equally,
    and those before them share the rest by the same rule. Flows that begin together have equal
    shares.
    """
    whole = link.carries_packets(until_ms)
    return _equal_shares([whole - link.carries_packets(at_ms) for at_ms in starts_ms])


def _equal_shares(available: Sequence[float]) -> list[float]:
    """The shares of flows, of which each and all after it have so much together."""
    if not available:
        return []
    flows = len(available)
    least = min(range(flows), key=lambda flow: available[flow] / (flows - flow))
    before = _equal_shares([packets - available[least] for packets in available[:least]])
    return [*before, *[available[least] / (flows - least)] * (flows - least)]


def power(flow: Flow, fair_packets: float) -> float:
    """Throughput / delay of a flow, in units of those of its fair share without a queue.

    L. Kleinrock, Power and Deterministic Rules of Thumb for Probabilistic Problems in Computer
    Communications, ICC 1979.
    """
    if not flow.delivered_packets:
        return 0.0
    mean_rtt_ms = flow.waited_ms / flow.delivered_packets
    return flow.delivered_packets / fair_packets * (flow.path.base_rtt_ms / mean_rtt_ms)


def geometric_mean(values: Sequence[float]) -> float:
    """Of 1, 2, 4, 8, ... values: by square roots, which every machine rounds alike."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return math.sqrt(geometric_mean(values[:half]) * geometric_mean(values[half:]))
