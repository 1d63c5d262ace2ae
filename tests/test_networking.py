"""Congestion control: the queue by hand, its packets all accounted for, its bound never beaten."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import ProblemError, find_problem
from workers.problems.draws import Draws
from workers.problems.networking.bottleneck import Bottleneck, Link, Sender, run
from workers.problems.networking.flows import (
    MOST_PACKETS,
    CongestionPolicy,
    Flow,
    Reno,
    fair_shares,
    geometric_mean,
    power,
)
from workers.problems.networking.flows import (
    Path as FlowPath,
)
from workers.problems.networking.links import CELL_MOST, LEAST, MODELS, capacity
from workers.problems.networking.policy import PARAMETERS, Policy
from workers.problems.networking.problem import (
    INSTANCES,
    SHAPES,
    CongestionControl,
    lost_power,
)
from workers.problems.problem import Parameter, Problem, defaults
from workers.search import search

CONSTANT = Link((0.0,), (1.0,), 20.0)
"""1 packet per ms, and room for 20."""
WITH_OUTAGE = Link((0.0, 10.0, 30.0), (1.0, 0.0, 0.5), 100.0)
WINDOWS = st.lists(st.floats(1, 200), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def problem() -> CongestionControl:
    return CongestionControl()


class Told:
    """Windows as given, again and again, and what was told of each round trip."""

    def __init__(self, *windows: Any) -> None:
        self.windows = itertools.cycle(windows)
        self.told: list[tuple[float, float, float]] = []
        self.asked: list[float] = []

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None:
        self.told.append((acked_packets, lost_packets, rtt_ms))

    def window(self) -> float:
        self.asked.append(next(self.windows))
        return self.asked[-1]


class Steady(Sender):
    """Sends at one rate, and looks at the queue at its own times."""

    def __init__(self, packets_per_ms: float, every_ms: float, work: float = 1.0) -> None:
        self.rate, self.every_ms, self.work = packets_per_ms, every_ms, work
        self.seen: list[tuple[float, float, float]] = []

    def wake(self, bottleneck: Bottleneck) -> float:
        self.packets_per_ms = self.rate
        waits_ms = bottleneck.delay_ms()
        self.seen.append((bottleneck.now_ms, waits_ms, bottleneck.dropping_ms))
        return bottleneck.now_ms + self.every_ms


def flow_alone(policy: CongestionPolicy, link: Link, base_rtt_ms: float, until_ms: float) -> Flow:
    flow = Flow(policy, FlowPath(0.0, base_rtt_ms, ()))
    run(Bottleneck(link), [flow], [0.0], until_ms)
    return flow


def test_what_a_link_carries_and_when() -> None:
    assert [WITH_OUTAGE.carries_packets(at_ms) for at_ms in (0, 4, 10, 20, 30, 40)] == [
        *(0, 4, 10, 10, 10, 15)
    ]
    # the tenth packet is carried at 10, but nothing that comes then goes on before 30
    assert [WITH_OUTAGE.carried_ms(packets) for packets in (0, 4, 10, 11)] == [0, 4, 30, 32]


def test_a_queue_grows_until_the_buffer_is_full() -> None:
    sender = Steady(2.0, 10.0)
    run(Bottleneck(CONSTANT), [sender], [0.0], 45.0)
    # 1 packet per ms stays: 20 after 20 ms, from then on half of what comes is dropped
    assert sender.seen == [(0, 0, 0), (10, 10, 0), (20, 20, 0), (30, 20, 5), (40, 20, 10)]


def test_an_outage_is_waited_for() -> None:
    bottleneck = Bottleneck(WITH_OUTAGE)
    sender = Steady(2.0, 5.0)
    run(bottleneck, [sender], [0.0], 16.0)
    # at 5 there are 5 before it, which are carried until 10, when the outage begins; at 10 there
    # are 10, of 0.5 packets per ms from 30 on
    assert [waits_ms for _, waits_ms, _ in sender.seen] == [0, 25, 40, 55]
    assert (bottleneck.now_ms, bottleneck.queue_packets) == (16, 22)


def test_packets_that_are_more_work_fill_the_queue_faster() -> None:
    light, heavy = Steady(0.5, 10.0), Steady(0.5, 10.0, work=3.0)
    run(Bottleneck(CONSTANT), [light, heavy], [0.0, 0.0], 15.0)
    assert light.seen == heavy.seen == [(0, 0, 0), (10, 10, 0)]


def test_who_is_named_first_is_woken_first_and_nobody_when_time_is_up() -> None:
    order: list[str] = []

    class Named(Steady):
        def __init__(self, name: str, every_ms: float) -> None:
            super().__init__(0.0, every_ms)
            self.name = name

        def wake(self, bottleneck: Bottleneck) -> float:
            order.append(f"{self.name}{bottleneck.now_ms:.0f}")
            return super().wake(bottleneck)

    run(Bottleneck(CONSTANT), [Named("a", 4.0), Named("b", 2.0)], [0.0, 2.0], 8.0)
    assert order == ["a0", "b2", "a4", "b4", "b6"]


def test_a_window_leaves_in_the_queue_what_is_more_than_the_link_holds() -> None:
    policy = Told(25)
    bottleneck = Bottleneck(CONSTANT)
    run(bottleneck, [Flow(policy, FlowPath(0.0, 10.0, ()))], [0.0], 200.0)
    # 10 are on their way, 15 wait; what is told is of the round trip before
    assert policy.told[:4] == [(0, 0, 10), (25, 0, 25), (25, 0, 25), (25, 0, 25)]
    assert bottleneck.queue_packets == 15


def test_what_finds_the_buffer_full_is_told_as_lost_a_round_trip_later() -> None:
    policy = Told(40, 1)
    flow_alone(policy, CONSTANT, 10.0, 61.0)
    # 40 in 10 ms: 30 more than are carried, of which 20 find room; 1 in 30 ms, while 20 are carried
    assert policy.told == [(0, 0, 10), (30, 10, 30), (1, 0, 10)]


def test_the_window_of_most_power_is_what_the_link_holds() -> None:
    """L. Kleinrock's rule: as much under way as fits without a queue; tried with all windows."""

    def power_of(window: int) -> float:
        return power(flow_alone(Told(window), CONSTANT, 30.0, 3_000.0), 3_000.0)

    powers = {window: power_of(window) for window in range(1, 60)}
    assert max(powers, key=powers.__getitem__) == 30
    assert powers[30] == pytest.approx(1, abs=0.03)
    assert powers[15] == pytest.approx(powers[30] / 2, rel=0.01)
    assert powers[45] == pytest.approx(powers[30] / 1.5, rel=0.03)


