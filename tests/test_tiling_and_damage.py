"""The joint problem of tiling and damage: its pictures by hand, its bound, what it is worth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import ProblemError, find_joint_problem
from workers.problems.draws import Draws
from workers.problems.graphics.policy import Policy as TilingPolicy
from workers.problems.graphics.problem import TextureWalk
from workers.problems.graphics.texture import (
    LINE_BYTES,
    ROW_BY_ROW,
    SIDE,
    STEPS,
    Cache,
    View,
    texels,
)
from workers.problems.pairs.tiling_and_damage import (
    BOX_COST_BYTES,
    CACHES,
    FRAMES,
    PROGRAMS,
    SCALE,
    WORKLOADS,
    Outcome,
    Picture,
    TilingAndDamage,
    bound_bytes,
    paint,
    painted_plainly,
    picture,
    scenario,
    smaller,
)
from workers.problems.policies import WrongAnswer
from workers.problems.problem import JointProblem, defaults
from workers.problems.window_manager.damage import Frame, Rect
from workers.problems.window_manager.policy import Policy as MergingPolicy
from workers.problems.window_manager.problem import DamageMerging
from workers.search import search

LARGE = Cache(lines=4_096, ways=4_096)
rects = st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(1, 99), st.integers(1, 99))
frames = st.lists(rects, min_size=1, max_size=5).map(tuple)


class Tiled:
    """A texture in squares of a line each, or laid out otherwise, and boxes row by row."""

    def __init__(self, layout: Any = (4, 4, 1, 0)) -> None:
        self.answer = layout

    def layout(self) -> Any:
        return self.answer

    def walk(self, width: int, height: int, *turned: int) -> Any:
        return width, height, "rows", "rows"

    def fetched(self, lines: int) -> None: ...


class Whole:
    """All that is damaged is one box."""

    def merge(self, rects: Sequence[Rect]) -> Any:
        return [0] * len(rects)


class Apart:
    """Each rectangle is a box of its own."""

    def merge(self, rects: Sequence[Rect]) -> Any:
        return list(range(len(rects)))


class Drawn:
    """Groups as they are drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def merge(self, rects: Sequence[Rect]) -> Any:
        return [self.draw.randrange(len(rects)) for _ in rects]


@pytest.fixture(scope="module")
def problem() -> TilingAndDamage:
    return TilingAndDamage()


def upright(*damaged: Rect) -> Picture:
    """A picture on a screen that shows its texture from the first texel on, not turned; rectangles
    are in pixels of the smaller screen, and the first is where all of them begin."""
    made = picture(
        tuple((SCALE * x, SCALE * y, SCALE * wide, SCALE * high) for x, y, wide, high in damaged),
        Draws(b"", ""),
    )
    view = made.view._replace(u_x=STEPS, u_y=0, v_x=0, v_y=STEPS, u_0=0, v_0=0)
    return Picture(made.rects, made.left, made.top, view, texels(view))


def cost_bytes(lines: int, boxes: int) -> int:
    return lines * LINE_BYTES + boxes * BOX_COST_BYTES


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1)),
        ((SCALE, SCALE, SCALE, 2 * SCALE), (1, 1, 1, 2)),
        ((SCALE - 1, 5, 2, SCALE), (0, 0, 2, 2)),
    ],
)
def test_boxes_grow_to_whole_pixels(box: Rect, pixels: Rect) -> None:
    assert smaller(box) == pixels


def test_a_part_of_a_picture_by_hand() -> None:
    made = upright((3, 2, 1, 1), (6, 4, 2, 2))
    view, read = made.part(made.rects[1])
    assert (made.left, made.top, made.view.width, made.view.height) == (3, 2, 5, 4)
    assert view == View(2, 2, STEPS, 0, 0, STEPS, 0, 0)
    assert read == [2 * SIDE + 3, 2 * SIDE + 4, 3 * SIDE + 3, 3 * SIDE + 4]


def test_painting_by_hand() -> None:
    # Squares of 4 x 4 texels are lines: the corners have one each, the whole has nine.
    made = [upright((0, 0, 4, 4), (8, 8, 4, 4))]
    apart, whole = (paint(made, LARGE, Tiled(), merging) for merging in (Apart(), Whole()))
    assert apart == Outcome(cost_bytes(2, 2), 2, 32)
    assert whole == Outcome(cost_bytes(9, 1), 1, 144)
    assert bound_bytes(made) == min(cost_bytes(2, 2), cost_bytes(9, 1))


def test_a_frame_costs_what_its_boxes_do_on_average() -> None:
    made = [upright((0, 0, 4, 4)), upright((0, 0, 8, 4), (20, 0, 4, 4))]
    shown = paint(made, Cache(1, 1), Tiled(), Apart())
    # Row by row, two lines of four rows do not stay in a cache of one.
    assert shown == Outcome(cost_bytes(1 + 8 + 1, 3) / 2, 1.5, 32)


