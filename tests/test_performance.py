"""The memory allocator problem: its heap and baseline by hand, its bound, its component."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.record_mallocs import OBJECTS as RECORDED_OBJECTS
from scripts.record_mallocs import SHORT, Call, events_of, objects_of
from workers.problems.draws import Draws
from workers.problems.performance.heap import (
    PAGE_BYTES,
    SPACE_BYTES,
    UNIT_BYTES,
    Buddy,
    Held,
    Pages,
    fewest,
    replay,
    spans_of,
)
from workers.problems.performance.mallocs import FATES, allocations
from workers.problems.performance.policy import PARAMETERS, Policy
from workers.problems.performance.problem import (
    OBJECTS,
    PROGRAMS,
    WORKLOADS,
    MemoryAllocator,
    first_objects,
)
from workers.problems.policies import ProblemError, WrongAnswer, shown
from workers.problems.problem import Parameter, defaults, from_unit

ALL_RUNS = sorted(run for runs in WORKLOADS.values() for run in runs)
HALF = PAGE_BYTES // 2
HUGE = 10**6_000


@pytest.fixture(scope="module")
def problem() -> MemoryAllocator:
    return MemoryAllocator()


class Says:
    """An allocator that gives these answers, and keeps what it is told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = iter(answers)
        self.freed: list[int] = []

    def place(self, size_bytes: int) -> Any:
        return next(self.answers)

    def free(self, address: int) -> None:
        self.freed.append(address)