def test_reno_as_worked_by_hand() -> None:
    reno, windows = Reno(), []
    told = [(0, 0), (1, 0), (2, 0), (4, 0), (6, 2), (12, 4), (8, 0), (8, 0), (8, 0), (8, 1)]
    for acked, lost in told:
        windows.append(reno.window())
        reno.round_trip(acked, lost, 10.0)
    # doubles until 16 are out; half of that, and what was lost of the 16 changes nothing
    assert windows == [1, 2, 4, 8, 16, 8, 8, 9, 10, 11]
    assert reno.window() == 5.5


def test_reno_goes_up_and_down_like_a_saw() -> None:
    class Seen(Reno):
        windows: list[float]

        def window(self) -> float:
            self.windows.append(self.packets)
            return self.packets

    policy = Seen()
    policy.windows = []
    flow_alone(policy, CONSTANT, 20.0, 4_000.0)
    teeth = policy.windows[40:]
    # 20 under way and 20 in the queue are all that fits; of 41 one is lost, which is known after 42
    assert max(teeth) == 42
    assert {after - before for before, after in itertools.pairwise(teeth)} == {-21, 0, 1}


def test_equal_flows_under_equal_policies_fare_alike() -> None:
    flows = [Flow(Reno(), FlowPath(0.0, 20.0, ())) for _ in range(4)]
    run(Bottleneck(CONSTANT), flows, [0.0] * 4, 2_000.0)
    first = (flows[0].delivered_packets, flows[0].waited_ms)
    assert all((one.delivered_packets, one.waited_ms) == first for one in flows)
    assert first[0] == pytest.approx(500, rel=0.1)


def test_which_packets_are_lost_by_chance_is_no_matter_of_the_window() -> None:
    gaps = (2.5, 7.0, 4.0)
    lost_of = {}
    for window in (4, 8):
        policy = Told(window)
        flow = Flow(policy, FlowPath(0.0, 20.0, gaps))
        run(Bottleneck(CONSTANT), [flow], [0.0], 161.0)
        lost_of[window] = [lost for _, lost, _ in policy.told]
    # after 2.5 packets, 9.5, 13.5, 16, 23, 27, 29.5, 36.5, 40.5, 43, 50, 54
    assert lost_of[4] == [0, 1, 0, 1, 2, 0, 1, 1]
    assert lost_of[8] == [0, 1, 3, 1, 2, 1, 2, 2]


def test_fair_shares_as_worked_by_hand() -> None:
    assert fair_shares(CONSTANT, [0, 0, 0, 0], 100) == [25, 25, 25, 25]
    # the second has at most the last quarter; the first has all the rest
    assert fair_shares(CONSTANT, [0, 75], 100) == [75, 25]
    # half of all is less than what is left for the second when it comes
    assert fair_shares(CONSTANT, [0, 25], 100) == [50, 50]
    assert fair_shares(CONSTANT, [0, 10, 70, 80], 100) == [35, 35, 15, 15]


