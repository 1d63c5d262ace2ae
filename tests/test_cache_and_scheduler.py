"""The joint problem of cache and scheduler: its machine by hand, its bound, what it is worth."""

from __future__ import annotations

import gzip
import itertools
import random
import re
from dataclasses import dataclass
from importlib import resources

import pytest

from workers.problems import ProblemError, find_joint_problem
from workers.problems.file_system.policy import Policy as CachingPolicy
from workers.problems.file_system.problem import (
    FILE_SHIFT,
    BufferCache,
    LeastRecentlyUsed,
    lru_misses,
    policy_misses,
)
from workers.problems.material import recording
from workers.problems.pairs.cache_and_scheduler import (
    CACHE,
    PROGRAMS,
    REFERENCES,
    SCHEDULER,
    WORKLOADS,
    CacheAndScheduler,
    recorded_process,
)
from workers.problems.pairs.machine import (
    DISK_READ_US,
    Outcome,
    Process,
    bound_s,
    run,
)
from workers.problems.problem import JointProblem, defaults
from workers.problems.process_manager.cpu import CONTEXT_SWITCH_US, RoundRobin
from workers.problems.process_manager.policy import Policy as SchedulingPolicy
from workers.problems.process_manager.problem import CpuScheduler
from workers.search import search, search_steps

ALL_RUNS = sorted(run for runs in WORKLOADS.values() for run in runs)
SWITCH_US, DISK_US = CONTEXT_SWITCH_US, DISK_READ_US


@pytest.fixture(scope="module")
def problem() -> CacheAndScheduler:
    return CacheAndScheduler()


BASELINE = {
    "file_system": lambda capacity_blocks: LeastRecentlyUsed(),
    "process_manager": lambda: RoundRobin(10_000),
}


def outcome(*processes: Process, capacity_blocks: int = 2) -> Outcome:
    """What the baseline makes of processes."""
    return run(processes, capacity_blocks, LeastRecentlyUsed(), RoundRobin(10_000))


def random_processes(draw: random.Random, count: int) -> list[Process]:
    processes = []
    for _ in range(count):
        blocks = tuple(draw.randrange(8) for _ in range(draw.randrange(6)))
        bursts_us = tuple(draw.randrange(2_000) for _ in range(len(blocks) + 1))
        processes.append(Process(draw.randrange(5_000), bursts_us, blocks))
    return processes


def test_a_miss_waits_for_the_disk_and_a_hit_does_not() -> None:
    # 7 and 8 are fetched (with a switch at first only: nobody else wants the CPU), 7 is there.
    shown = outcome(Process(0, (1_000, 200, 30, 4), (7, 8, 7)))
    assert shown.cost == pytest.approx((SWITCH_US + 1_234 + 2 * DISK_US) / 1e6)
    assert shown.miss_ratio == pytest.approx(2 / 3)


def test_another_runs_while_one_waits() -> None:
    # 1 begins when 0 waits, and is still at it when the block is there; 0 goes on after it.
    shown = outcome(Process(0, (1_000, 2_000), (7,)), Process(0, (3_000,), ()))
    end_of_1_us = SWITCH_US + 1_000 + SWITCH_US + 3_000
    end_of_0_us = end_of_1_us + SWITCH_US + 2_000
    assert shown.cost == pytest.approx((end_of_0_us + end_of_1_us) / 2 / 1e6)


def test_a_block_on_its_way_is_read_once() -> None:
    shown = outcome(Process(0, (1_000, 0), (7,)), Process(0, (100, 0), (7,)))
    there_us = SWITCH_US + 1_000 + DISK_US
    ends_us = there_us + SWITCH_US, there_us + 2 * SWITCH_US
    assert shown.miss_ratio == 0.5
    assert shown.cost == pytest.approx(sum(ends_us) / 2 / 1e6)


def test_the_disk_serves_in_order() -> None:
    shown = outcome(Process(0, (1_000, 0), (7,)), Process(0, (100, 0), (8,)))
    there_us = SWITCH_US + 1_000 + DISK_US
    ends_us = there_us + SWITCH_US, there_us + DISK_US + SWITCH_US
    assert shown.cost == pytest.approx(sum(ends_us) / 2 / 1e6)


