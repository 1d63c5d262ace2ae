"""The rules of a firewall: which orders of them mean the same, and what an order costs.

A packet is tested against one rule after the other, and the first that matches decides. What no
rule matches is left to the default, which stays last and is no test.

Two rules that some packet could match both, and that differ in what they do with it, keep their
order; all others may pass each other. That is enough for every packet to be treated as before: if
another rule than before were the first to match it and did something else, these two would have
changed places. It is needed for each pair by itself, and more than is needed where rules before
them take all packets that both could match. So are rules drawn as a directed acyclic graph: E. W.
Fulp, Optimization of Network Firewall Policies Using Directed Acyclical Graphs, IEEE Internet
Management Conference 2005; A. Tapdiya, E. W. Fulp, Towards Optimal Firewall Rule Ordering
Utilizing Directed Acyclical Graphs, ICCCN 2009.

The table of rules is written as a whole, as that of iptables is, so whoever changes anything in the
order pays RELOAD_TESTS for every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import lt, mul
from typing import Protocol

from workers.problems.policies import Interface, bad_answer

INTERFACE = Interface(
    arguments=("rules", "reload_tests"), tells=("decided",), asks={"order": list[int]}
)
"""See `OrderPolicy`; the arguments are the rules, and what a new order costs, in tests."""
RELOAD_TESTS = 25
"""What it costs to write a rule, in tests: a round number, with which a new order pays within some
intervals, and not always within one."""
FIELDS = 4
ACTION = 2 * FIELDS

Rule = tuple[int, ...]
"""The lowest and the highest value of source, destination, port and protocol, and 1 to accept or 0
to deny: nine whole numbers."""


class OrderPolicy(Protocol):
    """What decides in which order rules are tested. A rule is its number in the first order."""

    def decided(self, counts: list[int]) -> None:
        """An interval is over: the packets that each rule decided, and at last the default."""

    def order(self) -> list[int]:
        """An interval begins: all rules in the order in which they are to be tested."""


def intersect(one: Rule, other: Rule) -> bool:
    """Whether some packet matches both."""
    return all(
        one[low] <= other[low + 1] and other[low] <= one[low + 1] for low in range(0, ACTION, 2)
    )


def encloses(outer: Rule, inner: Rule) -> bool:
    """Whether every packet that matches `inner` matches `outer`."""
    return all(
        outer[low] <= inner[low] and inner[low + 1] <= outer[low + 1] for low in range(0, ACTION, 2)
    )


@dataclass(frozen=True)
class Firewall:
    """Rules in their first order, and packets by those of the rules that could decide them.

    `deciders` has sets of rules, of ascending numbers; see `deciders_of`. `epochs` has for each
    interval how many packets each of these sets could decide.
    """

    rules: tuple[Rule, ...]
    deciders: tuple[tuple[int, ...], ...]
    epochs: tuple[tuple[int, ...], ...]

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs of rules that keep their order."""
        return tuple(
            (first, second)
            for (first, one), (second, other) in combinations(enumerate(self.rules), 2)
            if one[ACTION] != other[ACTION] and intersect(one, other)
        )

    @cached_property
    def needs(self) -> tuple[int, ...]:
        """For each rule those that must stand before it, as bits."""
        needs = [0] * len(self.rules)
        for first, second in sorted(self.pairs, key=lambda pair: pair[1]):
            needs[second] |= needs[first] | 1 << first
        return tuple(needs)

    @property
    def reload_tests(self) -> int:
        return RELOAD_TESTS * len(self.rules)

    @property
    def packets(self) -> int:
        return sum(map(sum, self.epochs))


def deciders_of(matching: Sequence[int], rules: Sequence[Rule]) -> tuple[int, ...]:
    """Of the rules that a packet matches, in the first order, those that can be first in another.

    They are all before the first that does something else with it: that one stays behind the first
    of all, and those behind it stay behind it or do as it does.
    """
    for place, rule in enumerate(matching):
        if rules[rule][ACTION] != rules[matching[0]][ACTION]:
            return tuple(matching[:place])
    return tuple(matching)


class Table:
    """The rules in an order that means the same as the first, which it checks."""

    def __init__(self, firewall: Firewall) -> None:
        self.firewall = firewall
        self.size = len(firewall.rules)
        self.befores = [first for first, _ in firewall.pairs]
        self.afters = [second for _, second in firewall.pairs]
        self.first = list(range(self.size))
        self.order: list[int] = []
        self.load(self.first)

    def load(self, order: list[int]) -> bool:
        """Test in this order from now on; whether that is a new one.

        Raises ProblemError if it is none, or does not mean the same as the first.
        """
        if not self._keeps_the_meaning(order):
            rule = (
                f"all rules 0..{self.size - 1}, each once, those that intersect and differ in"
                " action in their first order"
            )
            raise bad_answer("order", order, list, rule)
        if order == self.order:
            return False
        self.order = order.copy()
        places = self._places(order)
        self.decider = [
            min(rules, key=places.__getitem__, default=self.size)
            for rules in self.firewall.deciders
        ]
        self.tests = [places[rule] + 1 if rule < self.size else rule for rule in self.decider]
        return True

    def _keeps_the_meaning(self, order: object) -> bool:
        if type(order) is not list or set(map(type, order)) != {int}:
            return False
        if sorted(order) != self.first:
            return False
        at = self._places(order).__getitem__
        return all(map(lt, map(at, self.befores), map(at, self.afters)))

    def _places(self, order: Sequence[int]) -> list[int]:
        places = [0] * self.size
        for place, rule in enumerate(order):
            places[rule] = place
        return places

    def tests_of(self, packets: Sequence[int]) -> int:
        """The rules tested for so many packets of each set of deciders."""
        tests: int = sum(map(mul, packets, self.tests))
        return tests

    def counts_of(self, packets: Sequence[int]) -> list[int]:
        """How many of them each rule decides, and at last the default."""
        counts = [0] * (self.size + 1)
        for rule, count in zip(self.decider, packets, strict=True):
            counts[rule] += count
        return counts


def first_order_tests(firewall: Firewall) -> int:
    """Rules tested if nobody ever changes their order."""
    return sum(map(Table(firewall).tests_of, firewall.epochs))


def policy_tests(firewall: Firewall, policy: OrderPolicy) -> int:
    """Rules tested under a policy, and what its new orders cost, in tests.

    Raises ProblemError if an order is none, or does not mean the same as the first.
    """
    table = Table(firewall)
    tests = 0
    for packets in firewall.epochs:
        if table.load(policy.order()):
            tests += firewall.reload_tests
        tests += table.tests_of(packets)
        policy.decided(table.counts_of(packets))
    return tests
