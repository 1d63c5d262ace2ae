"""An order of firewall rules by what they are likely to decide. Standard library only.

Rules that decide the most packets come first, as far as the meaning of the rules allows (E. W.
Fulp, Optimization of Network Firewall Policies Using Directed Acyclical Graphs, IEEE Internet
Management Conference 2005). What a rule is likely to decide is an exponentially weighted mean of
what it decided. Since some rules must stay before others, a rule comes together with those, and is
weighed by what they decide together, as A. Tapdiya and E. W. Fulp compare sub-graphs of rules
(Towards Optimal Firewall Rule Ordering Utilizing Directed Acyclical Graphs, ICCCN 2009). A new
order costs something, so there is one only if it is likely to pay. The default values are those of
someone who orders rules by a log, and so has a long memory, and takes whatever saves something.

A rule is nine whole numbers: the lowest and the highest value of source, destination, port and
protocol, and 1 to accept or 0 to deny.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import mul

SPECIALIZATION = "security"

PARAMETERS: Mapping[str, float] = {
    "memory": 0.9,
    "latest_weight": 0.0,
    "burst_power": 1.0,
    "surprise": 1.0,
    "group_power": 1.0,
    "absorbed": 0.0,
    "payback_epochs": 16.0,
}

ACTION = 8


class Policy:
    """Decides in which order rules are tested; whoever calls it tests them itself.

    `rules` are in their first order, `reload_tests` is what a new order costs. The parameters (see
    `PARAMETERS`):

    memory          what stays of the old mean when an interval is over, 0..1
    latest_weight   how far what is expected leans from the mean to the latest interval
    burst_power     a rule that decided n packets counts as n ** burst_power
    surprise        the old mean is forgotten if more than this part of the packets were decided by
                    other rules than it says, 0..1
    group_power     a rule with the m that must stand before it is weighed by what they decide
                    together / (m + 1) ** group_power
    absorbed        how much of what is decided by a rule within it a rule is credited with, if it
                    does the same
    payback_epochs  a new order must save what it costs within so many intervals
    """

    def __init__(
        self,
        rules: Sequence[Sequence[int]],
        reload_tests: int,
        parameters: Mapping[str, float] = PARAMETERS,
    ) -> None:
        self.memory = parameters["memory"]
        self.latest_weight = parameters["latest_weight"]
        self.burst_power = parameters["burst_power"]
        self.surprise = parameters["surprise"]
        self.absorbed = parameters["absorbed"]
        self.least_saving = reload_tests / parameters["payback_epochs"]
        size = len(rules)
        self.current = list(range(size))
        self.mean: list[float] = []
        self.expected: list[float] = []
        self.before: dict[int, list[int]] = {}
        self.within: dict[int, list[int]] = {}
        self.around: dict[int, list[int]] = {}
        for place in range(size):
            self._relate(rules, place)
        power = parameters["group_power"]
        self.shares = [(1 + len(self.before.get(place, ()))) ** -power for place in range(size)]

    def decided(self, counts: list[int]) -> None:
        """An interval is over: the packets that each rule decided, and at last the default."""
        powers = [count**self.burst_power for count in counts[:-1]]
        scale = sum(counts[:-1]) / (sum(powers) or 1.0)
        latest = [power * scale for power in powers]
        if not self.mean or self._is_surprised(latest):
            self.mean = latest
        else:
            kept, new = self.memory, 1 - self.memory
            self.mean = [old * kept + now * new for old, now in zip(self.mean, latest, strict=True)]
        lean = self.latest_weight
        self.expected = [
            old + (now - old) * lean for old, now in zip(self.mean, latest, strict=True)
        ]

    def order(self) -> list[int]:
        """An interval begins: all rules in the order in which they are to be tested."""
        if self.expected:
            order = self._wanted()
            saved = self._tests(self.current) - self._tests(order)
            if saved > self.least_saving:
                self.current = order
        return self.current

    def _relate(self, rules: Sequence[Sequence[int]], place: int) -> None:
        """Find which of the rules before a rule must stay there, and which are within it and do
        the same."""
        rule = rules[place]
        before: set[int] = set()
        within = []
        for other in range(place):
            one = rules[other]
            if _intersect(one, rule):
                if one[ACTION] != rule[ACTION]:
                    before.add(other)
                    before.update(self.before.get(other, ()))
                elif _is_within(one, rule):
                    within.append(other)
                    self.around.setdefault(other, [other]).append(place)
        if before:
            self.before[place] = sorted(before)
        if within:
            self.within[place] = within

    def _is_surprised(self, latest: Sequence[float]) -> bool:
        moved = sum(abs(now - old) for now, old in zip(latest, self.mean, strict=True))
        return moved > self.surprise * (sum(latest) + sum(self.mean))

    def _wanted(self) -> list[int]:
        """The order in which the rules, each with those before it, weigh less and less."""
        expected, absorbed = self.expected, self.absorbed
        weights = list(expected)
        for rule, within in self.within.items():
            weights[rule] += absorbed * sum(expected[one] for one in within)
        together = list(weights)
        for rule, before in self.before.items():
            together[rule] += sum(weights[one] for one in before)
        heavy = list(map(mul, together, self.shares))
        order: dict[int, None] = {}
        for rule in sorted(range(len(heavy)), key=heavy.__getitem__, reverse=True):
            if rule not in order:
                order.update(dict.fromkeys(self.before.get(rule, ())))
                order[rule] = None
        return list(order)

    def _tests(self, order: Sequence[int]) -> float:
        """The rules that are likely to be tested in an interval."""
        places = [0] * len(order)
        for place, rule in enumerate(order):
            places[rule] = place
        first = list(places)
        for rule, around in self.around.items():
            first[rule] = min(places[one] for one in around)
        tests: float = sum(map(mul, self.expected, first))
        return tests


def _intersect(one: Sequence[int], other: Sequence[int]) -> bool:
    return (
        one[0] <= other[1]
        and other[0] <= one[1]
        and one[2] <= other[3]
        and other[2] <= one[3]
        and one[4] <= other[5]
        and other[4] <= one[5]
        and one[6] <= other[7]
        and other[6] <= one[7]
    )


def _is_within(inner: Sequence[int], outer: Sequence[int]) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
        and outer[4] <= inner[4]
        and inner[5] <= outer[5]
        and outer[6] <= inner[6]
        and inner[7] <= outer[7]
    )
