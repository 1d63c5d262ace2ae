"""Flows that pass a firewall under two policies: what is replayed, its bound, its rules."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import JointProblem, ProblemError, find_joint_problem
from workers.problems.networking.bottleneck import Bottleneck, Link
from workers.problems.networking.flows import Flow, Path, Reno
from workers.problems.pairs.firewall_and_congestion import (
    EPOCHS,
    FLOWS,
    FirewallAndCongestion,
    scenario,
)
from workers.problems.pairs.inspection import (
    MOST_OTHERS,
    PACKET_TESTS,
    TEST_MS,
    FirstOrder,
    Gate,
    Inspection,
    replay,
    taken,
)
from workers.problems.policies import WrongAnswer
from workers.problems.problem import defaults
from workers.problems.security.filters import FAMILIES, MIXES
from workers.problems.security.problem import FirewallOrder
from workers.problems.security.rules import ACTION, Firewall
from workers.search import search

DENY_LOW = (0, 1, 0, 9, 0, 9, 0, 9, 0)
ACCEPT_HIGH = (4, 5, 0, 9, 0, 9, 0, 9, 1)
ACCEPT_ALL = (0, 9, 0, 9, 0, 9, 0, 9, 1)


@pytest.fixture(scope="module")
def problem() -> FirewallAndCongestion:
    return FirewallAndCongestion()


@pytest.fixture
def inspection() -> Inspection:
    """A flow that the third rule decides, which stays behind the first, and 50 packets of others
    that the second decides, in each of four intervals of 250 ms."""
    firewall = Firewall((DENY_LOW, ACCEPT_HIGH, ACCEPT_ALL), ((1,), (2,)), ((50, 0),) * 4)
    return Inspection(firewall, (1,), (Path(0.0, 50.0, ()),), 1_000.0)


class Constant:
    """A window that stays."""

    def __init__(self, packets: Any) -> None:
        self.packets = packets

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None: ...

    def window(self) -> Any:
        return self.packets


class Orders:
    """The orders that it was given, and what it heard."""

    def __init__(self, *orders: Any) -> None:
        self.orders = list(orders)
        self.heard: list[list[int]] = []

    def decided(self, counts: list[int]) -> None:
        self.heard.append(counts)

    def order(self) -> Any:
        return self.orders.pop(0)


def test_what_a_packet_is_worth_in_an_order(inspection: Inspection) -> None:
    flow = Flow(Constant(10.0), inspection.paths[0])
    gate = Gate(inspection, Orders([0, 1, 2], [0, 2, 1]), [flow])
    cpu = Bottleneck(Link((0.0,), (1.0,), 100.0))
    wakes_ms, work = [], []
    for _ in range(2):
        wakes_ms.append(gate.wake(cpu))
        work.append(flow.work)
    # Others take 50 * (2 + 2) tests of 0.1 ms of 250, then 50 * (2 + 3) and 3 * 25 for the order.
    assert wakes_ms == [250.0, 500.0]
    assert work == pytest.approx([0.5 / (1 - 20 / 250), 0.4 / (1 - 32.5 / 250)])


def test_the_firewall_hears_of_flows_and_of_others(inspection: Inspection) -> None:
    orders = Orders(*[[0, 1, 2]] * 4)
    outcome = replay(inspection, lambda: Constant(10.0), lambda *_: orders)
    # Ten packets in each round trip of 50 ms: as an interval ends, that of its last is just over,
    # but its end comes behind the firewall's.
    assert orders.heard == [[0, 50, 40, 0], [0, 50, 50, 0], [0, 50, 50, 0]]
    assert outcome.rules_tested == pytest.approx((150 * 2 + 140 * 3) / 290)


def test_power_as_worked_by_hand(inspection: Inspection) -> None:
    outcome = replay(inspection, lambda: Constant(10.0), FirstOrder)
    # 20 windows are sent before the end, and the last two not acknowledged. No packet takes less
    # than 0.1 * (2 + 2) ms, and others leave 1 - 50 * (2 + 1) * 0.1 / 250 of the time.
    assert inspection.fair_packets == pytest.approx([1_000 * (1 - 15 / 250) / 0.4])
    assert outcome.cost == pytest.approx(1 - 180 / inspection.fair_packets[0])


def test_others_leave_something() -> None:
    assert taken(10, 5, 100.0) == pytest.approx(TEST_MS * (5 * PACKET_TESTS + 10) / 100)
    assert taken(10**6, 10**6, 100.0) == MOST_OTHERS


@pytest.mark.parametrize("window", [0.5, float("nan"), True, None, 10**400])
def test_no_wrong_window_gets_by(inspection: Inspection, window: Any) -> None:
    with pytest.raises(WrongAnswer, match=r"window\(\) answered"):
        replay(inspection, lambda: Constant(window), FirstOrder)


@pytest.mark.parametrize("order", [[0, 1], [2, 0, 1], [0, 1, True], None])
def test_no_wrong_order_gets_by(inspection: Inspection, order: Any) -> None:
    with pytest.raises(WrongAnswer, match=r"order\(\) answered"):
        replay(inspection, Reno, lambda *_: Orders(order))


class Wild:
    """Any window, now and then another."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.packets = 1.0

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None: ...

    def window(self) -> float:
        if self.draw.random() < 0.1:
            self.packets = 10 ** self.draw.uniform(0, 3)
        return self.packets


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(FAMILIES)), st.sampled_from(FLOWS))
def test_no_policies_beat_the_bound(seed: int, family: str, flows: int) -> None:
    draw = random.Random(seed)
    made = scenario(family, draw.choice(sorted(MIXES)), flows, draw.randbytes(4))
    order = FirewallOrder()
    units = {one.name: one.from_unit(draw.random()) for one in order.parameters}
    orders = order.makers(units)["security"]
    for windows in (lambda: Wild(draw), lambda: Constant(draw.choice((2.0, 20.0, 200.0)))):
        assert 0 <= replay(made.inspection, windows, orders).cost <= 1


