"""The CPU scheduling problem: its bound against brute force, its rules, its component."""

from __future__ import annotations

import gzip
import itertools
import random
import re
from functools import partial
from importlib import resources

import pytest

from workers.problems import ProblemError, find_problem
from workers.problems.material import recording
from workers.problems.problem import (
    Parameter,
    Problem,
    defaults,
)
from workers.problems.process_manager.cpu import RoundRobin, replay, shortest_remaining_first
from workers.problems.process_manager.policy import PARAMETERS, Policy
from workers.problems.process_manager.problem import (
    LOADS,
    PROCESSES,
    PROGRAMS,
    WORKLOADS,
    CpuScheduler,
    at_load,
    mean_response_s,
    mean_slowdown,
)
from workers.search import search

ALL_RUNS = sorted(run for runs in WORKLOADS.values() for run in runs)


@pytest.fixture(scope="module")
def problem() -> CpuScheduler:
    return CpuScheduler()


def small_cases(count: int, processes: int, most_us: int) -> list[tuple[list[int], list[int]]]:
    """(arrivals, CPU times) at random: few processes that come close to each other."""
    draw = random.Random(7)
    return [
        (
            sorted(draw.randrange(most_us * 2) for _ in range(processes)),
            [draw.randint(1, most_us) for _ in range(processes)],
        )
        for _ in range(count)
    ]


def least_total_us(arrivals_us: list[int], left_us: tuple[int, ...], now_us: int) -> int:
    """The least sum of the times when processes end, by trying every one in every microsecond."""
    if not any(left_us):
        return 0
    ready = [i for i, left in enumerate(left_us) if left and arrivals_us[i] <= now_us]
    if not ready:
        return least_total_us(arrivals_us, left_us, now_us + 1)
    totals = []
    for chosen in ready:
        after = tuple(left - (place == chosen) for place, left in enumerate(left_us))
        ended_us = 0 if after[chosen] else now_us + 1
        totals.append(ended_us + least_total_us(arrivals_us, after, now_us + 1))
    return min(totals)


class KnowsTheFuture:
    """The process that has the least left runs, as a policy, one microsecond at a time."""

    def __init__(self, cpu_us: list[int]) -> None:
        self.left_us = list(cpu_us)
        self.here: set[int] = set()

    def ready(self, process: int) -> bool:
        self.here.add(process)
        return True

    def choose(self, now_us: int) -> tuple[int, int]:
        process = min(self.here, key=lambda one: self.left_us[one])
        self.here.remove(process)
        return process, 1

    def yielded(self, process: int, ran_us: int) -> None:
        self.left_us[process] -= ran_us
        self.here.add(process)

    def waits(self, process: int, ran_us: int) -> None:
        raise AssertionError("nothing waits")

    def ended(self, process: int, ran_us: int) -> None:
        assert self.left_us[process] == ran_us


class KnowsTheRest(KnowsTheFuture):
    """The same without small steps: who has the least left changes only when one comes or ends."""

    def choose(self, now_us: int) -> tuple[int, int]:
        process, _ = super().choose(now_us)
        return process, self.left_us[process]


def test_round_robin_as_worked_by_hand() -> None:
    arrivals_us, cpu_us = [0, 2, 25], [25, 5, 10]
    # 0 runs from 1 to 11 (a switch takes 1), 1 from 12 to 17, 0 from 18 to 28, 2 from 29 to 39,
    # 0 from 40 to 45.
    assert replay(arrivals_us, cpu_us, RoundRobin(10), switch_us=1) == [45, 17, 39]


def test_alone_a_process_runs_on_until_another_comes() -> None:
    arrivals_us, cpu_us = [0, 35, 100], [50, 5, 5]
    # The quantum of 0 was over long ago when 1 comes, so its turn ends; 2 finds the CPU idle.
    assert replay(arrivals_us, cpu_us, RoundRobin(10), switch_us=0) == [55, 40, 105]


