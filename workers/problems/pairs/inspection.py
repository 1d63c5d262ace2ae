"""Flows whose packets a firewall inspects, and which share the CPU that it has for that.

Every packet takes CPU time: PACKET_TESTS for itself, and one more for each rule that is tested, in
units of TEST_MS. What passes besides the flows, and new orders of the rules, come first, and leave
a part of each interval to the flows. These queue for it, first in, first out, up to BUFFER_MS of
work; how much work a packet is, is decided when it comes. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from workers.problems.networking.bottleneck import Bottleneck, Link, Sender, run
from workers.problems.networking.flows import Flow, Path, fair_shares, geometric_mean, power
from workers.problems.policies import Maker
from workers.problems.security.rule_orders import best_order
from workers.problems.security.rules import Firewall, OrderPolicy, Table

TEST_MS = 0.1
"""Far more than a test takes, so that the windows of flows are about what they are on the links of
`networking`."""
PACKET_TESTS = 2
BUFFER_MS = 100.0
MOST_OTHERS = 0.9
"""The largest part of an interval that is not left to the flows."""


@dataclass(frozen=True)
class Outcome:
    """What a replay showed: lost power, 0..1, and mean rules tested for a packet."""

    cost: float
    rules_tested: float


@dataclass(frozen=True)
class Inspection:
    """Flows in the order of their starts, and a firewall with all other packets.

    `kinds` has for each flow which of the firewall's sets of deciders is its own. The intervals
    of the firewall are equal parts of the time `until_ms`.
    """

    firewall: Firewall
    kinds: tuple[int, ...]
    paths: tuple[Path, ...]
    until_ms: float

    @property
    def epoch_ms(self) -> float:
        return self.until_ms / len(self.firewall.epochs)

    @cached_property
    def fair_packets(self) -> list[float]:
        """The packets of each flow if it had its fair share of the most time that can be left to
        flows, and no rules were tested for it but those that must be."""
        best = best_order(self.firewall)
        others = min(
            taken(best.tests_of(epoch, epoch + 1), sum(packets), self.epoch_ms)
            for epoch, packets in enumerate(self.firewall.epochs)
        )
        left = Link((0.0,), (1 - others,), 0.0)
        shares_ms = fair_shares(left, [path.start_ms for path in self.paths], self.until_ms)
        return [
            share_ms / work_ms(least_tests_of(self.firewall, kind))
            for share_ms, kind in zip(shares_ms, self.kinds, strict=True)
        ]


def work_ms(tests: int) -> float:
    """The CPU time of a packet for which so many rules are tested."""
    return TEST_MS * (PACKET_TESTS + tests)


def taken(tests: int, packets: int, epoch_ms: float) -> float:
    """The part of an interval that so many tests for so many packets take from the flows."""
    return min(MOST_OTHERS, TEST_MS * (PACKET_TESTS * packets + tests) / epoch_ms)


def least_tests_of(firewall: Firewall, kind: int) -> int:
    """The fewest tests of any order for a packet of one set of deciders."""
    return 1 + min(firewall.needs[rule].bit_count() for rule in firewall.deciders[kind])


class FirstOrder:
    """Leaves the rules as they are."""

    def __init__(self, rules: Sequence[Sequence[int]], reload_tests: int) -> None:
        self.first = list(range(len(rules)))

    def decided(self, counts: list[int]) -> None:
        """It changes nothing."""

    def order(self) -> list[int]:
        return self.first


class Gate(Sender):
    """The firewall, which sends nothing itself: as an interval begins it has its rules ordered, and
    then a packet of a flow is as much work as it is in this order."""

    def __init__(self, inspection: Inspection, policy: OrderPolicy, flows: Sequence[Flow]) -> None:
        self.inspection = inspection
        self.policy = policy
        self.flows = flows
        self.table = Table(inspection.firewall)
        self.epoch = 0
        self.sent = [0] * len(flows)
        self.packets = self.tests = 0

    def wake(self, bottleneck: Bottleneck) -> float:
        """An interval is over, unless this is the first, and another begins."""
        firewall, epoch_ms = self.inspection.firewall, self.inspection.epoch_ms
        if self.epoch:
            self._tell(list(firewall.epochs[self.epoch - 1]))
        is_new = self.table.load(self.policy.order())
        others = firewall.epochs[self.epoch]
        tests = firewall.reload_tests * is_new + self.table.tests_of(others)
        left = 1 - taken(tests, sum(others), epoch_ms)
        for flow, kind in zip(self.flows, self.inspection.kinds, strict=True):
            flow.work = work_ms(self.table.tests[kind]) / left
        self.epoch += 1
        return self.epoch * epoch_ms

    def _tell(self, packets: list[int]) -> None:
        """What was decided; of flows, what they sent in the round trips that are over."""
        sent = [int(flow.sent_packets) for flow in self.flows]
        for kind, now, before in zip(self.inspection.kinds, sent, self.sent, strict=True):
            packets[kind] += now - before
        self.sent = sent
        self.packets += sum(packets)
        self.tests += self.table.tests_of(packets)
        self.policy.decided(self.table.counts_of(packets))


def replay(inspection: Inspection, make_congestion: Maker, make_order: Maker) -> Outcome:
    """What flows achieve under two policies. Raises ProblemError if one breaks its rules."""
    firewall, paths = inspection.firewall, inspection.paths
    order = make_order([list(rule) for rule in firewall.rules], firewall.reload_tests)
    flows = [Flow(make_congestion(), path) for path in paths]
    gate = Gate(inspection, order, flows)
    starts_ms = [0.0, *(path.start_ms for path in paths)]
    cpu = Link((0.0,), (1.0,), BUFFER_MS)
    run(Bottleneck(cpu), [gate, *flows], starts_ms, inspection.until_ms)
    powers = [power(*one) for one in zip(flows, inspection.fair_packets, strict=True)]
    return Outcome(1 - geometric_mean(powers), gate.tests / gate.packets)