def test_one_process_alone_misses_as_in_the_buffer_cache() -> None:
    draw = random.Random(5)
    for _ in range(100):
        blocks = tuple(draw.randrange(6) for _ in range(40))
        process = Process(0, (10,) * 41, blocks)
        assert round(outcome(process).miss_ratio * 40) == lru_misses(blocks, (), 2)
        learned = run([process], 3, CachingPolicy(3), RoundRobin(10_000))
        assert round(learned.miss_ratio * 40) == policy_misses(CachingPolicy(3), blocks, (), 3)


def test_nothing_is_better_than_the_bound() -> None:
    draw = random.Random(3)
    for _ in range(200):
        processes = [*random_processes(draw, 6), Process(0, (5, 5), (1,))]
        capacity = draw.randint(1, 8)
        for scheduler in (RoundRobin(draw.choice((100, 10_000))), SchedulingPolicy()):
            for caching in (LeastRecentlyUsed(), CachingPolicy(capacity)):
                shown = run(processes, capacity, caching, scheduler)
                assert shown.cost >= bound_s(processes)


def test_the_bound_is_the_largest_of_three() -> None:
    only_cpu = [Process(0, (1_000,), ()), Process(0, (3_000,), ())]
    assert bound_s(only_cpu) == pytest.approx((1_000 + 4_000) / 2 / 1e6)
    only_disk = [Process(0, (0, 0, 0), (1, 2)), Process(0, (0, 0), (3,))]
    assert bound_s(only_disk) == pytest.approx((DISK_US + 3 * DISK_US) / 2 / 1e6)
    far_apart = [Process(0, (70, 0), (1,)), Process(90_000, (70, 0), (2,))]
    assert bound_s(far_apart) == pytest.approx((70 + DISK_US) / 1e6)
    shared = [Process(0, (70, 0), (1,)), Process(90_000, (70, 0), (1,))]
    assert bound_s(shared) == pytest.approx(70 / 1e6)


def test_a_recorded_line_becomes_a_process() -> None:
    line = "5 100 20 0 4095 2 20 0 4097 1 60 2 0 10"
    two = 2 << FILE_SHIFT
    assert recorded_process(line) == Process(5, (20, 0, 40, 40), (0, 1, two))
    assert recorded_process("5 100") == Process(5, (100,), ())


def test_shipped_recordings_are_small_and_only_numbers() -> None:
    traces = resources.files("workers.problems") / "traces"
    files = [file for file in traces.iterdir() if file.name.startswith("reads-")]
    assert {file.name for file in files} == {f"reads-{run}.gz" for run in ALL_RUNS}
    assert sum(len(file.read_bytes()) for file in files) < 400_000
    for file in files:
        packed = file.read_bytes()
        assert packed[3] == 0, "the gzip header names no file"
        text = gzip.decompress(packed).decode("ascii")
        assert re.fullmatch(r"(\d+ \d+( \d+ \d+ \d+ \d+)*\n)+", text)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_runs_of_a_program_differ(program: str) -> None:
    runs = [recording(f"reads-{program}-{run}").splitlines() for run in "abcd"]
    for ours, theirs in itertools.combinations(runs, 2):
        assert not set(ours[1:]) & set(theirs[1:])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: CacheAndScheduler
) -> None:
    scenarios = problem.recorded(workload)
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert tuple(one.name.partition("/")[0] for one in scenarios) == WORKLOADS[workload]
    for scenario in scenarios:
        references = sum(len(process.blocks) for process in scenario.processes)
        assert 2_000 < references <= REFERENCES // len(scenarios)
        assert scenario.baseline.cost > 1.1 * scenario.bound
        assert score.scenarios[scenario.name].achieved > scenario.bound


def test_the_problem_is_found_in_either_order() -> None:
    found = find_joint_problem("file_system", "process_manager")
    again = find_joint_problem("process_manager", "file_system")
    assert isinstance(found, JointProblem)
    assert type(again) is type(found) is CacheAndScheduler
    assert (found.name, found.cost_unit) == ("cache_and_scheduler", "s")
    assert find_joint_problem("file_system", "file_system") is None
    assert find_joint_problem("file_system", "audio") is None


def test_evaluation_is_deterministic(problem: CacheAndScheduler) -> None:
    values = defaults(problem.parameters)
    score = problem.evaluate(values, "search")
    assert score == problem.evaluate(values, "search")
    assert set(score.beside) == {"miss_ratio", "baseline_miss_ratio"}


