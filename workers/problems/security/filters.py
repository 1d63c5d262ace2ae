"""Rules of firewalls, and the packets that come to them, by models.

The rules are made as ClassBench makes filters: D. E. Taylor, J. S. Turner, ClassBench: A Packet
Classification Benchmark, IEEE/ACM Transactions on Networking 15(3), 2007. A filter is two prefixes,
a range of ports of one of five classes, and a protocol; prefixes share their beginnings, some
branches being fuller than others; there is no filter twice, and of two nested ones the inner comes
first. The three families are those that its seeds come from. The seeds themselves are not used:
what of them is modelled here, the shares in FAMILIES, are round numbers. Source ports are left out.
ClassBench has no actions; here each rule denies or accepts, whatever others do.

The packets are made as its trace generator makes headers: each is a corner of some rule, and comes
again as often as a Pareto distribution with exponent 1 says. What it does not have is added. Some
rules are wanted more than others, by Zipf's law; which these are changes, and now and then there is
a flood of packets for one rule. That traffic changes, and sometimes as suddenly, is why firewalls
adapt to it: S. Acharya, J. Wang, Z. Ge, T. F. Znati, A. Greenberg, Traffic-Aware Firewall
Optimization Strategies, ICC 2006. What no source gives is a round number; of those BRANCHES is so
small, and DENIED not a half, so that rules overlap.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from types import MappingProxyType

from workers.problems.draws import ByRank, Draws
from workers.problems.security.rules import ACTION, FIELDS, Firewall, Rule, deciders_of, encloses

PREFIX_BITS = (0, 8, 16, 24, 32)
BRANCHES, STEP_BITS = 3, 8
ANY_PORT, LOW_PORTS, HIGH_PORTS = (0, 65_535), (0, 1_023), (1_024, 65_535)
PORTS = (80, 443, 53, 25, 22, 110, 143, 21, 123, 161, 389, 3_306, 1_433, 8_080)
RANGES = ((6_000, 6_063), (137, 139), (20, 21), (33_434, 33_523), (5_060, 5_061))
ANY_PROTOCOL, PROTOCOLS = (0, 255), ((6, 6), (17, 17), (1, 1))
DENIED = 0.3

WARM_UP_EPOCHS = 10
FLOWS, LARGEST_FLOW, EPOCH_PACKETS = 50, 1_000, 50
STRAY_FLOWS = 0.05
FAVOURITES = 4
FLOOD_FLOWS, LONGEST_FLOOD_EPOCHS = 10, 8
Header = tuple[int, ...]
"""Source, destination, port and protocol of a packet."""


@dataclass(frozen=True)
class Family:
    """What the rules of one kind of firewall look like: of each field how often it is what.

    The prefixes are of PREFIX_BITS; the ports any, high, low, a range, or one; the protocol any,
    TCP, UDP, or ICMP.
    """

    source: tuple[float, ...]
    destination: tuple[float, ...]
    port: tuple[float, ...]
    protocol: tuple[float, ...]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "access-list": Family(
            source=(0.3, 0.1, 0.2, 0.3, 0.1),
            destination=(0.0, 0.1, 0.2, 0.4, 0.3),
            port=(0.3, 0.1, 0.0, 0.1, 0.5),
            protocol=(0.1, 0.6, 0.2, 0.1),
        ),
        "firewall": Family(
            source=(0.5, 0.1, 0.1, 0.2, 0.1),
            destination=(0.4, 0.1, 0.1, 0.2, 0.2),
            port=(0.3, 0.1, 0.1, 0.1, 0.4),
            protocol=(0.2, 0.5, 0.2, 0.1),
        ),
        "chain": Family(
            source=(0.2, 0.1, 0.2, 0.3, 0.2),
            destination=(0.2, 0.1, 0.2, 0.3, 0.2),
            port=(0.5, 0.1, 0.1, 0.1, 0.2),
            protocol=(0.3, 0.4, 0.2, 0.1),
        ),
    }
)
"""Lists of access control, firewalls, and the chains of Linux: ClassBench's acl, fw and ipc."""


@dataclass(frozen=True)
class Mix:
    """How packets change: how many new favourites and floods there are in an interval."""

    favourites: float
    floods: float


MIXES: Mapping[str, Mix] = MappingProxyType(
    {"steady": Mix(0.1, 0.02), "drifting": Mix(0.6, 0.02), "attacked": Mix(0.1, 0.2)}
)