def test_who_waits_comes_back_and_who_need_not_goes_on() -> None:
    plans = {0: [(13, 4), (17, 2), None], 1: [None]}

    def after_burst(process: int, now_us: int) -> tuple[int, int] | None:
        return plans[process].pop(0)

    # 0 runs from 0 to 3 and waits until 13, when 1 has run; from 13 to 17, and on to 19.
    ends_us = replay([0, 0], [3, 5], RoundRobin(10), after_burst, switch_us=0)
    assert ends_us == [19, 8]


def test_the_bound_is_the_optimum_of_all_choices() -> None:
    for arrivals_us, cpu_us in small_cases(60, 3, 4):
        ends_us = shortest_remaining_first(arrivals_us, cpu_us)
        assert sum(ends_us) == least_total_us(arrivals_us, tuple(cpu_us), 0)


def test_knowing_the_future_reaches_the_bound_if_switching_is_free() -> None:
    for arrivals_us, cpu_us in small_cases(50, 8, 30):
        ends_us = replay(arrivals_us, cpu_us, KnowsTheFuture(cpu_us), switch_us=0)
        assert sum(ends_us) == sum(shortest_remaining_first(arrivals_us, cpu_us))


def test_nothing_is_better_than_the_bound_and_the_order_of_arrivals_is_free() -> None:
    for arrivals_us, cpu_us in small_cases(100, 8, 3_000):
        bound_us = sum(shortest_remaining_first(arrivals_us, cpu_us))
        swapped_us = shortest_remaining_first(arrivals_us[::-1], cpu_us[::-1])
        assert sum(swapped_us) == bound_us
        for policy in (Policy(), RoundRobin(500)):
            assert sum(replay(arrivals_us, cpu_us, policy, switch_us=0)) >= bound_us


def test_short_processes_pass_long_ones() -> None:
    policy = Policy({**PARAMETERS, "levels": 2, "first_quantum_ms": 1.0})
    # 0 has left the highest queue when 1 comes, which takes the CPU at once.
    assert replay([0, 5_000], [50_000, 900], policy, switch_us=0) == [50_900, 5_900]


def test_a_boost_brings_back_who_has_sunk() -> None:
    stream_us = [1_000 * place for place in range(1, 60)]
    arrivals_us, cpu_us = [0, *stream_us], [5_000, *([1_000] * len(stream_us))]
    ends_us = {}
    for boost_ms in (10.0, 1_000.0):
        values = {**PARAMETERS, "levels": 2, "first_quantum_ms": 1.0, "boost_ms": boost_ms}
        ends_us[boost_ms] = replay(arrivals_us, cpu_us, Policy(values), switch_us=0)[0]
    assert ends_us[10.0] < ends_us[1_000.0] == 64_000


class Stray(RoundRobin):
    def choose(self, now_us: int) -> tuple[int, int]:
        return 7, 10


class Speechless(RoundRobin):
    def choose(self, now_us: int) -> tuple[int, int]:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Stray(10), "choose() answered (7, 10): it must be a process that is ready, and how long"),
        (Speechless(10), "choose() answered None: it must be a tuple[int, int], not None"),
        (RoundRobin(0), "answered (0, 0): "),
        (RoundRobin(float("nan")), "answered (0, nan): "),  # type: ignore[arg-type]
        (RoundRobin("1 ms"), "answered (0, '1 ms'): "),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_breaks_the_rules_is_refused(policy: RoundRobin, reason: str) -> None:
    with pytest.raises(ProblemError, match=re.escape(reason)):
        replay([0, 0], [20, 20], policy)


def test_load_is_asked_for_on_average() -> None:
    arrivals_us = at_load([0, 10, 40], [30, 30, 30], 0.9)
    assert arrivals_us == (0, 25, 100)


def test_what_is_measured() -> None:
    assert mean_response_s([0, 10], [3_000_000, 1_000_010]) == 2.0
    assert mean_slowdown([0, 10], [10, 20], [10, 70]) == 2.0


