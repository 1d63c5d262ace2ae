"""The buffer cache problem: its bounds against brute force, its rules, its component."""

from __future__ import annotations

import gzip
import itertools
import random
import re
from collections.abc import Sequence
from importlib import resources

import pytest

from coordinator.errors import CoordError
from workers.problems import ProblemError, find_problem
from workers.problems.file_system.policy import Policy
from workers.problems.file_system.problem import (
    FILE_SHIFT,
    MEASURED,
    PROGRAMS,
    WORKLOADS,
    BufferCache,
    belady_misses,
    block_references,
    last_distinct,
    lru_misses,
    policy_misses,
)
from workers.problems.material import recording
from workers.problems.problem import (
    Parameter,
    Problem,
    Score,
    defaults,
    from_unit,
    to_unit,
)

ALL_RUNS = sorted(run for runs in WORKLOADS.values() for run in runs)


@pytest.fixture(scope="module")
def problem() -> BufferCache:
    return BufferCache()


def small_cases(count: int, length: int) -> list[tuple[list[int], list[int], int]]:
    """(references, start, capacity) at random: few blocks, small caches, partly filled."""
    draw = random.Random(7)
    cases = []
    for _ in range(count):
        capacity = draw.randint(1, 3)
        start = draw.sample(range(5), draw.randint(0, capacity))
        cases.append(([draw.randrange(5) for _ in range(length)], start, capacity))
    return cases


def fewest_misses(references: Sequence[int], resident: frozenset[int], capacity: int) -> int:
    """The least number of misses, by trying every victim at every miss."""
    for time, block in enumerate(references):
        if block in resident:
            continue
        rest = references[time + 1 :]
        if len(resident) < capacity:
            return 1 + fewest_misses(rest, resident | {block}, capacity)
        return 1 + min(
            fewest_misses(rest, resident - {victim} | {block}, capacity) for victim in resident
        )
    return 0


