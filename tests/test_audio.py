"""The playout delay: its queue and its costs by hand, its bound against brute force, its policy."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.problems import Problem, ProblemError, find_problem
from workers.problems.audio.jitter import (
    BUFFER_MS,
    MODELS,
    PACKET_MS,
    PAUSE_MS,
    SPURT_MS,
    delays_ms,
    talk_spurts,
)
from workers.problems.audio.policy import PARAMETERS, Policy
from workers.problems.audio.problem import (
    BASELINE_MS,
    LATE_PACKET_MS,
    LATE_PERCENT_MS,
    LONGEST_MS,
    NETWORKS,
    PATHS,
    SPURTS,
    WORKLOADS,
    PlayoutDelay,
    least_cost_ms,
    mean_cost_ms,
    spurt_cost_ms,
)
from workers.problems.draws import Draws
from workers.problems.policies import WrongAnswer
from workers.problems.problem import Parameter, defaults
from workers.search import search

SPURT = (10.0, 40.0, 0.0, 20.0)
DELAYS_MS = st.lists(st.integers(0, 100).map(float), min_size=1, max_size=30).map(tuple)


@pytest.fixture(scope="module")
def problem() -> PlayoutDelay:
    return PlayoutDelay()


@pytest.fixture
def draws() -> Draws:
    return Draws(b"test", "audio")


class Fixed:
    """A playout delay that is always the same, and a record of what was called."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[float | str] = []

    def arrived(self, delay_ms: float) -> None:
        self.calls.append(delay_ms)

    def delay_ms(self) -> Any:
        self.calls.append("asked")
        return self.answer


class Planned(Fixed):
    """One for each spurt."""

    def __init__(self, answers: Sequence[float]) -> None:
        super().__init__(None)
        self.answers = iter(answers)

    def delay_ms(self) -> float:
        return next(self.answers)


def test_a_packet_waits_for_the_work_that_came_before_it() -> None:
    work_ms = [10.0, 0.0, 35.0, 0.0, 1.5, 0.0, BUFFER_MS + 9.0, 30.0]
    waited_ms = [10.0, 0.0, 35.0, 15.0, 1.5, 0.0, BUFFER_MS, BUFFER_MS]
    assert list(delays_ms(iter(work_ms))) == waited_ms


def test_spurts_and_pauses_last_as_long_as_they_should(draws: Draws) -> None:
    spurts = list(itertools.islice(talk_spurts(draws), 20_000))
    assert min(map(min, spurts)) == 1
    for packets, mean_ms in zip(zip(*spurts, strict=True), (SPURT_MS, PAUSE_MS), strict=True):
        assert fmean(packets) * PACKET_MS == pytest.approx(mean_ms + PACKET_MS / 2, rel=0.03)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_delays_some_packets_more_than_others(network: str, draws: Draws) -> None:
    delays = list(itertools.islice(delays_ms(MODELS[network](draws)), 5_000))
    assert 0 <= min(delays) < 5
    assert 30 < max(delays) <= BUFFER_MS
    # A queue that is not empty gets shorter by no more than the time that passes.
    assert all(after >= before - PACKET_MS - 0.002 for before, after in itertools.pairwise(delays))


def test_what_a_spurt_costs() -> None:
    costs_ms = [spurt_cost_ms(SPURT, playout_ms) for playout_ms in (0, 10, 19.9, 20, 60)]
    assert costs_ms == [
        3 * LATE_PACKET_MS,
        4 * 10 + 2 * LATE_PACKET_MS,
        4 * 19.9 + 2 * LATE_PACKET_MS,
        4 * 20 + LATE_PACKET_MS,
        4 * 60,
    ]


def test_a_cost_is_the_mean_latency_and_so_much_for_each_late_percent() -> None:
    spurts = [SPURT, (5.0,)]
    assert mean_cost_ms(Fixed(30.0), spurts) == 30 + 20 * LATE_PERCENT_MS
    assert mean_cost_ms(Planned([40, 5.0]), spurts) == (4 * 40 + 5) / 5


def test_only_what_has_come_is_told_when_a_spurt_begins() -> None:
    policy = Fixed(0)
    mean_cost_ms(policy, [SPURT, (5.0,), (6.0, 7.0)])
    assert policy.calls == [10.0, "asked", 40.0, 0.0, 20.0, 5.0, "asked", 6.0, "asked", 7.0]


def test_a_late_packet_is_given_up_where_waiting_for_it_costs_all_others_more() -> None:
    assert least_cost_ms(SPURT) == 4 * 40
    assert least_cost_ms((*[10.0] * 99, 500.0)) == 100 * 10 + LATE_PACKET_MS
    assert least_cost_ms((3.0,)) == 3
    assert least_cost_ms((LONGEST_MS + 0.5,)) == LATE_PACKET_MS


@given(DELAYS_MS)
def test_the_bound_is_the_optimum_of_all_delays(spurt: tuple[float, ...]) -> None:
    grid = (spurt_cost_ms(spurt, half_ms / 2) for half_ms in range(201))
    assert least_cost_ms(spurt) == min(grid)


@given(st.lists(st.tuples(DELAYS_MS, st.floats(0, LONGEST_MS)), min_size=1, max_size=5))
def test_nothing_is_better_than_the_bound(plan: list[tuple[tuple[float, ...], float]]) -> None:
    spurts = [spurt for spurt, _ in plan]
    packets = sum(map(len, spurts))
    bound_ms = sum(map(least_cost_ms, spurts)) / packets
    for policy in (Planned([playout_ms for _, playout_ms in plan]), Policy()):
        assert mean_cost_ms(policy, spurts) >= bound_ms - 1e-9


