"""Workloads of models: the same for the same seed, like recordings, and nobody can look ahead."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest

from workers.problems import JOINT_PROBLEMS, PROBLEMS
from workers.problems.draws import BATCH, ByRank, Draws
from workers.problems.file_system.problem import BufferCache
from workers.problems.file_system.reads import MODELS as READS
from workers.problems.file_system.reads import Programs, lookups, new_file
from workers.problems.pairs.cache_and_scheduler import CacheAndScheduler
from workers.problems.problem import defaults
from workers.problems.process_manager.arrivals import MODELS as ARRIVALS
from workers.problems.process_manager.arrivals import SPAN_US, cpu_times_us
from workers.problems.process_manager.problem import CpuScheduler

SEED = bytes(range(32))
ALL: list[Any] = [*PROBLEMS, *JOINT_PROBLEMS]
DIGESTS = {
    "buffer_cache": "db0d8bd9e55c2077",
    "cpu_scheduler": "7995f68f00074de6",
    "memory_allocator": "5aa36de860207524",
    "playout_delay": "40c53836577a2cbf",
    "congestion_control": "f07d4b2241739bc2",
    "firewall_order": "005317fe6ee1a3f0",
    "texture_walk": "56b25a561de6f8ae",
    "damage_merging": "ecb3b77d355287e9",
    "cache_and_scheduler": "4816030ad7752b0f",
    "cache_and_allocator": "1e44b96bdb4b283d",
    "congestion_and_playout": "fba32350e93606b8",
    "firewall_and_congestion": "8a05361eebd8e1db",
    "tiling_and_damage": "2fd54de47d8aa791",
}
BELOW, HEAVY = [685065, 749469, 496695], [1.894166036, 1.134456151, 64.201988944]


@pytest.fixture
def draws() -> Draws:
    return Draws(SEED, "test")


def some(model: str, seed: bytes, count: int = 3_000) -> list[int]:
    return list(itertools.islice(READS[model](Draws(seed, model)), count))


def test_draws_depend_on_seed_and_purpose_and_go_on(draws: Draws) -> None:
    numbers = [draws.uniform() for _ in range(3 * BATCH)]
    again, other_seed, other_purpose = (
        Draws(seed, purpose) for seed, purpose in ((SEED, "test"), (b"", "test"), (SEED, "tests"))
    )
    assert [again.uniform() for _ in numbers] == numbers
    assert len(set(numbers)) == len(numbers)
    assert {other_seed.uniform(), other_purpose.uniform()}.isdisjoint(numbers)
    assert all(0 <= number < 1 for number in numbers)
    assert fmean(numbers) == pytest.approx(1 / 2, abs=0.02)
    assert pstdev(numbers) == pytest.approx(12**-0.5, abs=0.02)


def test_draws_are_the_same_on_every_machine(draws: Draws) -> None:
    assert [draws.below(10**6) for _ in range(3)] == BELOW
    assert [round(value, 9) for value in draws.heavy_tailed(3, 1, 100)] == HEAVY


def test_exponential_and_normal_numbers_have_their_moments(draws: Draws) -> None:
    exponential = [draws.exponential() for _ in range(20_000)]
    assert min(exponential) >= 0
    assert fmean(exponential) == pytest.approx(1, abs=0.03)
    assert pstdev(exponential) == pytest.approx(1, abs=0.05)
    normal = [draws.normal() for _ in range(20_000)]
    assert fmean(normal) == pytest.approx(0, abs=0.03)
    assert pstdev(normal) == pytest.approx(1, abs=0.03)


def test_every_order_is_as_likely(draws: Draws) -> None:
    counts = dict.fromkeys(itertools.permutations("abc"), 0)
    for _ in range(6_000):
        letters = list("abc")
        draws.shuffle(letters)
        counts[tuple(letters)] += 1
    assert all(850 < count < 1_150 for count in counts.values())


def test_half_of_what_is_larger_is_larger_than_twice_as_much(draws: Draws) -> None:
    values = draws.heavy_tailed(10_000, 1, 1_000_000)
    larger = [sum(value > 2**power for value in values) for power in range(8)]
    assert larger == [pytest.approx(10_000 / 2**power, rel=0.02) for power in range(8)]
    assert values != sorted(values)


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_a_seed_makes_one_workload_everywhere(problem: Any) -> None:
    scenarios = problem.generated(SEED)
    assert scenarios == problem.generated(SEED)
    assert scenarios != problem.generated(SEED[:-1])
    assert sha256(repr(scenarios).encode()).hexdigest()[:16] == DIGESTS[problem.name]


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_every_scenario_has_a_gap_and_what_is_good_closes_a_part(problem: Any) -> None:
    makers = problem.makers(defaults(problem.parameters))
    scores = [problem.evaluate_policies(makers, problem.generated(bytes([n]))) for n in range(4)]
    for score in scores:
        assert not score.dropped
        for scenario in score.scenarios.values():
            assert scenario.bound < 0.95 * scenario.baseline
            assert scenario.achieved >= scenario.bound
    gaps = [score.gap_closed for score in scores]
    assert min(gaps) > 0.1
    assert pstdev(gaps) < 0.12


def test_no_two_scenarios_have_a_block_in_common() -> None:
    caches = [set(one.references) | set(one.start) for one in BufferCache().generated(SEED)]
    machines = [
        {block for process in one.processes for block in process.blocks}
        for one in CacheAndScheduler().generated(SEED)
    ]
    other = [set(one.references) for one in BufferCache().generated(b"other")]
    for ours, theirs in itertools.combinations([*caches, *machines, *other], 2):
        assert ours.isdisjoint(theirs)


def test_no_two_scenarios_have_processes_in_common() -> None:
    """They are measured side by side, with policies that may know of each other: the one that has
    come further must not tell the others what is to come."""
    alone = [(one.arrivals_us, one.cpu_us) for one in CpuScheduler().generated(SEED)]
    together = [
        tuple(zip(*((its.arrival_us, its.cpu_us) for its in one.processes), strict=True))
        for one in CacheAndScheduler().generated(SEED)
    ]
    sequences = [(pauses(arrivals_us), cpu_us) for arrivals_us, cpu_us in (*alone, *together)]
    for ours, theirs in itertools.combinations(sequences, 2):
        for our, their in zip(ours, theirs, strict=True):
            assert sum(map(operator.eq, our, their)) < min(len(our), len(their)) / 20


def pauses(arrivals_us: Sequence[int]) -> list[float]:
    """The times between arrivals as parts of the whole, in which the load does not show."""
    last_us = arrivals_us[-1]
    return [round((after - before) / last_us, 6) for before, after in pairwise(arrivals_us)]


def test_programs_read_the_same_in_the_same_order(draws: Draws) -> None:
    programs = Programs(draws)
    programs.programs = programs.programs[:1]
    programs.which_program = ByRank(1, draws)
    expected = list(itertools.chain.from_iterable(programs.programs[0]))
    runs = [list(programs.run()) for _ in range(100)]
    kept = [len(set(expected) & set(run)) / len(set(expected)) for run in runs]
    assert 0.6 < fmean(kept) < 0.9


def test_walks_and_queries_come_back_to_the_same_blocks() -> None:
    for model in ("walks", "queries"):
        blocks = some(model, SEED)
        assert len(set(blocks)) < len(blocks) / 2


def test_some_records_are_looked_up_much_more_often_than_others(draws: Draws) -> None:
    index, relation = new_file(21, draws), new_file(100, draws)
    looked_up = [block for _ in range(40) for block in lookups(index, relation, draws)]
    roots, below, records = looked_up[::3], looked_up[1::3], looked_up[2::3]
    assert set(roots) == {index[0]}
    assert set(below) <= set(index[1:])
    hot = sum(record < relation[20] for record in records) / len(records)
    assert hot == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("model", ARRIVALS)
def test_processes_arrive_in_order_and_within_the_span(model: str, draws: Draws) -> None:
    arrivals_us = ARRIVALS[model](500, draws)
    assert arrivals_us == sorted(arrivals_us)
    assert all(0 <= at_us <= SPAN_US for at_us in arrivals_us)
    assert len(cpu_times_us(500, draws)) == len(arrivals_us) == 500


def test_bursts_make_arrivals_uneven(draws: Draws) -> None:
    def unevenness(arrivals_us: list[int]) -> float:
        """Variance / mean of the arrivals in a hundredth of the span: 1 for a Poisson process."""
        counts = [0] * 101
        for at_us in arrivals_us:
            counts[at_us * 100 // SPAN_US] += 1
        return pstdev(counts[:100]) ** 2 / fmean(counts[:100])

    steady, bursty = (ARRIVALS[model](2_000, draws) for model in ("steady", "bursty"))
    assert unevenness(steady) == pytest.approx(1, abs=0.5)
    assert unevenness(bursty) > 5