class ListLru:
    """LRU as plainly as it can be written, as a policy."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def hit(self, block: int) -> None:
        self.order.remove(block)
        self.order.append(block)

    def insert(self, block: int) -> None:
        self.order.append(block)

    def replace(self, block: int) -> int:
        self.order.append(block)
        return self.order.pop(0)


def test_belady_is_the_optimum_of_all_choices() -> None:
    for references, start, capacity in small_cases(150, 12):
        best = fewest_misses(references, frozenset(start), capacity)
        assert belady_misses(references, start, capacity) == best


def test_lru_is_lru() -> None:
    for references, start, capacity in small_cases(300, 40):
        misses = policy_misses(ListLru(), references, start, capacity)
        assert lru_misses(references, start, capacity) == misses


def test_the_policy_is_never_better_than_belady() -> None:
    for references, start, capacity in small_cases(300, 40):
        bound = belady_misses(references, start, capacity)
        assert policy_misses(Policy(capacity), references, start, capacity) >= bound


class Stray(ListLru):
    def replace(self, block: int) -> int:
        return block


class Unhashable(ListLru):
    def replace(self, block: int) -> int:
        return [block]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (Stray(), "3: it must be a block that is in the cache"),
        (Unhashable(), "[3]: it must be an int, not list"),
    ],
)
def test_a_victim_that_is_not_resident_is_refused(policy: ListLru, named: str) -> None:
    with pytest.raises(ProblemError) as refused:
        policy_misses(policy, [1, 2, 3], [], 2)
    assert isinstance(refused.value, CoordError)
    assert refused.value.code == "problem_error"
    assert refused.value.detail == f"the policy's replace() answered {named}"


def test_reads_become_blocks() -> None:
    text = "0 0 4096\n0 4096 1\n0 4097 10\n2 4095 4098\n"
    two = 2 << FILE_SHIFT
    assert block_references(text) == [0, 1, two, two + 1, two + 2]


def test_the_warm_start_is_least_recent_first() -> None:
    assert last_distinct([1, 2, 3, 2, 1], 2) == (2, 1)
    assert last_distinct([1, 2, 1], 5) == (2, 1)


def test_shipped_traces_are_small_and_only_numbers() -> None:
    traces = resources.files("workers.problems") / "traces"
    of_others = ("processes-", "reads-", "mallocs-", "damage-")
    files = [file for file in traces.iterdir() if not file.name.startswith(of_others)]
    assert {file.name for file in files} == {f"{run}.gz" for run in ALL_RUNS}
    assert sum(len(file.read_bytes()) for file in files) < 1_000_000
    for file in files:
        packed = file.read_bytes()
        assert packed[3] == 0, "the gzip header names no file"
        text = gzip.decompress(packed).decode("ascii")
        assert re.fullmatch(r"(\d+ \d+ \d+\n)+", text)


def test_no_run_is_in_two_workloads(problem: BufferCache) -> None:
    assert len(set(ALL_RUNS)) == len(ALL_RUNS) == 4 * len(PROGRAMS)
    for program, training, held_out in zip(
        PROGRAMS, problem.training_workloads, problem.held_out_workloads, strict=True
    ):
        assert WORKLOADS[training] == (f"{program}-a", f"{program}-c")
        assert WORKLOADS[held_out] == (f"{program}-d",)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_runs_of_a_program_differ(program: str) -> None:
    texts = [recording(f"{program}-{run}") for run in "abcd"]
    runs = [[line.partition(" ")[2] for line in text.splitlines()] for text in texts]
    for ours, theirs in itertools.combinations(runs, 2):
        same = sum(a == b for a, b in zip(ours, theirs, strict=False))
        assert same < 0.5 * len(ours)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_to_close(workload: str) -> None:
    scenarios = BufferCache().recorded(workload)
    counted = {scenario.name.partition("/")[0]: scenario.references for scenario in scenarios}
    assert tuple(counted) == WORKLOADS[workload]
    assert sum(map(len, counted.values())) == MEASURED
    for scenario in scenarios:
        assert scenario.capacity_blocks < len(set(scenario.references)) / 2
        assert len(scenario.start) <= scenario.capacity_blocks
        assert scenario.baseline - scenario.bound > 0.02


def test_the_problem_is_found(problem: BufferCache) -> None:
    found = find_problem("file_system")
    assert isinstance(found, Problem)
    assert found.specialization == "file_system"
    assert find_problem("no_such_thing") is None


def test_evaluation_is_deterministic(problem: BufferCache) -> None:
    values = defaults(problem.parameters)
    assert problem.evaluate(values, "compile") == problem.evaluate(values, "compile")


@pytest.mark.parametrize("parameter", BufferCache.parameters, ids=lambda parameter: parameter.name)
def test_each_parameter_matters(problem: BufferCache, parameter: Parameter) -> None:
    values = defaults(problem.parameters)
    scores = set()
    for unit in (0.0, 0.25, 0.5, 0.75, 1.0):
        varied = values | {parameter.name: parameter.from_unit(unit)}
        scores.add(problem.evaluate(varied, "database").gap_closed)
    assert len(scores) >= 3


def test_bad_values_are_refused(problem: BufferCache) -> None:
    values = defaults(problem.parameters)
    bad: list[tuple[dict[str, float], str]] = [
        (values | {"speed": 1.0}, "unknown parameter 'speed'"),
        ({k: v for k, v in values.items() if k != "scan_run"}, "missing parameter 'scan_run'"),
        (values | {"scan_run": float("nan")}, "scan_run: nan is not within"),
        (values | {"scan_run": 0.5}, "scan_run: 0.5 is not within 1.0..64.0"),
    ]
    for refused, reason in bad:
        with pytest.raises(ProblemError, match=re.escape(reason)):
            problem.evaluate(refused, "compile")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "../compile")


def test_scenarios_without_a_gap_are_dropped_and_named() -> None:
    score = Score.from_costs({"a": (0.4, 0.5, 0.3), "b": (0.5, 0.5, 0.5)})
    assert score.gap_closed == pytest.approx(0.5)
    assert (score.achieved, score.baseline, score.bound) == (0.4, 0.5, 0.3)
    assert set(score.scenarios) == {"a"}
    assert score.dropped == ("b",)
    with pytest.raises(ProblemError):
        Score.from_costs({"b": (0.5, 0.5, 0.5)})


def test_parameters_map_to_the_unit_interval_and_back() -> None:
    parameters = [
        Parameter("even", -1.0, 3.0, 0.0),
        Parameter("scale", 0.01, 100.0, 1.0, "log"),
        Parameter("count", 1, 5, 2, "integer"),
    ]
    draw = random.Random(3)
    for _ in range(200):
        values = from_unit(parameters, [draw.random() for _ in parameters])
        again = from_unit(parameters, to_unit(parameters, values))
        assert again == pytest.approx(values, rel=1e-12)
        assert isinstance(again["count"], int)
    assert from_unit(parameters, [-1.0, 2.0, 1.0]) == {"even": -1.0, "scale": 100.0, "count": 5}
    assert parameters[1].to_unit(1.0) == pytest.approx(0.5)
    with pytest.raises(ProblemError, match="not a whole number"):
        parameters[2].check(2.5)
