"""The damage problem: boxes and unions by hand, its bound against brute force, its component."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import combinations, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import ProblemError, find_problem
from workers.problems.draws import Draws
from workers.problems.material import recording
from workers.problems.policies import WrongAnswer
from workers.problems.problem import Parameter, Problem, defaults, from_unit
from workers.problems.window_manager.damage import (
    BOX_COST_PIXELS,
    EXACT_RECTS,
    Frame,
    Rect,
    best_pixels,
    bounding_box,
    boxes_of,
    clusters,
    contains,
    fewest_pixels,
    painted_pixels,
    policy_pixels,
    union_pixels,
)
from workers.problems.window_manager.policy import PARAMETERS, Policy
from workers.problems.window_manager.problem import (
    FRAMES,
    PROGRAMS,
    RECTS,
    WORKLOADS,
    DamageMerging,
    recorded_frames,
    scenario,
    spread,
)
from workers.problems.window_manager.screens import (
    HEIGHT_PIXELS,
    MODELS,
    WIDTH_PIXELS,
    WINDOWS,
    windows,
)

ALL_RUNS = sorted(run for runs in WORKLOADS.values() for run in runs)
SCREEN = (0, 0, WIDTH_PIXELS, HEIGHT_PIXELS)
NEAR_AND_FAR: Frame = ((0, 0, 100, 20), (0, 40, 100, 20), (1_000, 0, 100, 20))
"""Two lines that are better painted as one, and one that is better painted by itself."""


@pytest.fixture(scope="module")
def problem() -> DamageMerging:
    return DamageMerging()


class Answering:
    """A policy that gives the same answer to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def merge(self, rects: Sequence[Rect]) -> list[int]:
        answer: list[int] = self.answer
        return answer


def partitions(rects: Sequence[Rect]) -> Iterator[list[list[Rect]]]:
    """Every grouping of the rectangles, each once."""
    if not rects:
        yield []
        return
    first, rest = rects[0], rects[1:]
    for groups in partitions(rest):
        yield [[first], *groups]
        for place, group in enumerate(groups):
            yield [*groups[:place], [first, *group], *groups[place + 1 :]]


def least_of_all(rects: Sequence[Rect]) -> int:
    return min(painted_pixels(map(bounding_box, groups)) for groups in partitions(rects))


def some_rects(draw: random.Random, most: int, size_pixels: int) -> Frame:
    """Rectangles at random, some of which overlap, hold each other or are the same."""
    return tuple(
        (draw.randrange(800), draw.randrange(600), *draw.choices(range(1, size_pixels), k=2))
        for _ in range(draw.randint(1, most))
    )


def frames(most: int) -> st.SearchStrategy[Frame]:
    place, size = st.integers(0, 900), st.integers(1, 400)
    rect = st.tuples(place, place, size, size)
    return st.lists(rect, min_size=1, max_size=most).map(tuple)


def test_boxes_and_their_cost_by_hand() -> None:
    boxes = boxes_of(Answering([2, 2, 0]), NEAR_AND_FAR)
    assert boxes == [(0, 0, 100, 60), (1_000, 0, 100, 20)]
    assert painted_pixels(boxes) == 100 * 60 + 100 * 20 + 2 * BOX_COST_PIXELS
    assert policy_pixels(Answering([2, 2, 0]), [NEAR_AND_FAR] * 3) == painted_pixels(boxes)


def test_what_overlaps_is_painted_twice() -> None:
    frame = ((0, 0, 10, 10), (5, 5, 10, 10))
    assert painted_pixels(boxes_of(Answering([0, 1]), frame)) == 200 + 2 * BOX_COST_PIXELS
    assert painted_pixels(boxes_of(Answering([0, 0]), frame)) == 225 + BOX_COST_PIXELS


