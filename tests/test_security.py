"""The order of firewall rules: which orders mean the same, what they cost, the bound, the rules."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import pairwise, permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import ProblemError, find_problem
from workers.problems.draws import Draws
from workers.problems.policies import WrongAnswer
from workers.problems.problem import Parameter, Problem, defaults, from_unit
from workers.problems.security.filters import FAMILIES, MIXES, matching, some_firewall, some_rules
from workers.problems.security.policy import PARAMETERS, Policy
from workers.problems.security.problem import EPOCHS, SIZES, WORKLOADS, FirewallOrder
from workers.problems.security.rule_orders import BestOrder, LooseOrder, least_tests
from workers.problems.security.rules import (
    ACTION,
    RELOAD_TESTS,
    Firewall,
    Rule,
    Table,
    deciders_of,
    encloses,
    first_order_tests,
    intersect,
    policy_tests,
)
from workers.search import search

DENY_LOW = (0, 1, 0, 9, 0, 9, 0, 9, 0)
ACCEPT_HIGH = (4, 5, 0, 9, 0, 9, 0, 9, 1)
ACCEPT_ALL = (0, 9, 0, 9, 0, 9, 0, 9, 1)
DENY_DNS = (8, 9, 0, 9, 5, 5, 0, 9, 0)


@pytest.fixture(scope="module")
def problem() -> FirewallOrder:
    return FirewallOrder()


@pytest.fixture
def firewall() -> Firewall:
    """1 may come first, and then 2 decides its packets as well; 0 stays before 2, and so does 3
    behind it. The last of the sets is that of packets which no rule matches."""
    rules = (DENY_LOW, ACCEPT_HIGH, ACCEPT_ALL, DENY_DNS)
    return Firewall(rules, ((0,), (1, 2), (2,), ()), ((1, 10, 5, 2), (0, 100, 0, 0)))


class Says:
    """Orders rules as it is told beforehand, and keeps what it hears."""

    def __init__(self, *orders: Any) -> None:
        self.orders = list(orders)
        self.heard: list[list[int]] = []

    def decided(self, counts: list[int]) -> None:
        self.heard.append(counts)

    def order(self) -> Any:
        return self.orders.pop(0)


def small_firewall(draw: random.Random, rules: int, epochs: int = 1) -> Firewall:
    """Rules in a space of 3 x 3 x 2 x 2 headers, and packets of all of them, at random."""

    def some_range(count: int) -> tuple[int, int]:
        low, high = sorted(draw.randrange(count) for _ in range(2))
        return low, high

    made = tuple(
        (*some_range(3), *some_range(3), *some_range(2), *some_range(2), draw.randrange(2))
        for _ in range(rules)
    )
    found = [matching(header, made) for header in product(range(3), range(3), range(2), range(2))]
    deciders = sorted({deciders_of(one, made) for one in found})
    packets = [tuple(draw.choice((0, 1, 30)) for _ in deciders) for _ in range(epochs)]
    return Firewall(made, tuple(deciders), tuple(packets))


def allowed_orders(firewall: Firewall) -> list[list[int]]:
    orders = []
    for order in permutations(range(len(firewall.rules))):
        try:
            Table(firewall).load(list(order))
        except ProblemError:
            continue
        orders.append(list(order))
    return orders


def verdict(header: tuple[int, ...], rules: Sequence[Rule]) -> int | None:
    return next((rules[place][ACTION] for place in matching(header, rules)), None)


small_firewalls = st.builds(
    small_firewall,
    st.builds(random.Random, st.integers(0, 2**32)),
    st.integers(1, 5),
    st.integers(1, 3),
)


def test_rules_that_intersect_and_those_within_others() -> None:
    assert intersect(DENY_LOW, ACCEPT_ALL)
    assert not intersect(DENY_LOW, ACCEPT_HIGH)
    assert encloses(ACCEPT_ALL, DENY_DNS)
    assert not encloses(DENY_DNS, ACCEPT_ALL)


def test_what_keeps_its_order(firewall: Firewall) -> None:
    assert firewall.pairs == ((0, 2), (2, 3))
    assert firewall.needs == (0b0, 0b0, 0b1, 0b101)
    assert allowed_orders(firewall) == [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1], [1, 0, 2, 3]]


def test_the_rules_that_can_be_the_first() -> None:
    rules = (ACCEPT_HIGH, ACCEPT_ALL, DENY_DNS, ACCEPT_ALL)
    assert deciders_of((0, 1, 2, 3), rules) == (0, 1)
    assert deciders_of((0, 1), rules) == (0, 1)
    assert deciders_of((2,), rules) == (2,)
    assert deciders_of((), rules) == ()


@settings(max_examples=60, deadline=None)
@given(small_firewalls)
def test_every_order_that_is_allowed_treats_every_packet_as_the_first_does(
    firewall: Firewall,
) -> None:
    headers = list(product(range(3), range(3), range(2), range(2)))
    first = [verdict(header, firewall.rules) for header in headers]
    for order in allowed_orders(firewall):
        rules = [firewall.rules[place] for place in order]
        assert [verdict(header, rules) for header in headers] == first


@settings(max_examples=60, deadline=None)
@given(small_firewalls)
def test_two_rules_that_are_not_allowed_to_pass_each_other_would_change_a_verdict(
    firewall: Firewall,
) -> None:
    headers = list(product(range(3), range(3), range(2), range(2)))
    for pair in firewall.pairs:
        rules = [firewall.rules[place] for place in pair]
        assert any(verdict(one, rules) != verdict(one, rules[::-1]) for one in headers)


def test_tests_as_worked_by_hand(firewall: Firewall) -> None:
    policy = Says([0, 1, 2, 3], [0, 2, 1, 3])
    # 1 * 1 + 10 * 2 + 5 * 3 + 2 * 4, then a new order, and 100 packets that the second rule decides
    assert policy_tests(firewall, policy) == 44 + 4 * RELOAD_TESTS + 200
    assert policy.heard == [[1, 10, 5, 0, 2], [0, 0, 100, 0, 0]]
    assert first_order_tests(firewall) == 44 + 200


def test_an_order_that_stays_costs_nothing(firewall: Firewall) -> None:
    stays, changes = ([1, 0, 2, 3], [1, 0, 2, 3]), ([1, 0, 2, 3], [0, 1, 2, 3])
    tests = [policy_tests(firewall, Says(*orders)) for orders in (stays, changes)]
    assert tests == [2 + 10 + 15 + 8 + 100 + 100, 2 + 10 + 15 + 8 + 200 + 200]


def test_an_order_changed_in_place_is_a_new_one(firewall: Firewall) -> None:
    order = [1, 0, 2, 3]

    class Swaps(Says):
        def decided(self, counts: list[int]) -> None:
            order[:2] = [0, 1]

    assert policy_tests(firewall, Swaps(order, order)) == 2 + 10 + 15 + 8 + 100 + 200 + 100


def test_the_bound_as_worked_by_hand(firewall: Firewall) -> None:
    # Nothing saves the 100 tests of a new order in the first interval; in both together 110 do.
    assert least_tests(firewall) == 100 + 2 + 10 + 15 + 8 + 100


@settings(max_examples=60, deadline=None)
@given(small_firewalls)
def test_the_bound_is_the_optimum_of_all_orders_at_all_times(firewall: Firewall) -> None:
    orders = allowed_orders(firewall)
    table = Table(firewall)
    costs: list[list[int]] = []
    for order in orders:
        table.load(order)
        costs.append([table.tests_of(packets) for packets in firewall.epochs])
    least = [0 if place == 0 else firewall.reload_tests for place in range(len(orders))]
    for epoch in range(len(firewall.epochs)):
        changed = min(least) + firewall.reload_tests
        least = [
            min(before, changed) + cost[epoch] for before, cost in zip(least, costs, strict=True)
        ]
    assert orders[0] == list(range(len(firewall.rules)))
    assert least_tests(firewall) == min(least)


@settings(max_examples=60, deadline=None)
@given(small_firewalls)
def test_what_is_loose_is_never_more_than_what_is_exact(firewall: Firewall) -> None:
    best, loose = BestOrder(firewall), LooseOrder(firewall)
    for begin, end in pairwise(range(len(firewall.epochs) + 1)):
        assert loose.tests_of(begin, end) <= best.tests_of(begin, end)


def test_what_is_loose_is_exact_where_all_may_pass_and_none_overlap() -> None:
    rules = tuple((place, place, 0, 9, 0, 9, 0, 9, place % 2) for place in range(7))
    packets = ((3, 0, 50, 7, 7, 1, 20, 9),)
    firewall = Firewall(rules, (*((place,) for place in range(7)), ()), packets)
    expected = 50 * 1 + 20 * 2 + 7 * 3 + 7 * 4 + 3 * 5 + 1 * 6 + 0 * 7 + 9 * 7
    assert LooseOrder(firewall).tests_of(0, 1) == BestOrder(firewall).tests_of(0, 1) == expected


class Rambles(Says):
    """Any order that is allowed, now and then another."""

    def __init__(self, firewall: Firewall, draw: random.Random) -> None:
        super().__init__()
        self.firewall, self.draw = firewall, draw
        self.now = list(range(len(firewall.rules)))

    def order(self) -> list[int]:
        if self.draw.random() < 0.5:
            keys = [self.draw.random() for _ in self.now]
            order: dict[int, None] = {}
            for rule in sorted(self.now, key=keys.__getitem__):
                need = self.firewall.needs[rule]
                order.update((one, None) for one in range(rule) if need >> one & 1)
                order[rule] = None
            self.now = list(order)
        return self.now


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(FAMILIES)), st.integers(2, 16))
def test_no_policy_beats_the_bound(seed: int, family: str, rules: int) -> None:
    draw = random.Random(seed)
    draws = Draws(draw.randbytes(8), "bound")
    firewall = some_firewall(family, draw.choice(sorted(MIXES)), rules, 4, draws)
    values = from_unit(FirewallOrder.parameters, [draw.random() for _ in PARAMETERS])
    own = Policy(firewall.rules, firewall.reload_tests, values)
    least = least_tests(firewall)
    assert least <= policy_tests(firewall, Rambles(firewall, draw))
    assert least <= policy_tests(firewall, own)
    assert least <= first_order_tests(firewall)


RULE = "all rules 0..3, each once, those that intersect and differ in action in their first order"


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ([2, 0, 1, 3], RULE),
        ([0, 1, 3, 2], RULE),
        ([0, 1, 2], RULE),
        ([0, 1, 2, 3, 3], RULE),
        ([0, 1, 1, 3], RULE),
        ([0, 1, 2, 4], RULE),
        ([-1, 0, 1, 2], RULE),
        ([], RULE),
        ([False, True, 2, 3], RULE),
        ([0.0, 1, 2, 3], RULE),
        ([0, 1, 2, float("nan")], RULE),
        ([0, 1, 2, None], RULE),
        ([0, 1, 2, [3]], RULE),
        ([0, 1, 2, 10**6_000], RULE),
        ([0] * 10**5, RULE),
        ((0, 1, 2, 3), "a list, not tuple"),
        (None, "a list, not None"),
        ("0123", "a list, not str"),
        (3, "a list, not int"),
        ({0: 1}, "a list, not dict"),
    ],
)
def test_no_wrong_answer_gets_by(firewall: Firewall, answer: Any, rule: str) -> None:
    with pytest.raises(WrongAnswer) as refused:
        policy_tests(firewall, Says(answer))
    assert refused.value.method == "order"
    assert rule in refused.value.detail


def test_nested_rules_are_made_inside_out_and_none_twice() -> None:
    for family in FAMILIES:
        rules = some_rules(FAMILIES[family], 40, Draws(b"seed", family))
        assert len({rule[:ACTION] for rule in rules}) == 40
        for place, rule in enumerate(rules):
            assert not any(encloses(rule, later) for later in rules[place + 1 :])
            assert all(low <= high for low, high in zip(rule[:ACTION:2], rule[1::2], strict=False))


def test_some_rules_decide_much_more_than_others() -> None:
    firewall = some_firewall("access-list", "steady", 40, 50, Draws(b"seed", "packets"))
    counts = sorted((sum(column) for column in zip(*firewall.epochs, strict=True)), reverse=True)
    assert sum(counts[:8]) > sum(counts) / 2


def test_what_is_wanted_changes_with_the_mix() -> None:
    def change(mix: str) -> float:
        """How much of the packets comes for other rules than in the interval before."""
        epochs = some_firewall("chain", mix, 20, 100, Draws(b"seed", "mix")).epochs
        shares = [[count / sum(epoch) for count in epoch] for epoch in epochs]
        moved = (
            sum(abs(now - old) for now, old in zip(one, other, strict=True)) / 2
            for one, other in pairwise(shares)
        )
        return sum(moved) / (len(shares) - 1)

    assert change("steady") < change("drifting")
    assert change("steady") < change("attacked")


@pytest.mark.parametrize("workload", FirewallOrder.training_workloads)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: FirewallOrder
) -> None:
    scenarios = problem.recorded(workload)
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert len(scenarios) == len(SIZES) * len(MIXES)
    assert not score.dropped
    for scenario in scenarios:
        assert len(scenario.firewall.epochs) == EPOCHS
        assert scenario.baseline > 1.05 * scenario.bound
        assert score.scenarios[scenario.name].achieved > scenario.bound


def test_no_two_workloads_have_rules_in_common() -> None:
    names = [name for name in WORKLOADS if name.startswith("firewall")]
    workloads = list(map(FirewallOrder().recorded, names))
    made = [one.firewall.rules for workload in workloads for one in workload]
    assert len(workloads) == 3
    assert len(set(made)) == len(made)


def test_the_problem_is_found() -> None:
    found = find_problem("security")
    assert isinstance(found, Problem)
    assert (found.specialization, found.cost_unit) == ("security", "rules tested")


def test_evaluation_is_deterministic(problem: FirewallOrder) -> None:
    values = defaults(problem.parameters)
    assert problem.evaluate(values, "chain") == problem.evaluate(values, "chain")


@pytest.mark.parametrize("parameter", FirewallOrder.parameters, ids=lambda one: one.name)
def test_each_parameter_matters(problem: FirewallOrder, parameter: Parameter) -> None:
    values = defaults(problem.parameters)
    scores = {
        problem.evaluate(values | {parameter.name: parameter.from_unit(unit)}, "chain").gap_closed
        for unit in (0.0, 0.25, 0.5, 0.75, 1.0)
    }
    assert len(scores) >= 3


def test_bad_values_are_refused(problem: FirewallOrder) -> None:
    values = defaults(problem.parameters)
    bad: list[tuple[dict[str, float], str]] = [
        (values | {"speed": 1.0}, "unknown parameter 'speed'"),
        (values | {"memory": float("nan")}, "memory: nan is not within"),
    ]
    for refused, reason in bad:
        with pytest.raises(ProblemError, match=re.escape(reason)):
            problem.evaluate(refused, "chain")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "../chain")


def test_search_improves_on_the_defaults(problem: FirewallOrder) -> None:
    start = problem.evaluate(defaults(problem.parameters), "chain")
    found = search(problem, "chain", evaluations=60, seed=1)
    assert found.score.gap_closed > start.gap_closed + 0.02


def test_what_decides_more_comes_first_and_what_it_needs_before_it() -> None:
    policy = Policy([DENY_LOW, ACCEPT_HIGH, ACCEPT_ALL, DENY_DNS], 4)
    before = policy.order()
    policy.decided([0, 1, 90, 9, 0])
    assert (before, policy.order()) == ([0, 1, 2, 3], [0, 2, 3, 1])


def test_a_new_order_must_pay() -> None:
    rules = [ACCEPT_HIGH, DENY_LOW]
    orders = []
    for reload_tests in (39, 40):
        policy = Policy(rules, reload_tests, {**PARAMETERS, "payback_epochs": 4.0})
        policy.decided([0, 10, 0])
        orders.append(policy.order())
    assert orders == [[1, 0], [0, 1]]