def test_knowing_the_future_reaches_the_bound(problem: PlayoutDelay) -> None:
    for scenario in problem.recorded("spikes"):
        best_ms = [
            min((spurt_cost_ms(spurt, playout_ms), playout_ms) for playout_ms in (0.0, *spurt))[1]
            for spurt in scenario.spurts
        ]
        reached = mean_cost_ms(Planned(best_ms), scenario.spurts)
        assert reached == pytest.approx(scenario.bound, rel=1e-12)


NO_DELAYS: list[Any] = [
    *(True, None, "60", [60.0], {}, float("nan"), float("inf")),
    *(-1, -0.001, LONGEST_MS + 1, 10**400),
]


@pytest.mark.parametrize("answer", NO_DELAYS, ids=lambda answer: repr(answer)[:20])
def test_an_answer_that_is_no_delay_is_refused(answer: Any) -> None:
    with pytest.raises(WrongAnswer, match=re.escape("the policy's delay_ms() answered ")):
        mean_cost_ms(Fixed(answer), [SPURT])


def test_by_default_it_is_the_mean_and_four_variations() -> None:
    values = {**PARAMETERS, "rise_packets": 10.0, "fall_packets": 10.0}
    policy = Policy(values)
    policy.arrived(30.0)
    # The mean goes from 20 to 21, and the variation from 10 to 10 + (|30 - 21| - 10) / 10.
    assert policy.delay_ms() == pytest.approx(21 + 4 * 9.9)


def test_a_mean_may_rise_faster_than_it_falls() -> None:
    policy = Policy({**PARAMETERS, "rise_packets": 1.0, "fall_packets": 4.0, "variations": 0.0})
    means_ms = []
    for delay_ms in (100.0, 60.0):
        policy.arrived(delay_ms)
        means_ms.append(policy.mean_ms)
    assert means_ms == [100.0, 90.0]


def test_most_of_the_last_delays_would_have_been_in_time() -> None:
    values = {"window_packets": 5, "quantile": 0.75, "quantile_weight": 1.0, "above_weight": 0.0}
    policy = Policy({**PARAMETERS, **values})
    for delay_ms in (999.0, 10.0, 50.0, 30.0, 20.0, 40.0):
        policy.arrived(delay_ms)
    assert policy.delay_ms() == 40.0


@pytest.mark.parametrize(("first_ms", "playout_ms"), [(200.0, 150.0), (20.0, 80.0)])
def test_a_spurt_follows_its_first_packet(first_ms: float, playout_ms: float) -> None:
    values = {"above_weight": 0.5, "below_weight": 0.25, "quantile": 0.5, "quantile_weight": 1.0}
    policy = Policy({**PARAMETERS, **values})
    for delay_ms in (100.0, 100.0, first_ms):
        policy.arrived(delay_ms)
    assert policy.delay_ms() == playout_ms


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: PlayoutDelay
) -> None:
    scenarios = problem.recorded(workload)
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert len(scenarios) == PATHS
    assert not score.dropped
    for scenario in scenarios:
        assert len(scenario.spurts) == SPURTS
        assert scenario.baseline == mean_cost_ms(Fixed(BASELINE_MS), scenario.spurts)
        assert scenario.baseline > 1.1 * scenario.bound
        assert score.scenarios[scenario.name].achieved > scenario.bound


def test_no_two_scenarios_have_speech_or_delays_in_common(problem: PlayoutDelay) -> None:
    workloads = [*map(problem.recorded, WORKLOADS), *map(problem.generated, (b"one", b"2"))]
    scenarios = [one.spurts for workload in workloads for one in workload]
    for ours, theirs in itertools.combinations(scenarios, 2):
        assert sum(map(operator.eq, map(len, ours), map(len, theirs))) < SPURTS / 4
        assert sum(map(operator.eq, ours, theirs)) < SPURTS / 10


def test_the_problem_is_found() -> None:
    found = find_problem("audio")
    assert isinstance(found, Problem)
    assert (found.specialization, found.cost_unit) == ("audio", "ms")


def test_evaluation_is_deterministic(problem: PlayoutDelay) -> None:
    values = defaults(problem.parameters)
    assert problem.evaluate(values, "calm") == problem.evaluate(values, "calm")


@pytest.mark.parametrize("parameter", PlayoutDelay.parameters, ids=lambda parameter: parameter.name)
def test_each_parameter_matters(problem: PlayoutDelay, parameter: Parameter) -> None:
    values = defaults(problem.parameters) | {"quantile_weight": 0.5}
    scores = {
        problem.evaluate(
            values | {parameter.name: parameter.from_unit(unit)}, "congested"
        ).gap_closed
        for unit in (0.0, 0.25, 0.5, 0.75, 1.0)
    }
    assert len(scores) >= 4


def test_bad_values_are_refused(problem: PlayoutDelay) -> None:
    values = defaults(problem.parameters)
    with pytest.raises(ProblemError, match=r"quantile: 1\.5 is not within"):
        problem.evaluate(values | {"quantile": 1.5}, "calm")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "calm-secret")


@pytest.mark.parametrize(
    ("training", "held_out"),
    list(zip(PlayoutDelay.training_workloads, PlayoutDelay.held_out_workloads, strict=True)),
)
def test_what_a_search_finds_is_worth_something_elsewhere(
    training: str, held_out: str, problem: PlayoutDelay
) -> None:
    start = problem.evaluate(defaults(problem.parameters), training)
    found = search(problem, training, evaluations=40, seed=1)
    assert found.score.gap_closed > start.gap_closed + 0.05
    assert problem.evaluate(found.values, held_out).gap_closed > 0.1