@settings(deadline=None)
@given(st.lists(st.floats(0, 90), min_size=2, max_size=4), st.lists(st.floats(0.01, 1), min_size=4))
def test_no_division_that_is_possible_has_a_larger_product(
    starts_ms: list[float], wishes: list[float]
) -> None:
    starts_ms.sort()
    shares = fair_shares(WITH_OUTAGE, starts_ms, 100)
    whole = WITH_OUTAGE.carries_packets(100)
    others: list[float] = []
    # each takes a part of what is left for it, the last to come first
    for start_ms, wish in zip(reversed(starts_ms), wishes, strict=False):
        others.append(wish * (whole - WITH_OUTAGE.carries_packets(start_ms) - math.fsum(others)))
    assert sum(map(lambda other, share: other / share, reversed(others), shares)) <= (
        len(shares) + 1e-9
    )


def test_geometric_mean() -> None:
    assert geometric_mean([0.25]) == 0.25
    assert geometric_mean([4.0, 9.0]) == 6.0
    assert geometric_mean([1.0, 16.0, 4.0, 4.0]) == 4.0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([CONSTANT, WITH_OUTAGE]), WINDOWS, WINDOWS, st.floats(0, 300))
def test_every_packet_is_acknowledged_or_lost_and_nothing_beats_the_bound(
    link: Link, ours: list[float], theirs: list[float], start_ms: float
) -> None:
    policies = [Told(*ours), Told(*theirs)]
    paths = [FlowPath(0.0, 15.0, (30.0, 7.0)), FlowPath(start_ms, 40.0, ())]
    flows = [Flow(policy, path) for policy, path in zip(policies, paths, strict=True)]
    bottleneck = Bottleneck(link)
    run(bottleneck, flows, [0.0, start_ms], 1_000.0)
    shares = fair_shares(link, [0.0, start_ms], 1_000.0)
    for policy, flow in zip(policies, flows, strict=True):
        accounted = math.fsum(acked + lost for acked, lost, _ in policy.told)
        # all but the two round trips that nothing is known of yet
        assert accounted == pytest.approx(math.fsum(policy.asked[:-2]))
        acked_packets = math.fsum(acked for acked, _, _ in policy.told)
        assert flow.delivered_packets == pytest.approx(acked_packets)
        assert all(rtt_ms >= flow.path.base_rtt_ms for _, _, rtt_ms in policy.told)
    whole = link.carries_packets(1_000.0)
    assert math.fsum(flow.delivered_packets for flow in flows) <= whole * (1 + 1e-9)
    assert 0 <= bottleneck.queue_packets <= link.buffer_packets
    assert geometric_mean([power(*one) for one in zip(flows, shares, strict=True)]) <= 1 + 1e-9


def test_who_gets_nothing_costs_all() -> None:
    paths = (FlowPath(0.0, 20.0, ()), FlowPath(0.0, 20.0, (1.0,)))
    assert lost_power(lambda: Told(1), CONSTANT, paths, 1_000.0) == 1.0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (0.5, "window() answered 0.5: it must be a number of packets, 1..10000"),
        (0, "window() answered 0.0: it must be a number of packets, 1..10000"),
        (MOST_PACKETS + 1, "window() answered 10001.0: it must be a number of packets"),
        (math.nan, "window() answered nan: it must be a number of packets"),
        (math.inf, "window() answered inf: it must be a number of packets"),
        (10**400, "it must be a float, not int"),
        (True, "window() answered True: it must be a float, not bool"),
        ("5", "window() answered '5': it must be a float, not str"),
        ([5.0], "window() answered [5.0]: it must be a float, not list"),
        (None, "window() answered None: it must be a float, not None"),
    ],
)
def test_a_window_that_is_none_is_refused(answer: object, reason: str) -> None:
    with pytest.raises(ProblemError, match=re.escape(reason)):
        flow_alone(Told(5, answer), CONSTANT, 10.0, 100.0)


def test_the_policy_keeps_in_the_queue_what_it_wants_there() -> None:
    bottleneck = Bottleneck(CONSTANT)
    values = {**PARAMETERS, "base_memory_ms": 50_000.0}
    flows = [Flow(Policy(values), FlowPath(0.0, base_rtt_ms, ())) for base_rtt_ms in (20.0, 60.0)]
    run(bottleneck, flows, [0.0, 0.0], 30_000.0)
    assert bottleneck.queue_packets == pytest.approx(2 * PARAMETERS["queued_packets"], rel=0.02)
    assert flows[0].delivered_packets == pytest.approx(flows[1].delivered_packets, rel=0.1)