def test_shipped_recordings_are_small_and_only_numbers() -> None:
    traces = resources.files("workers.problems") / "traces"
    files = [file for file in traces.iterdir() if file.name.startswith("processes-")]
    assert {file.name for file in files} == {f"processes-{run}.gz" for run in ALL_RUNS}
    assert sum(len(file.read_bytes()) for file in files) < 200_000
    for file in files:
        packed = file.read_bytes()
        assert packed[3] == 0, "the gzip header names no file"
        text = gzip.decompress(packed).decode("ascii")
        assert re.fullmatch(r"(\d+ \d+\n)+", text)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_runs_of_a_program_differ(program: str) -> None:
    runs = [recording(f"processes-{program}-{run}").splitlines() for run in "abcd"]
    for ours, theirs in itertools.combinations(runs, 2):
        assert not set(ours[1:]) & set(theirs[1:])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: CpuScheduler
) -> None:
    scenarios = problem.recorded(workload)
    runs = WORKLOADS[workload]
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert len(scenarios) == len(runs) * len(LOADS)
    assert not score.dropped
    for scenario in scenarios:
        assert 100 < len(scenario.cpu_us) <= PROCESSES // len(runs)
        assert scenario.baseline.cost > 1.1 * scenario.bound
        assert score.scenarios[scenario.name].achieved > scenario.bound


def test_the_bound_closes_the_gap_if_switching_is_free(
    problem: CpuScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = (KnowsTheRest(list(scenario.cpu_us)) for scenario in problem.recorded("search"))
    monkeypatch.setattr(
        "workers.problems.process_manager.problem.replay", partial(replay, switch_us=0)
    )
    makers = {"process_manager": lambda: next(policies)}
    score = problem.evaluate_policies(makers, problem.recorded("search"))
    assert score.gap_closed == pytest.approx(1.0, abs=1e-12)


def test_the_problem_is_found() -> None:
    found = find_problem("process_manager")
    assert isinstance(found, Problem)
    assert (found.specialization, found.cost_unit) == ("process_manager", "s")


def test_evaluation_is_deterministic(problem: CpuScheduler) -> None:
    values = defaults(problem.parameters)
    score = problem.evaluate(values, "compile")
    assert score == problem.evaluate(values, "compile")
    assert set(score.beside) == {"mean_slowdown", "baseline_mean_slowdown"}
    assert 1 < score.beside["mean_slowdown"] < score.beside["baseline_mean_slowdown"]


@pytest.mark.parametrize("parameter", CpuScheduler.parameters, ids=lambda parameter: parameter.name)
def test_each_parameter_matters(problem: CpuScheduler, parameter: Parameter) -> None:
    values = defaults(problem.parameters) | {"levels": 6, "first_quantum_ms": 2.0}
    scores = set()
    for unit in (0.0, 0.25, 0.5, 0.75, 1.0):
        varied = values | {parameter.name: parameter.from_unit(unit)}
        scores.add(problem.evaluate(varied, "tests").gap_closed)
    assert len(scores) >= min(3, parameter.high - parameter.low + 1)


def test_bad_values_are_refused(problem: CpuScheduler) -> None:
    values = defaults(problem.parameters)
    bad: list[tuple[dict[str, float], str]] = [
        (values | {"speed": 1.0}, "unknown parameter 'speed'"),
        ({k: v for k, v in values.items() if k != "levels"}, "missing parameter 'levels'"),
        (values | {"boost_ms": float("nan")}, "boost_ms: nan is not within"),
        (values | {"levels": 2.5}, "levels: 2.5 is not a whole number"),
    ]
    for refused, reason in bad:
        with pytest.raises(ProblemError, match=re.escape(reason)):
            problem.evaluate(refused, "compile")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "../compile")


def test_search_improves_on_the_defaults(problem: CpuScheduler) -> None:
    start = problem.evaluate(defaults(problem.parameters), "search")
    found = search(problem, "search", evaluations=60, seed=1)
    assert found.score.gap_closed > start.gap_closed + 0.05
