"""A firewall whose CPU flows share: one policy orders the rules, the other sets the flows' windows.

`inspection` says what becomes of the flows. The order decides how much time there is for them to
share and how much each packet takes, the windows decide which rules decide how many packets in the
next interval, and all flows pay for a new order. The cost is that of `networking`: 1 - the
geometric mean of the flows' power, 0..1. Baseline is Reno with the first order. The rules tested
for a packet are reported beside it.

The bound is 0, with fair shares of time instead of packets. A packet of flow i takes as many tests
as rules must stand before one that could decide it, and one more, at least. Flows share no more
than the time that is left to them in the best of all intervals, under the order that is best for
the others' packets in it. Flow i and all after it have no more of that together than there is from
the start of i on, so the proof in `networking` holds. It is loose: besides what is loose there, no
order can be best for each flow and for the others at the same time.

A workload is generated, none is recorded: rules and the others' packets by `filters`, of a family
for each workload, with each of its mixes, and FLOWS that some rule accepts. Of the others' packets
there are OTHERS_PER_MS on average. Those workloads that are trained, developed and reported on are
of different seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from workers.problems.draws import Draws
from workers.problems.material import development, held_out
from workers.problems.networking.flows import Reno
from workers.problems.networking.problem import FLOWS_MS, LATEST_START, CongestionControl, path
from workers.problems.pair import PairProblem
from workers.problems.pairs.inspection import FirstOrder, Inspection, Outcome, replay
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.security.filters import (
    FAMILIES,
    MIXES,
    Traffic,
    gathered,
    some_packets,
    some_rules,
)
from workers.problems.security.problem import WORKLOADS, FirewallOrder
from workers.problems.security.rules import ACTION
from workers.problems.single import SingleProblem

OTHERS_PER_MS = 0.3
RULES, EPOCHS = 20, 24
FLOWS = (2, 4)
CONGESTION, FIREWALL = "congestion.", "firewall."


@dataclass(frozen=True)
class Scenario:
    """Flows that pass a firewall; see `Outcome` for the baseline. `bound` is lost power."""

    name: str
    inspection: Inspection
    baseline: Outcome
    bound: float = 0.0


def scenario(family: str, mix: str, flows: int, seed: bytes) -> Scenario:
    """The scenario of so many flows, which is drawn from the seed."""
    name = f"{family}/{mix}/{flows} flows"
    draws = Draws(seed, f"pair/{name}")
    until_ms = FLOWS_MS / flows
    rules = some_rules(FAMILIES[family], RULES, draws)
    traffic = Traffic(rules, MIXES[mix], draws)
    others = OTHERS_PER_MS * until_ms / EPOCHS
    packets = [scaled(count, others) for count in some_packets(traffic, EPOCHS)]
    accepted = [new_accepted(traffic) for _ in range(flows)]
    packets[0].update(dict.fromkeys(accepted, 0))
    firewall = gathered(rules, packets)
    kinds = tuple(map(firewall.deciders.index, accepted))
    starts_ms = sorted(draws.uniform() * LATEST_START * until_ms for _ in range(flows - 1))
    paths = tuple(path(start_ms, 0.0, draws) for start_ms in (0.0, *starts_ms))
    inspection = Inspection(firewall, kinds, paths, until_ms)
    return Scenario(name, inspection, replay(inspection, Reno, FirstOrder))


def scaled(counts: Counter[tuple[int, ...]], packets: float) -> Counter[tuple[int, ...]]:
    """About so many packets of the same kinds."""
    factor = packets / sum(counts.values())
    return Counter({deciders: round(count * factor) for deciders, count in counts.items()})


def new_accepted(traffic: Traffic) -> tuple[int, ...]:
    """Those that could decide a flow, of one that is accepted."""
    while True:
        deciders = traffic.new_flow()
        if deciders and traffic.rules[deciders[0]][ACTION]:
            return deciders


def scenarios(families: Iterable[str], flows: Iterable[int], seed: bytes) -> Iterator[Scenario]:
    """Each family with each mix and each number of flows, with draws of its own."""
    for family, mix, count in product(families, MIXES, flows):
        yield scenario(family, mix, count, seed)


class FirewallAndCongestion(PairProblem):
    """The joint problem of `networking` and `security`; costs are lost power, 0..1. `Score.beside`
    has `rules_tested` and `baseline_rules_tested`, for a packet."""

    name = "firewall_and_congestion"
    cost_unit = "lost power"
    about = About(
        decides="how many packets each flow may have under way, and how the rules they pass lie",
        workload="2 or 4 flows and other packets, through generated rules on one CPU",
        baseline="Reno: AIMD(1, 1/2), with the rules as they were made",
        bound="each flow its fair share of the CPU, no test in vain, and no queue; loose",
    )
    parts: Mapping[str, SingleProblem] = MappingProxyType(
        {CONGESTION: CongestionControl(), FIREWALL: FirewallOrder()}
    )
    training_workloads = tuple(FAMILIES)
    development_workloads = development(tuple(FAMILIES))
    held_out_workloads = held_out(tuple(FAMILIES))
    beside = ("rules_tested",)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        return tuple(scenarios((WORKLOADS[workload],), FLOWS, workload.encode()))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of all families, with rules, packets and flows of their own."""
        return tuple(scenarios(FAMILIES, FLOWS[-1:], seed))

    def replay(self, scenario: Scenario, make_congestion: Maker, make_order: Maker) -> Outcome:
        """What a replay under any two policies shows."""
        return replay(scenario.inspection, make_congestion, make_order)