class Networks:
    """Prefixes that share their beginnings: the branches of each are chosen by rank."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.rank = ByRank(BRANCHES, draws)
        self.branches: dict[int, list[int]] = {}

    def prefix(self, bits: int) -> tuple[int, int]:
        """The lowest and the highest address of some prefix of so many bits."""
        prefix = 1
        for _ in range(0, bits, STEP_BITS):
            if prefix not in self.branches:
                steps = range(1 << STEP_BITS)
                self.branches[prefix] = [self.draws.below(len(steps)) for _ in range(BRANCHES)]
            prefix = prefix << STEP_BITS | self.branches[prefix][self.rank.choose()]
        span = 1 << PREFIX_BITS[-1] - bits
        first = (prefix - (1 << bits)) * span
        return first, first + span - 1


def choose(shares: Sequence[float], draws: Draws) -> int:
    """One of the places of the shares, which add up to 1, as often as its share says."""
    return bisect([*accumulate(shares)], draws.uniform(), hi=len(shares) - 1)


def some_rules(family: Family, count: int, draws: Draws) -> tuple[Rule, ...]:
    """So many rules; of two nested ones the inner comes first."""
    sources, destinations, port = Networks(draws), Networks(draws), ByRank(len(PORTS), draws)
    rules: list[Rule] = []
    while len(rules) < count:
        source = sources.prefix(PREFIX_BITS[choose(family.source, draws)])
        destination = destinations.prefix(PREFIX_BITS[choose(family.destination, draws)])
        protocol = [ANY_PROTOCOL, *PROTOCOLS][choose(family.protocol, draws)]
        one = PORTS[port.choose()]
        classes = [ANY_PORT, HIGH_PORTS, LOW_PORTS, RANGES[draws.below(len(RANGES))], (one, one)]
        ports = classes[choose(family.port, draws)]
        rule = (*source, *destination, *ports, *protocol, int(not draws.happens(DENIED)))
        if any(rule[:ACTION] == other[:ACTION] for other in rules):
            continue
        outer = (place for place, other in enumerate(rules) if encloses(other, rule))
        rules.insert(next(outer, len(rules)), rule)
    return tuple(rules)


def matching(header: Header, rules: Sequence[Rule]) -> tuple[int, ...]:
    """The rules that a packet matches, in their order."""
    source, destination, port, protocol = header
    return tuple(
        place
        for place, rule in enumerate(rules)
        if rule[0] <= source <= rule[1]
        and rule[2] <= destination <= rule[3]
        and rule[4] <= port <= rule[5]
        and rule[6] <= protocol <= rule[7]
    )


class Traffic:
    """Flows of packets to a firewall; each is the numbers of the rules that could decide it."""

    def __init__(self, rules: Sequence[Rule], mix: Mix, draws: Draws) -> None:
        self.rules = rules
        self.mix = mix
        self.draws = draws
        self.ranked = list(range(len(rules)))
        draws.shuffle(self.ranked)
        self.rank = ByRank(len(rules), draws)
        self.flows: list[tuple[tuple[int, ...], int]] = []
        self.known: dict[Header, tuple[int, ...]] = {}
        self.flooded = 0
        self.flood_epochs = 0

    def epochs(self) -> Iterator[Counter[tuple[int, ...]]]:
        """For one interval after the other how many packets come, by their deciders."""
        draws = self.draws
        while True:
            if draws.happens(self.mix.favourites):
                favourite = self.ranked.pop(draws.below(len(self.ranked)))
                self.ranked.insert(draws.below(FAVOURITES), favourite)
            if not self.flood_epochs and draws.happens(self.mix.floods):
                self.flooded = draws.below(len(self.rules))
                self.flood_epochs = 1 + draws.below(LONGEST_FLOOD_EPOCHS)
            sizes = draws.heavy_tailed(FLOWS, 1, LARGEST_FLOW)
            self.flows += [(self.new_flow(), int(size)) for size in sizes]
            if self.flood_epochs:
                self.flood_epochs -= 1
                floods = (self._corner(self.flooded) for _ in range(FLOOD_FLOWS))
                self.flows += [(flood, EPOCH_PACKETS) for flood in floods]
            yield self._packets()

    def new_flow(self) -> tuple[int, ...]:
        """Those that could decide a flow: one for some rule, or for none in particular."""
        if self.draws.happens(STRAY_FLOWS):
            address = 1 << PREFIX_BITS[-1]
            return self._deciders(map(self.draws.below, (address, address, 1 << 16, 1 << 8)))
        return self._corner(self.ranked[self.rank.choose()])

    def _packets(self) -> Counter[tuple[int, ...]]:
        """Those of one interval: up to EPOCH_PACKETS of each flow."""
        packets: Counter[tuple[int, ...]] = Counter()
        for deciders, left in self.flows:
            packets[deciders] += min(left, EPOCH_PACKETS)
        self.flows = [
            (deciders, left - EPOCH_PACKETS)
            for deciders, left in self.flows
            if left > EPOCH_PACKETS
        ]
        return packets

    def _corner(self, rule: int) -> tuple[int, ...]:
        """Those that could decide packets whose header is at a corner of a rule."""
        bounds = self.rules[rule]
        return self._deciders(bounds[2 * i + self.draws.below(2)] for i in range(FIELDS))

    def _deciders(self, bounds: Iterable[int]) -> tuple[int, ...]:
        header = tuple(bounds)
        if header not in self.known:
            self.known[header] = deciders_of(matching(header, self.rules), self.rules)
        return self.known[header]


def some_firewall(family: str, mix: str, rules: int, epochs: int, draws: Draws) -> Firewall:
    """A firewall of a family with so many rules, and the packets of so many intervals."""
    made = some_rules(FAMILIES[family], rules, draws)
    return gathered(made, some_packets(Traffic(made, MIXES[mix], draws), epochs))


def some_packets(traffic: Traffic, epochs: int) -> list[Counter[tuple[int, ...]]]:
    """The packets of so many intervals, by their deciders, when flows have come for a while."""
    return list(islice(traffic.epochs(), WARM_UP_EPOCHS, WARM_UP_EPOCHS + epochs))


def gathered(rules: tuple[Rule, ...], packets: Sequence[Counter[tuple[int, ...]]]) -> Firewall:
    """A firewall with rules and packets."""
    deciders = sorted(set().union(*packets))
    counts = tuple(tuple(count[one] for one in deciders) for count in packets)
    return Firewall(rules, tuple(deciders), counts)
