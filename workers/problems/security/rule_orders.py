"""The fewest tests that any order of a firewall's rules needs, knowing all packets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import accumulate
from operator import add, sub

from workers.problems.security.rules import Firewall, Table

EXACT_RULES = 8


def least_tests(firewall: Firewall) -> int:
    """What no policy can do with less of: tests, and new orders in tests.

    A policy keeps some order for some intervals, then another. Each of these costs a reload, but
    for the first order at the beginning, and at least what the best of all orders would cost for
    its intervals. So the least over all ways to divide the intervals, by dynamic programming, is a
    bound; it is what the best policy costs if the best order of intervals is known exactly, which
    it is for EXACT_RULES rules or fewer.
    """
    best, loose = best_order(firewall), LooseOrder(firewall)
    unchanged = map(Table(firewall).tests_of, firewall.epochs)
    least = list(accumulate(unchanged, initial=0))
    for end in range(1, len(least)):
        hopes = ((least[begin] + loose.tests_of(begin, end), begin) for begin in range(end))
        for at_least, begin in sorted(hopes):
            if at_least + firewall.reload_tests >= least[end]:
                break
            tests = least[begin] + firewall.reload_tests + best.tests_of(begin, end)
            least[end] = min(least[end], tests)
    return least[-1]


def best_order(firewall: Firewall) -> BestOrder | LooseOrder:
    """What knows what the best order costs, or no more than that for more than EXACT_RULES."""
    return BestOrder(firewall) if len(firewall.rules) <= EXACT_RULES else LooseOrder(firewall)


class BestOrder:
    """The best order of few rules, by dynamic programming over what an order can begin with.

    A packet that none of the first k rules decides takes a test more than k. So an order costs the
    sum of these packets over all k, and what they are for a k depends on which rules come first,
    not on their order (as M. Held, R. M. Karp, A Dynamic Programming Approach to Sequencing
    Problems, Journal of SIAM 10(1), 1962).
    """

    def __init__(self, firewall: Firewall) -> None:
        self.shorter = beginnings(firewall.needs)
        bits = [sum(1 << rule for rule in rules) for rules in firewall.deciders]
        undecided = [
            [place for place, rules in enumerate(bits) if not rules & first]
            for first in self.shorter
        ]
        self.undecided = sums_of(undecided, firewall.epochs)

    def tests_of(self, begin: int, end: int) -> int:
        """The least tests of one order for the packets of the intervals begin..end - 1."""
        undecided = map(sub, self.undecided[end], self.undecided[begin])
        tests, until = 0, dict.fromkeys(self.shorter, 0)
        for (first, shorter), packets in zip(self.shorter.items(), undecided, strict=True):
            tests = min(map(until.__getitem__, shorter), default=0)
            until[first] = tests + packets
        return tests


def beginnings(needs: Sequence[int]) -> dict[int, list[int]]:
    """The sets of rules that an order can begin with, as bits, from none to all, and for each those
    that have one rule less. `needs` is what each rule needs before it."""
    shorter: dict[int, list[int]] = {0: []}
    waiting = deque(shorter)
    while waiting:
        first = waiting.popleft()
        for rule, need in enumerate(needs):
            if not first >> rule & 1 and need & first == need:
                longer = first | 1 << rule
                if longer not in shorter:
                    shorter[longer] = []
                    waiting.append(longer)
                shorter[longer].append(first)
    return shorter


class LooseOrder:
    """What no order of many rules can beat, though there need not be one that reaches it.

    k rules decide no more packets than the numbers of those that each could decide add up to. And
    each rule is taken as if it could stand wherever there is room for those before it that must be:
    place by place comes the one that could decide the most of those that could stand there. No k
    rules add up to more. For take others that begin as ours do, up to some place: if they have the
    rule that ours have there, but later, these two can change places, since what can stand
    somewhere can stand anywhere behind; if they do not have it, it may take the place of theirs.
    """

    def __init__(self, firewall: Firewall) -> None:
        size, deciders = len(firewall.rules), firewall.deciders
        self.from_place: list[list[int]] = [[] for _ in range(size)]
        for rule, need in enumerate(firewall.needs):
            self.from_place[need.bit_count()].append(rule)
        groups = [
            [place for place, rules in enumerate(deciders) if rule in rules] for rule in range(size)
        ]
        decided = [place for place, rules in enumerate(deciders) if rules]
        default = [place for place, rules in enumerate(deciders) if not rules]
        self.could_decide = sums_of([*groups, decided, default], firewall.epochs)

    def tests_of(self, begin: int, end: int) -> int:
        """At most the least tests of one order for the packets of the intervals begin..end - 1."""
        ends = self.could_decide[end], self.could_decide[begin]
        *could_decide, undecided, default = map(sub, *ends)
        tests: int = default * len(could_decide)
        here: list[int] = []
        for rules in self.from_place:
            tests += max(0, undecided)
            for rule in rules:
                heappush(here, -could_decide[rule])
            undecided += heappop(here)
        return tests


def sums_of(groups: Sequence[Sequence[int]], epochs: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each number of intervals what the first of them have of each group of columns."""
    rows = ([sum(row[column] for column in columns) for columns in groups] for row in epochs)
    none = [0] * len(groups)
    return list(accumulate(rows, lambda one, other: list(map(add, one, other)), initial=none))