def test_the_baseline_is_one_box_row_by_row() -> None:
    made = [upright((0, 0, 4, 4), (8, 8, 4, 4))]
    for its_cache in (LARGE, *CACHES):
        shown = painted_plainly(made, its_cache)
        assert shown == paint(made, its_cache, Tiled(ROW_BY_ROW), Whole())
    assert painted_plainly(made, LARGE) == Outcome(cost_bytes(12, 1), 1, 144)


@settings(deadline=None, max_examples=60)
@given(st.lists(frames, min_size=1, max_size=3), st.integers(0, 2**32), st.data())
def test_nothing_is_better_than_the_bound(
    damaged: list[Frame], seed: int, data: st.DataObject
) -> None:
    draws = Draws(seed.to_bytes(8, "big"), "turned")
    made = [picture(frame, draws) for frame in damaged]
    its_cache = data.draw(st.sampled_from([*CACHES, LARGE]))
    tiling = data.draw(st.sampled_from([Tiled(), Tiled(ROW_BY_ROW), TilingPolicy(SIDE, 8, 1)]))
    for merging in (Whole(), Apart(), Drawn(seed), MergingPolicy()):
        shown = paint(made, its_cache, tiling, merging)
        assert shown.cost >= bound_bytes(made)


def test_the_bound_is_reached_where_the_cache_holds_all() -> None:
    one, two = upright((0, 0, 8, 8)), upright((0, 0, 4, 4), (60, 60, 4, 4))
    assert bound_bytes([one, two]) == paint([one, two], LARGE, Tiled(), Apart()).cost


def test_the_problem_is_found_in_either_order(problem: TilingAndDamage) -> None:
    found = find_joint_problem("graphics", "window_manager")
    again = find_joint_problem("window_manager", "graphics")
    assert isinstance(found, JointProblem)
    assert type(again) is type(found) is TilingAndDamage
    assert problem.specializations == ("graphics", "window_manager")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.recorded("../write")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: TilingAndDamage
) -> None:
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert not score.dropped
    assert len(score.scenarios) == len(CACHES) * len(WORKLOADS[workload])
    assert sum(len(one.pictures) for one in problem.recorded(workload)) <= FRAMES
    for one in score.scenarios.values():
        assert one.bound < 0.95 * one.baseline
        assert one.bound < one.achieved
    assert score.beside["pixels"] < score.beside["baseline_pixels"]
    assert score == problem.evaluate(defaults(problem.parameters), workload)


def test_the_baseline_closes_nothing(problem: TilingAndDamage) -> None:
    makers = {"graphics": lambda *_: Tiled(ROW_BY_ROW), "window_manager": Whole}
    score = problem.evaluate_policies(makers, problem.recorded("read"))
    assert score.gap_closed == 0.0
    assert score.beside["boxes"] == 1.0
    assert score.beside["pixels"] == score.beside["baseline_pixels"]


def test_policies_that_break_the_rules_are_refused(problem: TilingAndDamage) -> None:
    scenarios = [scenario("", CACHES[0], [((0, 0, 9, 9), (50, 50, 9, 9))], Draws(b"", ""))]
    bad_layout = {"graphics": lambda *_: Tiled((4, 4, 3, 0)), "window_manager": Whole}
    with pytest.raises(WrongAnswer, match=r"layout\(\) answered"):
        problem.evaluate_policies(bad_layout, scenarios)
    bad_groups = {"graphics": lambda *_: Tiled(), "window_manager": lambda: Stray()}
    with pytest.raises(WrongAnswer, match=r"merge\(\) answered"):
        problem.evaluate_policies(bad_groups, scenarios)


class Stray:
    def merge(self, rects: Sequence[Rect]) -> Any:
        return [len(rects)] * len(rects)


ALONE, SEED = 50, 0


def test_the_best_together_is_not_the_best_of_each(problem: TilingAndDamage) -> None:
    place = PROGRAMS.index("mixed")
    parts = {
        one.specialization: search(one, one.training_workloads[place], ALONE, SEED).values
        for one in (TextureWalk(), DamageMerging())
    }
    joined = problem.joined(parts)
    apart = problem.evaluate(joined, "mixed")
    together = search(problem, "mixed", 2 * ALONE, SEED, start=joined)
    assert together.score.gap_closed > apart.gap_closed + 0.05
    # Now that a pixel takes less, fewer boxes are worth more pixels.
    assert together.score.beside["boxes"] < apart.beside["boxes"]
    assert together.score.beside["pixels"] > apart.beside["pixels"]