@pytest.mark.parametrize(
    "answer",
    [
        None,
        0,
        "000",
        (0, 0, 0),
        [],
        [0, 0],
        [0, 0, 0, 0],
        [0, 0, 3],
        [0, 0, -1],
        [0, 0, 10**5_000],
        [0, 0, True],
        [0, 0, 1.0],
        [0, 0, float("nan")],
        [0, 0, None],
        [0, 0, [1]],
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_is_no_grouping_is_refused(answer: Any) -> None:
    with pytest.raises(WrongAnswer) as refused:
        boxes_of(Answering(answer), NEAR_AND_FAR)
    assert refused.value.method == "merge"
    assert "a list with a group, 0..n - 1, for each of the n rectangles" in refused.value.detail


def test_the_union_is_what_lies_in_any() -> None:
    draw = random.Random(3)
    for _ in range(100):
        rects = [(*draw.choices(range(20), k=2), *draw.choices(range(1, 12), k=2)) for _ in "12345"]
        pixels = {
            (column, row)
            for x, y, width, height in rects
            for column in range(x, x + width)
            for row in range(y, y + height)
        }
        assert union_pixels(rects) == len(pixels)


def test_the_baseline_is_one_box_and_the_bound_the_best_grouping() -> None:
    made = scenario("by hand", (NEAR_AND_FAR,))
    assert made.baseline == 1_100 * 60 + BOX_COST_PIXELS
    assert made.bound == min(
        1_100 * 60 + BOX_COST_PIXELS,
        100 * 60 + 100 * 20 + 2 * BOX_COST_PIXELS,
        3 * (100 * 20 + BOX_COST_PIXELS),
    )


@pytest.mark.parametrize("size_pixels", [20, 120, 400])
def test_the_bound_is_the_best_of_all_groupings(size_pixels: int) -> None:
    draw = random.Random(size_pixels)
    for _ in range(60):
        frame = some_rects(draw, 6, size_pixels)
        best = least_of_all(frame)
        assert fewest_pixels(frame) == best
        assert best_pixels(frame) == best


def test_parts_that_are_far_apart_are_bounded_by_themselves() -> None:
    draw = random.Random(5)
    several = 0
    for _ in range(100):
        left = some_rects(draw, 3, 200)
        right = tuple((x + 1_300, y, width, height) for x, y, width, height in left[::-1])
        frame = left + right
        several += len(clusters(list(frame))) > 1
        assert fewest_pixels(frame) == least_of_all(frame)
    assert several > 50


def test_where_too_many_are_close_the_bound_is_loose_and_no_more_than_the_best() -> None:
    stairs = tuple((40 * step, 40 * step, 60, 60) for step in range(EXACT_RECTS + 4))
    assert len(clusters(list(stairs))) == 1
    assert fewest_pixels(stairs) == union_pixels(stairs) + 2 * BOX_COST_PIXELS
    assert fewest_pixels(stairs) < best_pixels(stairs)


@settings(deadline=None)
@given(frames(10), st.data())
def test_no_grouping_beats_the_bound(frame: Frame, data: st.DataObject) -> None:
    groups = st.lists(st.integers(0, len(frame) - 1), min_size=len(frame), max_size=len(frame))
    painted = painted_pixels(boxes_of(Answering(data.draw(groups)), frame))
    assert painted >= fewest_pixels(frame) >= union_pixels(frame) + BOX_COST_PIXELS


@settings(deadline=None)
@given(frames(40), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_the_policy_groups_whatever_it_gets(frame: Frame, units: list[float]) -> None:
    policy = Policy(from_unit(DamageMerging.parameters, units))
    boxes = boxes_of(policy, frame)
    assert all(any(contains(box, rect) for box in boxes) for rect in frame)


def test_the_policy_paints_all_as_one_like_a_browser() -> None:
    many = tuple((100 * place, 0, 8, 8) for place in range(11))
    little_wasted = ((0, 0, 100, 20), (0, 60, 100, 20))
    assert Policy().merge(many) == [0] * 11
    assert Policy().merge(little_wasted) == [0, 0]


def test_the_policy_joins_rectangles_and_then_groups() -> None:
    first = PARAMETERS | {"whole_waste": 0.0, "most_waste": 1.0, "merge_pixels": 100.0}
    assert Policy(first | {"join_pixels": 100.0}).merge(NEAR_AND_FAR) == [0, 2, 1]
    assert Policy(first | {"join_pixels": 3_000.0}).merge(NEAR_AND_FAR) == [0, 0, 1]
    second = first | {"join_pixels": 100.0, "merge_pixels": 3_000.0}
    assert Policy(second).merge(NEAR_AND_FAR) == [0, 0, 1]
    assert Policy(second | {"most_waste": 0.3}).merge(NEAR_AND_FAR) == [0, 2, 1]


def test_frames_are_taken_evenly_and_only_those_with_something_to_decide() -> None:
    text = "".join(f"{place} 0 8 8 9 9 8 8\n" for place in range(10)) + "0 0 8 8\n"
    taken = spread(recorded_frames(text), 5)
    assert [frame[0][0] for frame in taken] == [0, 2, 4, 6, 8]
    assert len(spread(recorded_frames(text), 99)) == 10


def test_shipped_recordings_are_small_and_only_numbers() -> None:
    traces = resources.files("workers.problems") / "traces"
    files = [file for file in traces.iterdir() if file.name.startswith("damage-")]
    assert {file.name for file in files} == {f"damage-{run}.gz" for run in ALL_RUNS}
    assert sum(len(file.read_bytes()) for file in files) < 200_000
    for file in files:
        packed = file.read_bytes()
        assert packed[3] == 0, "the gzip header names no file"
        text = gzip.decompress(packed).decode("ascii")
        assert re.fullmatch(r"(\d+ \d+ \d+ \d+( \d+ \d+ \d+ \d+)*\n)+", text)
        assert all(contains(SCREEN, rect) for frame in recorded_frames(text) for rect in frame)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_runs_of_a_program_differ(program: str) -> None:
    runs = [set(recorded_frames(recording(f"damage-{program}-{run}"))) for run in "abcd"]
    for ours, theirs in combinations(runs, 2):
        assert len(ours & theirs) < 0.01 * len(ours)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_to_close_and_an_exact_bound(workload: str) -> None:
    scenarios = DamageMerging().recorded(workload)
    assert tuple(one.name for one in scenarios) == WORKLOADS[workload]
    for one in scenarios:
        assert 100 <= len(one.frames) * len(scenarios) <= FRAMES
        assert all(len(frame) in RECTS for frame in one.frames)
        assert one.bound < 0.95 * one.baseline


def test_a_screen_is_divided_into_windows() -> None:
    for seed in range(20):
        parts = windows(Draws(bytes([seed]), "windows"))
        assert len(parts) == WINDOWS
        assert union_pixels(parts) == WIDTH_PIXELS * HEIGHT_PIXELS
        assert sum(width * height for _, _, width, height in parts) == WIDTH_PIXELS * HEIGHT_PIXELS


@pytest.mark.parametrize("model", MODELS)
def test_models_damage_the_screen_and_nothing_else(model: str) -> None:
    for frame in islice(MODELS[model](Draws(b"seed", model)), 300):
        for x, y, width, height in frame:
            assert min(width, height) >= 1
            assert contains(SCREEN, (x, y, width, height))


def test_the_problem_is_found(problem: DamageMerging) -> None:
    found = find_problem("window_manager")
    assert isinstance(found, Problem)
    assert found.name == problem.name == "damage_merging"


def test_evaluation_is_deterministic_and_the_defaults_beat_the_baseline(
    problem: DamageMerging,
) -> None:
    values = defaults(problem.parameters)
    for workload in problem.training_workloads:
        score = problem.evaluate(values, workload)
        assert score == problem.evaluate(values, workload)
        assert 0.1 < score.gap_closed < 1


@pytest.mark.parametrize(
    "parameter", DamageMerging.parameters, ids=lambda parameter: parameter.name
)
def test_each_parameter_matters(problem: DamageMerging, parameter: Parameter) -> None:
    values = defaults(problem.parameters) | {"whole_waste": 0.2, "most_rects": 20}
    scores = set()
    for unit in (0.0, 0.25, 0.5, 0.75, 1.0):
        varied = values | {parameter.name: parameter.from_unit(unit)}
        scores.add(problem.evaluate(varied, "watch").gap_closed)
    assert len(scores) >= 3


def test_unknown_workloads_are_refused(problem: DamageMerging) -> None:
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(defaults(problem.parameters), "../watch")
