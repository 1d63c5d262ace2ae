"""The firewall: in which order its rules are tested.

Before each of EPOCHS intervals the policy may change the order, and after it is told how many
packets each rule decided. `rules` says which orders are allowed: those that treat every possible
packet as the first order does. The cost is the mean number of rules tested for a packet, and a new
order costs tests as well. Baseline is to leave the rules as the generator orders them. The bound
knows all packets: up to EXACT_RULES rules it is what the best of all allowed orders, changed at the
best times, would cost; for more rules it is at most that, since it does not keep all of them in
order. `rule_orders` has the proofs.

Workloads are generated: who runs a firewall shows neither its rules nor its packets. `filters`
makes them by cited models, for each workload of another family of rules:

    access-list               what a search sees
    access-list-held-out      other rules and packets of the same family: what is reported
    access-list-development   other ones again: what choices of ours were tried on

Each workload has all MIXES of packets at each of SIZES. A generated one has all families. Rules and
packets of one scenario have nothing to do with those of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from workers.problems.draws import Draws
from workers.problems.material import development, drawn_workloads, held_out, table_parameters
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.security import policy as security_policy
from workers.problems.security.filters import FAMILIES, MIXES, some_firewall
from workers.problems.security.rule_orders import EXACT_RULES, least_tests
from workers.problems.security.rules import INTERFACE, Firewall, first_order_tests, policy_tests
from workers.problems.single import SingleProblem

SIZES = (EXACT_RULES, 20, 40)
EPOCHS = 24
WORKLOADS = drawn_workloads(FAMILIES)


@dataclass(frozen=True)
class Scenario:
    """A firewall and its packets. Baseline and bound are mean rules tested for a packet."""

    name: str
    firewall: Firewall
    baseline: float
    bound: float


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Each family with each mix of packets, and each size once with each of both."""
    for (row, family), (column, mix) in product(enumerate(FAMILIES), enumerate(MIXES)):
        yield scenario(family, mix, SIZES[(row + column) % len(SIZES)], seed)


def scenario(family: str, mix: str, size: int, seed: bytes) -> Scenario:
    """The scenario of a firewall with so many rules, which is drawn from the seed."""
    name = f"{family}/{mix}/{size} rules"
    firewall = some_firewall(family, mix, size, EPOCHS, Draws(seed, name))
    packets = firewall.packets
    return Scenario(
        name, firewall, first_order_tests(firewall) / packets, least_tests(firewall) / packets
    )


class FirewallOrder(SingleProblem):
    """The problem of the specialization `security`; costs are mean rules tested for a packet."""

    specialization = "security"
    name = "firewall_order"
    cost_unit = "rules tested"
    about = About(
        decides="in which order a firewall's rules are tested",
        workload="rules and packets by ClassBench's model, for three families of rules",
        baseline="the order of the rules as they were made, nested ones inside out",
        bound=f"the best orders at the best times; exact for {EXACT_RULES} rules, loose for more",
    )
    interface = INTERFACE
    policy = security_policy
    parameters = table_parameters(
        security_policy.PARAMETERS,
        memory=(0.0, 0.98),
        latest_weight=(-0.5, 1.0),
        burst_power=(0.3, 2.0),
        surprise=(0.05, 1.0),
        group_power=(0.0, 2.0),
        absorbed=(0.0, 1.5),
        payback_epochs=(0.25, 32.0, "log"),
    )
    training_workloads = tuple(FAMILIES)
    development_workloads = development(tuple(FAMILIES))
    held_out_workloads = held_out(tuple(FAMILIES))

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        return tuple(
            scenario(WORKLOADS[workload], mix, size, workload.encode())
            for size, mix in product(SIZES, MIXES)
        )

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of all families, each with rules and packets of its own."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """The mean number of rules tested for a packet, with what new orders cost."""
        firewall = scenario.firewall
        policy = make_policy([list(rule) for rule in firewall.rules], firewall.reload_tests)
        return policy_tests(firewall, policy) / firewall.packets