def test_the_policy_forgets_a_least_round_trip_time_after_a_while() -> None:
    policy = Policy({**PARAMETERS, "base_memory_ms": 100.0})
    for rtt_ms in (20.0, 50.0, 40.0, 50.0):
        policy.round_trip(10.0, 0.0, rtt_ms)
    assert [least_ms for _, least_ms in policy.least_ms] == [40.0, 50.0]


@pytest.mark.parametrize("model", MODELS)
def test_links_have_a_capacity_of_their_model(model: str) -> None:
    begins_ms, rates = capacity(model, 60_000.0, Draws(b"seed", model))
    assert len(begins_ms) == len(rates)
    assert begins_ms[0] == 0
    assert (begins_ms[-1], rates[-1]) == (60_000, LEAST)
    assert all(before < after for before, after in itertools.pairwise(begins_ms))
    assert all(0 <= rate <= 1 for rate in rates)
    distinct = {"wired": [1], "wireless": [2], "shared": range(4, 10), "cellular": range(99, 601)}
    assert len(set(rates[:-1])) in distinct[model]


def test_a_cellular_link_has_outages_and_they_end() -> None:
    _, rates = capacity("cellular", 10_000_000.0, Draws(b"seed", "cellular"))
    stays = [length for is_out, length in runs_of(rates) if is_out]
    assert max(rates) == CELL_MOST / 1_000
    # 1 s on average, in ticks of 0.1 s
    assert sum(stays) / len(stays) == pytest.approx(10, rel=0.2)


def runs_of(rates: Sequence[float]) -> list[tuple[bool, int]]:
    """Whether it is an outage, and how many ticks it lasts."""
    groups = itertools.groupby(rates, lambda rate: rate == 0)
    return [(is_out, len(list(group))) for is_out, group in groups]


def test_the_workloads_have_nothing_in_common(problem: CongestionControl) -> None:
    names = (
        *problem.training_workloads,
        *problem.development_workloads,
        *problem.held_out_workloads,
    )
    scenarios = [one for name in names for one in problem.recorded(name)]
    assert len(scenarios) == len(names) * len(SHAPES) * INSTANCES
    paths = [path.base_rtt_ms for one in scenarios for path in one.paths]
    assert len(set(paths)) == len(paths)
    assert len({one.link for one in scenarios}) == len(scenarios)


@pytest.mark.parametrize("workload", ["wired", "cellular-held-out"])
def test_the_baseline_is_what_reno_costs(problem: CongestionControl, workload: str) -> None:
    score = problem.evaluate_policies({"networking": Reno}, problem.recorded(workload))
    assert (score.gap_closed, score.dropped) == (0, ())
    assert all(0 < one.baseline < 1 for one in score.scenarios.values())


@pytest.mark.parametrize("name", ["", "wires", "wired-", "wired-held", "../wired"])
def test_an_unknown_workload_is_refused(problem: CongestionControl, name: str) -> None:
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.recorded(name)


def test_the_problem_is_found() -> None:
    found = find_problem("networking")
    assert isinstance(found, Problem)
    assert (found.name, found.cost_unit) == ("congestion_control", "lost power")


def test_no_scenario_asks_more_than_a_validation_has_time_for(problem: CongestionControl) -> None:
    for scenario in problem.generated(b"seed"):
        policies: list[Told] = []

        def make(made: list[Told] = policies) -> Told:
            made.append(Told(1.0))
            return made[-1]

        problem.measure({"networking": make}, scenario)
        assert len(policies) == len(scenario.paths)
        assert sum(len(policy.asked) for policy in policies) < 3_000


def test_evaluation_is_deterministic(problem: CongestionControl) -> None:
    values = defaults(problem.parameters)
    score = problem.evaluate(values, "shared")
    assert score == problem.evaluate(values, "shared")
    assert score.gap_closed > 0.1


@pytest.mark.parametrize(
    "parameter", CongestionControl.parameters, ids=lambda parameter: parameter.name
)
def test_each_parameter_matters(problem: CongestionControl, parameter: Parameter) -> None:
    values = defaults(problem.parameters) | {"queued_packets": 1.0, "gain": 0.8}
    scores = set()
    for unit in (0.0, 0.5, 1.0):
        varied = values | {parameter.name: parameter.from_unit(unit)}
        scores.add(tuple(problem.evaluate(varied, one).gap_closed for one in ("wired", "wireless")))
    assert len(scores) == 3


def test_search_improves_on_the_defaults(problem: CongestionControl) -> None:
    start, held_out = (
        problem.evaluate(defaults(problem.parameters), name) for name in ("wired", "wired-held-out")
    )
    found = search(problem, "wired", evaluations=60, seed=1)
    assert found.score.gap_closed > start.gap_closed + 0.1
    assert problem.evaluate(found.values, "wired-held-out").gap_closed > held_out.gap_closed
