"""The joint problem of cache and allocator: its memory by hand, its bound, what it is worth."""

from __future__ import annotations

import random

import pytest

from workers.problems import find_joint_problem
from workers.problems.file_system.policy import Policy as CachePolicy
from workers.problems.file_system.problem import (
    BufferCache,
    LeastRecentlyUsed,
    belady_misses,
    policy_misses,
)
from workers.problems.pairs.cache_and_allocator import (
    ALLOCATOR,
    CACHE,
    OBJECTS,
    PROGRAMS,
    REFERENCES,
    WORKLOADS,
    CacheAndAllocator,
)
from workers.problems.pairs.memory import HEAP, Outcome, run
from workers.problems.performance.heap import PAGE_BYTES, Buddy, replay
from workers.problems.performance.policy import Policy as AllocatorPolicy
from workers.problems.performance.problem import MemoryAllocator
from workers.problems.policies import ProblemError, WrongAnswer
from workers.problems.problem import JointProblem, defaults

PAGE = PAGE_BYTES


@pytest.fixture(scope="module")
def problem() -> CacheAndAllocator:
    return CacheAndAllocator()


class InARow:
    """An allocator that gives each object a page of its own, from page 0 on."""

    def __init__(self) -> None:
        self.next = 0

    def place(self, size_bytes: int) -> int:
        self.next += PAGE
        return self.next - PAGE

    def free(self, address: int) -> None: ...


class Watched(LeastRecentlyUsed):
    """LRU that keeps what it is told and asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def hit(self, block: int) -> None:
        self.seen.append(("hit", block))
        super().hit(block)

    def insert(self, block: int) -> None:
        self.seen.append(("insert", block))
        super().insert(block)

    def replace(self, block: int) -> int:
        self.seen.append(("replace", block))
        return super().replace(block)


def random_steps(draw: random.Random) -> tuple[list[int], list[int], int]:
    """(references, events, capacity): few blocks, small memories."""
    events, live = [], list[int]()
    for made in range(draw.randint(1, 12)):
        while live and draw.random() < 0.4:
            events.append(live.pop(draw.randrange(len(live))) - made)
        events.append(draw.randint(1, 2 * PAGE))
        live.append(made)
    return [draw.randrange(6) for _ in range(30)], events, draw.randint(1, 6)


def test_a_heap_page_needs_a_frame_and_comes_back_from_swap() -> None:
    watched = Watched()
    shown = run([7, 8, 7, 8], [100, -1], (), 2, watched, InARow())
    assert watched.seen == [
        ("insert", 7),
        ("insert", HEAP),  # the object is made: a new page, which is read from nowhere
        ("replace", 8),
        ("replace", 7),
        ("replace", HEAP),  # the object goes, and for that its page comes back
        ("replace", 8),
    ]
    assert shown == Outcome(miss_ratio=1, swap_ratio=1 / 4, held_pages=1)
    assert shown.cost == 5 / 4


def test_a_page_that_nothing_lies_on_is_new_again() -> None:
    # An object is made before 2 and goes before 4, for which its page comes back from swap. That
    # page has left the memory again when the next is made on it, and is read from nowhere.
    policies = LeastRecentlyUsed(), Buddy()
    shown = run([1, 2, 3, 4, 5, 6], [100, -1, 100], (), 2, *policies)
    assert shown == Outcome(miss_ratio=1, swap_ratio=1 / 6, held_pages=1)


def test_without_room_pressure_each_problem_is_as_it_is_alone() -> None:
    draw = random.Random(5)
    for _ in range(50):
        references, events, _ = random_steps(draw)
        shown = run(references, events, (), 10_000, CachePolicy(10_000), AllocatorPolicy())
        assert shown.miss_ratio == len(set(references)) / len(references)
        assert shown.swap_ratio == 0
        assert shown.held_pages == replay(events, AllocatorPolicy()).mean_pages


def test_nothing_is_better_than_the_bound() -> None:
    draw = random.Random(3)
    for _ in range(300):
        references, events, capacity = random_steps(draw)
        bound = belady_misses(references, (), capacity) / len(references)
        for cache_policy, allocator_policy in (
            (LeastRecentlyUsed(), Buddy()),
            (CachePolicy(capacity), AllocatorPolicy()),
        ):
            shown = run(references, events, (), capacity, cache_policy, allocator_policy)
            assert shown.cost >= bound


def test_a_heap_on_one_page_that_stays_leaves_the_cache_as_it_is_alone() -> None:
    class Pinned(LeastRecentlyUsed):
        """Gives up the page of the heap last of all."""

        def replace(self, block: int) -> int:
            self.resident[block] = None
            victim = next(one for one in self.resident if one != HEAP)
            del self.resident[victim]
            return victim

    references = [1, 2, 3, 1, 2, 3, 1, 1]
    shown = run(references, [16] * 8, (), 3, Pinned(), Buddy())
    assert shown.miss_ratio * 8 == policy_misses(LeastRecentlyUsed(), references, (), 2)
    assert shown.swap_ratio == 0


@pytest.mark.parametrize(("method", "answer"), [("replace", HEAP + 9), ("place", -16)])
def test_wrong_answers_of_both_are_refused(method: str, answer: int) -> None:
    policies = [LeastRecentlyUsed(), Buddy()]
    setattr(policies[method == "place"], method, lambda _: answer)
    with pytest.raises(WrongAnswer, match=f"{method}\\(\\) answered"):
        run([1, 2, 3], [16], (), 2, *policies)  # type: ignore[arg-type]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_to_close(workload: str) -> None:
    for scenario in CacheAndAllocator().recorded(workload):
        assert len(scenario.references) == REFERENCES
        assert sum(event > 0 for event in scenario.events) == OBJECTS
        assert scenario.bound < 0.95 * scenario.baseline.cost
        assert scenario.baseline.swap_ratio > 0


def test_it_is_the_problem_of_both(problem: CacheAndAllocator) -> None:
    found = find_joint_problem("performance", "file_system")
    assert isinstance(found, JointProblem)
    assert found.specializations == problem.specializations == ("file_system", "performance")
    assert {one.name.partition(".")[0] + "." for one in problem.parameters} == {CACHE, ALLOCATOR}
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(defaults(problem.parameters), "compile-e")


def test_the_score_says_what_both_gave_up(problem: CacheAndAllocator) -> None:
    values = defaults(problem.parameters)
    score = problem.evaluate(values, "compile")
    assert score == problem.evaluate(values, "compile")
    parts = {"miss_ratio", "swap_ratio", "held_pages"}
    assert set(score.beside) == parts | {f"baseline_{part}" for part in parts}
    for prefix, cost in (("", score.achieved), ("baseline_", score.baseline)):
        misses, swaps = (score.beside[f"{prefix}{part}_ratio"] for part in ("miss", "swap"))
        assert misses + swaps == pytest.approx(cost)


FIRST_FIT = {
    "classes_per_doubling": 256.0,
    "searched": 16,
    "address_weight": 10.0,
    "short_life": 1.0,
}


def test_who_is_better_alone_may_be_worse_together(problem: CacheAndAllocator) -> None:
    cache, usual = defaults(BufferCache.parameters), defaults(MemoryAllocator.parameters)
    alone, together = [], []
    for allocator in (usual, usual | FIRST_FIT):
        values = problem.joined({"file_system": cache, "performance": allocator})
        alone.append(MemoryAllocator().evaluate(allocator, PROGRAMS["database"]).gap_closed)
        together.append(problem.evaluate(values, "database").gap_closed)
    assert alone[1] > alone[0] + 0.1
    assert together[1] < together[0] - 0.04