def test_the_baseline_closes_nothing(problem: CacheAndScheduler) -> None:
    score = problem.evaluate_policies(BASELINE, problem.recorded("search"))
    assert score.gap_closed == 0.0
    assert score.beside["miss_ratio"] == score.beside["baseline_miss_ratio"]


def test_bad_values_are_refused(problem: CacheAndScheduler) -> None:
    values = defaults(problem.parameters)
    bad: list[tuple[dict[str, float], str]] = [
        (values | {"scan_run": 1.0}, "unknown parameter 'scan_run'"),
        (
            {k: v for k, v in values.items() if k != "scheduler.levels"},
            "missing parameter 'scheduler.levels'",
        ),
        (values | {"cache.scan_run": 0.5}, "cache.scan_run: 0.5 is not within"),
    ]
    for refused, reason in bad:
        with pytest.raises(ProblemError, match=re.escape(reason)):
            problem.evaluate(refused, "compile")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "../compile")


def test_values_of_the_two_problems_are_joined(problem: CacheAndScheduler) -> None:
    parts = {
        one.specialization: defaults(one.parameters) for one in (CpuScheduler(), BufferCache())
    }
    assert problem.joined(parts) == defaults(problem.parameters)
    with pytest.raises(ProblemError, match="missing parameter"):
        problem.joined(parts | {"file_system": {}})
    with pytest.raises(ProblemError, match=re.escape("['audio'] are not ['file_system',")):
        problem.joined({"audio": {}})


class StrayCache(LeastRecentlyUsed):
    def replace(self, block: int) -> int:
        return block


class StrayScheduler(RoundRobin):
    def choose(self, now_us: int) -> tuple[int, int]:
        return -1, 10


def test_policies_that_break_the_rules_are_refused(problem: CacheAndScheduler) -> None:
    scenarios = problem.recorded("search")
    with pytest.raises(ProblemError, match="must be a block that is in the cache"):
        problem.evaluate_policies(BASELINE | {"file_system": lambda _: StrayCache()}, scenarios)
    with pytest.raises(ProblemError, match="must be a process that is ready"):
        problem.evaluate_policies(
            BASELINE | {"process_manager": lambda: StrayScheduler(10)}, scenarios
        )


def test_a_policy_for_each_specialization_is_needed_and_no_other(
    problem: CacheAndScheduler,
) -> None:
    scenarios = problem.recorded("search")
    cache = {"file_system": BASELINE["file_system"]}
    needed = "policies of 'file_system', 'process_manager' are needed, not of"
    for makers, given in ((cache, "'file_system'"), ({}, "none")):
        with pytest.raises(ProblemError, match=f"^{needed} {given}$"):
            problem.evaluate_policies(makers, scenarios)


ALONE, SEED = 30, 0


@dataclass(frozen=True)
class Separately:
    """Joint values of the two policies, each tuned alone, after ALONE and after twice as many."""

    joined: dict[str, float]
    joined_after_twice: dict[str, float]


@pytest.fixture(scope="module")
def separately() -> Separately:
    alone = (BufferCache(), CpuScheduler())
    searches = {one.specialization: search_steps(one, "search", SEED) for one in alone}
    once, twice = (
        {
            name: next(itertools.islice(steps, ALONE - 1, None)).values
            for name, steps in searches.items()
        }
        for _ in range(2)
    )
    return Separately(CacheAndScheduler().joined(once), CacheAndScheduler().joined(twice))


def test_the_best_together_is_not_the_best_of_each(
    problem: CacheAndScheduler, separately: Separately
) -> None:
    joined = problem.evaluate(separately.joined, "search")
    joined_after_twice = problem.evaluate(separately.joined_after_twice, "search")
    together = search(problem, "search", 2 * ALONE, SEED, start=separately.joined)
    assert together.score.gap_closed > joined.gap_closed + 0.05
    # The same number of evaluations, spent on going on separately, brings less.
    assert together.score.gap_closed > joined_after_twice.gap_closed + 0.05
    for prefix in (CACHE, SCHEDULER):
        names = [name for name in separately.joined if name.startswith(prefix)]
        assert any(together.values[name] != separately.joined[name] for name in names)