class Scatters:
    """An allocator that places objects wherever nothing lies, in a space of 64 pages."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.objects: dict[int, int] = {}

    def place(self, size_bytes: int) -> int:
        while True:
            address = self.draw.randrange(64 * PAGE_BYTES) // UNIT_BYTES * UNIT_BYTES
            end = address + size_bytes
            others = self.objects.items()
            if all(end <= other or address >= other + size for other, size in others):
                self.objects[address] = size_bytes
                return address

    def free(self, address: int) -> None:
        del self.objects[address]


def some_events(draw: random.Random, objects: int, largest_bytes: int) -> list[int]:
    """Events of so many objects, of which about half go again."""
    events, live = [], list[int]()
    for made in range(objects):
        while live and draw.random() < 0.4:
            events.append(live.pop(draw.randrange(len(live))) - made)
        events.append(draw.randint(1, largest_bytes))
        live.append(made)
    return events


def test_pages_are_held_while_objects_lie_on_them() -> None:
    # 0: page 0. 1: pages 0 and 1. 0 goes, and page 0 stays. 1 goes. 2: page 5 alone.
    policy = Says(0, HALF, 5 * PAGE_BYTES)
    held = replay([16, PAGE_BYTES, -2, -1, 100], policy)
    assert held == Held(mean_pages=(1 + 2 + 1) / 3, peak_pages=2)
    assert policy.freed == [0, HALF]


def test_an_object_may_lie_as_high_as_there_is_room_and_where_another_was() -> None:
    policy = Says(SPACE_BYTES - 16, 0, 0)
    assert replay([16, 32, -1, 32], policy) == Held(5 / 3, 2)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        *((address, "") for address in (8, -16, SPACE_BYTES, SPACE_BYTES - 16, HUGE)),
        *((address, "") for address in (64, 96, 112)),
        *((answer, type(answer).__name__) for answer in (True, False, 512.0, "512", [512])),
        *((answer, "float") for answer in (float("nan"), float("inf"))),
        (None, "None"),
    ],
    ids=shown,
)
def test_no_wrong_address_gets_by(address: object, kind: str) -> None:
    with pytest.raises(WrongAnswer) as refused:
        replay([32, 40], Says(96, address))
    rule = "a multiple of 16 at which 40 bytes are free, below 2**40"
    assert refused.value.method == "place"
    assert refused.value.detail.endswith(f"must be an int, not {kind}" if kind else rule)


def test_an_object_lies_on_whole_units_of_its_pages() -> None:
    whole = (1 << 256) - 1
    assert spans_of(0, 1) == ((0, 1),)
    assert spans_of(16, 33) == ((0, 0b1110),)
    assert spans_of(PAGE_BYTES - 32, 3 * PAGE_BYTES) == (
        (0, 0b11 << 254),
        (1, whole),
        (2, whole),
        (3, whole >> 2),
    )
    assert spans_of(PAGE_BYTES, PAGE_BYTES) == ((1, whole),)


@given(st.integers(0, 2_000), st.integers(1, 5 * PAGE_BYTES))
def test_every_unit_of_an_object_is_in_its_spans(unit: int, size_bytes: int) -> None:
    seen = [
        page * 256 + place
        for page, units in spans_of(unit * UNIT_BYTES, size_bytes)
        for place in range(256)
        if units >> place & 1
    ]
    assert seen == list(range(unit, unit + -(-size_bytes // UNIT_BYTES)))


def test_the_bound_is_live_bytes_in_whole_pages() -> None:
    # 256 units in all, then one more, then without the first 128.
    assert fewest([HALF, HALF - 16, 1, 1, -4, 1]) == Held((1 + 1 + 1 + 2 + 1) / 5, 2)


def test_the_baseline_halves_blocks_and_joins_them() -> None:
    buddy = Buddy()
    assert [buddy.place(size) for size in (1, 17, 16, 64, 33)] == [0, 32, 16, 64, 128]
    buddy.free(0)
    buddy.free(32)
    assert [buddy.place(size) for size in (32, 16)] == [32, 0]
    for address in (16, 0, 32):
        buddy.free(address)
    assert [buddy.place(size) for size in (64, 64)] == [0, 192]


def fewest_by_trying(events: Sequence[int]) -> float:
    """The least that can be held on average, by trying every multiple of half a page."""
    places = [step * HALF for step in range(3 * len(events) + 2)]
    made = sum(event > 0 for event in events)

    def least(rest: Sequence[int], objects: tuple[tuple[int, int], ...], gone: set[int]) -> int:
        if not rest:
            return 0
        event, later = rest[0], rest[1:]
        if event < 0:
            return least(later, objects, gone | {len(objects) + event})
        live = [one for number, one in enumerate(objects) if number not in gone]
        totals = []
        for address in places:
            if any(address < end and begin < address + event for begin, end in live):
                continue
            after = (address, address + event)
            pages = {p for b, e in (*live, after) for p in range(b // 4096, (e - 1) // 4096 + 1)}
            totals.append(len(pages) + least(later, (*objects, after), gone))
            if address >= max([end for _, end in live], default=0) + HALF:
                break
        return min(totals)

    return least(events, (), set()) / made


def test_no_choice_of_addresses_is_better_than_the_bound() -> None:
    draw = random.Random(5)
    reached = 0
    for _ in range(60):
        steps = some_events(draw, 5, 3)
        events = [event * HALF if event > 0 else event for event in steps]
        best, bound = fewest_by_trying(events), fewest(events).mean_pages
        assert best >= bound
        assert replay(events, Policy()).mean_pages >= best
        assert replay(events, Buddy()).mean_pages >= best
        reached += best == bound
    assert reached > 30


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([64, 1_000, 9_000]))
@settings(max_examples=60, deadline=None)
def test_nobody_beats_the_bound(seed: int, objects: int, largest_bytes: int) -> None:
    draw = random.Random(seed)
    events = some_events(draw, objects, largest_bytes)
    bound = fewest(events)
    units = [draw.random() for _ in PARAMETERS]
    learned = Policy(from_unit(MemoryAllocator.parameters, units))
    for held in (replay(events, policy) for policy in (learned, Buddy(), Scatters(seed))):
        assert held.mean_pages >= bound.mean_pages
        assert held.peak_pages >= bound.peak_pages


def test_the_policy_fills_the_best_fit_first() -> None:
    exact = dict(PARAMETERS) | {"classes_per_doubling": 256.0, "run_bytes": 16.0, "short_life": 1.0}
    policy = Policy(exact)
    addresses = [policy.place(size) for size in (64, 16, 48, 16, 32, 16)]
    assert addresses == [0, 64, 80, 128, 144, 176]
    for address in (0, 80, 144):
        policy.free(address)
    assert [policy.place(size) for size in (30, 40, 48)] == [144, 80, 0]


def test_the_policy_keeps_room_for_the_next_of_a_size() -> None:
    policy = Policy(dict(PARAMETERS) | {"run_bytes": 96.0})
    assert [policy.place(size) for size in (32, 64, 32, 20, 32)] == [0, 96, 32, 64, 160]


def test_first_objects_end_with_the_last_of_them() -> None:
    assert first_objects([8, -1, 8, -1, -2, 8, -1], 2) == (8, -1, 8)
    assert first_objects([8, 8, -1], 5) == (8, 8)


def calls(*steps: tuple[int, int, int]) -> Iterator[Call]:
    """Calls, after a third of as many objects that are made before anything is kept."""
    made = sum(1 for _, _, address in steps if address)
    for number in range(made // 2):
        yield 0, 100, -1 - number
    yield from steps


def test_calls_become_objects() -> None:
    objects = objects_of([(0, 5, 1), (0, 0, 2), (1, 9, 1), (2, 0, 0), (7, 0, 0), (1, 4, 3)])
    assert [(one.size_bytes, one.made, one.freed) for one in objects] == [
        (5, 0, 3),
        (1, 1, 3),
        (9, 2, 4),
        (4, 3, None),
    ]


def test_a_recording_leaves_out_what_is_short_lived_large_or_early() -> None:
    quick = [(0, 7, 90), (90, 0, 0)]
    between = [step for _ in range(SHORT) for step in quick]
    kept = list(events_of(objects_of(calls((0, 5, 1), (0, 1 << 17, 2), *between, (1, 9, 1)))))
    assert kept == [5, 9]
    assert list(events_of(objects_of(calls((0, 5, 1), *between, (1, 0, 0), (0, 9, 2))))) == [
        5,
        -1,
        9,
    ]


def test_a_model_is_a_program_of_a_few_kinds_of_objects() -> None:
    for model in FATES:
        events = allocations(model, 500, Draws(b"seed", model))
        sizes = [event for event in events if event > 0]
        assert len(sizes) == 500
        assert len(set(sizes)) <= 48
        made, gone = 0, set()
        for event in events:
            if event > 0:
                made += 1
            else:
                assert made + event not in gone
                assert 0 <= made + event < made
                gone.add(made + event)


def test_shipped_traces_are_small_and_only_numbers() -> None:
    traces = resources.files("workers.problems") / "traces"
    files = [file for file in traces.iterdir() if file.name.startswith("mallocs-")]
    assert {file.name for file in files} == {f"mallocs-{run}.gz" for run in ALL_RUNS}
    for file in files:
        packed = file.read_bytes()
        assert len(packed) < 20_000
        assert packed[3] == 0, "the gzip header names no file"
        text = gzip.decompress(packed).decode("ascii")
        assert re.fullmatch(r"(-?\d+\n)+", text)
        assert len(re.findall(r"^\d", text, re.MULTILINE)) == RECORDED_OBJECTS


def test_no_run_is_in_two_workloads(problem: MemoryAllocator) -> None:
    assert len(set(ALL_RUNS)) == len(ALL_RUNS) == 4 * len(PROGRAMS)
    for program, training, held_out in zip(
        PROGRAMS, problem.training_workloads, problem.held_out_workloads, strict=True
    ):
        assert WORKLOADS[training] == (f"{program}-a", f"{program}-c")
        assert WORKLOADS[held_out] == (f"{program}-d",)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_to_close(workload: str) -> None:
    scenarios = MemoryAllocator().recorded(workload)
    assert tuple(one.name for one in scenarios) == WORKLOADS[workload]
    for scenario in scenarios:
        assert sum(event > 0 for event in scenario.events) == OBJECTS
        assert scenario.bound.mean_pages < 0.96 * scenario.baseline.mean_pages
        assert scenario.bound.peak_pages < scenario.baseline.peak_pages


@pytest.mark.parametrize(
    "parameter", MemoryAllocator.parameters, ids=lambda parameter: parameter.name
)
def test_each_parameter_matters(problem: MemoryAllocator, parameter: Parameter) -> None:
    values = defaults(problem.parameters) | {"address_weight": 1.0}
    scores = {
        problem.evaluate(values | {parameter.name: parameter.from_unit(unit)}, "compile").gap_closed
        for unit in (0.0, 0.25, 0.5, 0.75, 1.0)
    }
    assert len(scores) >= 3


def test_evaluation_is_deterministic_and_shows_peaks(problem: MemoryAllocator) -> None:
    values = defaults(problem.parameters)
    score = problem.evaluate(values, "words")
    assert score == problem.evaluate(values, "words")
    assert list(score.scenarios) == [
        f"{run}/{cost}" for run in WORKLOADS["words"] for cost in ("mean", "peak")
    ]
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "words-e")


def test_pages_that_nothing_lies_on_are_forgotten() -> None:
    pages = Pages()
    spans = [pages.hold(address, 4_000) for address in (0, 4_000, 8_000)]
    for one in spans:
        pages.give_back(one)
    assert pages.used == {}