@pytest.mark.parametrize("workload", FirewallAndCongestion.training_workloads)
def test_every_workload_has_a_gap_and_the_defaults_close_a_part(
    workload: str, problem: FirewallAndCongestion
) -> None:
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert not score.dropped
    assert len(score.scenarios) == 3 * len(FLOWS)
    assert all(0 < one.achieved < one.baseline <= 1 for one in score.scenarios.values())
    assert score.beside["rules_tested"] < score.beside["baseline_rules_tested"]


def test_flows_are_accepted_and_no_window_limits_the_others() -> None:
    for one in FirewallAndCongestion().recorded("chain"):
        firewall, kinds = one.inspection.firewall, one.inspection.kinds
        assert len(kinds) == len(one.inspection.paths)
        assert all(firewall.rules[firewall.deciders[kind][0]][ACTION] for kind in kinds)
        packets = [sum(epoch) for epoch in firewall.epochs]
        assert len(packets) == EPOCHS
        assert max(packets) < 1.2 * min(packets)


def test_the_problem_is_found() -> None:
    found = find_joint_problem("security", "networking")
    assert isinstance(found, JointProblem)
    assert found.specializations == ("networking", "security")
    with pytest.raises(ProblemError, match="unknown workload"):
        found.recorded("../chain")


def test_evaluation_is_deterministic(problem: FirewallAndCongestion) -> None:
    values = defaults(problem.parameters)
    assert problem.evaluate(values, "chain") == problem.evaluate(values, "chain")


def test_each_policy_makes_a_difference(problem: FirewallAndCongestion) -> None:
    start = problem.evaluate(defaults(problem.parameters), "firewall").gap_closed
    for name, value in (("congestion.queued_packets", 20.0), ("firewall.group_power", 0.0)):
        varied = defaults(problem.parameters) | {name: value}
        assert abs(problem.evaluate(varied, "firewall").gap_closed - start) > 0.01


def test_search_improves_on_the_defaults(problem: FirewallAndCongestion) -> None:
    start = problem.evaluate(defaults(problem.parameters), "access-list")
    found = search(problem, "access-list", evaluations=60, seed=1)
    assert found.score.gap_closed > start.gap_closed + 0.01
