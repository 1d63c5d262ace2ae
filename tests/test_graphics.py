"""The texture problem: walks and caches by hand, its bound against brute force, its component."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.problems import ProblemError, find_problem
from workers.problems.draws import Draws
from workers.problems.graphics.policy import Policy
from workers.problems.graphics.problem import (
    CACHES,
    USES,
    WORKLOADS,
    TextureWalk,
    bytes_a_pixel,
    scenario,
)
from workers.problems.graphics.raster import ORDERS, Walk, pixels
from workers.problems.graphics.texture import (
    LINE_BYTES,
    LINE_SHAPES,
    LINE_TEXELS,
    ROW_BY_ROW,
    SIDE,
    STEPS,
    Cache,
    Layout,
    Texture,
    View,
    fetched_lines,
    fewest_lines,
    lines_of,
    lines_read,
    row_by_row,
    texels,
)
from workers.problems.graphics.views import MODELS, SIZES
from workers.problems.policies import WrongAnswer
from workers.problems.problem import Problem, defaults, from_unit

LARGE = Cache(lines=4_096, ways=4_096)
SQUARES = Layout(4, 4, 1, 0)
UPRIGHT = View(8, 8, STEPS, 0, 0, STEPS, 0, 0)
LAYOUTS = [
    Layout(width, max(height, LINE_TEXELS // width), tiles, padding_lines)
    for width, height in ((1, 1), (2, 16), (4, 1), (4, 8), (8, 1), (16, 1), (16, 16), (64, 1))
    for tiles, padding_lines in ((1, 0), (1, 3), (2, 0))
]
views = st.builds(
    View,
    st.integers(1, 12),
    st.integers(1, 12),
    *[st.integers(-5 * STEPS, 5 * STEPS)] * 4,
    *[st.integers(0, SIDE - 1)] * 2,
)
caches = st.sampled_from([*CACHES, Cache(4, 4), LARGE])


@pytest.fixture(scope="module")
def problem() -> TextureWalk:
    return TextureWalk()


class Fixed:
    """Always the same layout and walk; remembers what it was told."""

    def __init__(self, layout: Any = SQUARES, walk: Any = (1, 1, "rows", "rows")) -> None:
        self.answers = layout, walk
        self.told: list[Any] = []

    def layout(self) -> Any:
        return self.answers[0]

    def walk(self, *view: int) -> Any:
        self.told.append(view)
        return self.answers[1]

    def fetched(self, lines: int) -> None:
        self.told.append(lines)


def filled(policy: Any, cache: Cache, *shown: View) -> int:
    """The lines that views fetch."""
    texture = Texture(policy, cache)
    return sum(texture.fill(view, texels(view)) for view in shown)


def listed_lru(lines: list[int], cache: Cache) -> int:
    """Fetched lines as plainly as they can be counted: by how many others were read since."""
    sets, fetched = cache.lines // cache.ways, 0
    for place, line in enumerate(lines):
        before = lines[:place]
        since = before[len(before) - before[::-1].index(line) :] if line in before else None
        rivals = {other for other in since or () if other % sets == line % sets}
        fetched += since is None or len(rivals) >= cache.ways
    return fetched


@pytest.mark.parametrize(
    ("order", "cells"),
    [
        ("rows", "00 10 20 01 11 21"),
        ("columns", "00 01 10 11 20 21"),
        ("rows_and_back", "00 10 20 21 11 01"),
        ("columns_and_back", "00 01 11 10 20 21"),
        ("morton", "00 10 01 11 20 21"),
        ("hilbert", "00 10 11 01 21 20"),
    ],
)
def test_orders_by_hand(order: str, cells: str) -> None:
    assert [f"{x}{y}" for x, y in ORDERS[order](3, 2)] == cells.split()


def test_the_cells_of_hilberts_curve_are_neighbours() -> None:
    steps = itertools.pairwise(ORDERS["hilbert"](16, 16))
    assert {abs(x - a) + abs(y - b) for (x, y), (a, b) in steps} == {1}


def test_a_walk_by_hand() -> None:
    # Two blocks wide and two high, the right ones of a column, the lower ones of a row.
    order = pixels(3, 3, Walk(2, 2, "columns", "rows_and_back"))
    assert order == [0, 1, 4, 3, 6, 7, 2, 5, 8]


@given(st.data(), st.integers(1, 20), st.integers(1, 20))
def test_every_walk_fills_each_pixel_once(data: st.DataObject, width: int, height: int) -> None:
    order = st.sampled_from(sorted(ORDERS))
    walk = Walk(
        data.draw(st.integers(1, width)),
        data.draw(st.integers(1, height)),
        data.draw(order),
        data.draw(order),
    )
    assert sorted(pixels(width, height, walk)) == list(range(width * height))


def test_texels_by_hand() -> None:
    turned = View(2, 3, 0, -STEPS, STEPS // 2, 0, 1, 0)
    assert texels(UPRIGHT)[:10] == (0, 1, 2, 3, 4, 5, 6, 7, SIDE, SIDE + 1)
    # The first column is u = 1, the next ones -1 and so on, from the other side of the texture.
    assert texels(turned) == (1, 1, 0, 0, SIDE - 1, SIDE - 1)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        # Lines of (0, 0), (4, 0), (8, 0), (0, 4), (0, 8).
        (ROW_BY_ROW, [0, 0, 0, 4 * 8, 8 * 8]),
        (Layout(4, 4, 1, 0), [0, 1, 2, 32, 64]),
        (Layout(4, 4, 1, 3), [0, 1, 2, 35, 70]),
        (Layout(4, 4, 2, 0), [0, 1, 4, 2, 64]),
        (Layout(8, 8, 1, 0), [0, 0, 4, 2, 64]),
    ],
)
def test_layouts_by_hand(layout: Layout, expected: list[int]) -> None:
    lines = lines_of(layout)
    assert [lines[v * SIDE + u] for u, v in ((0, 0), (4, 0), (8, 0), (0, 4), (0, 8))] == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_full_lines_of_one_of_the_shapes(layout: Layout) -> None:
    lines = lines_of(layout)
    texels_of: dict[int, list[int]] = {}
    for texel, line in enumerate(lines):
        texels_of.setdefault(line, []).append(texel)
    assert {len(its) for its in texels_of.values()} == {LINE_TEXELS}
    shape = Layout(width := min(LINE_TEXELS, layout.tile_width), LINE_TEXELS // width, 1, 0)
    assert shape in LINE_SHAPES
    together = {tuple(its) for its in texels_of.values()}
    assert len({lines_of(shape)[its[0]] for its in together}) == len(together)
    assert all(len({lines_of(shape)[texel] for texel in its}) == 1 for its in together)


def test_a_cache_by_hand() -> None:
    assert fetched_lines([0, 0, 1, 0, 1], Cache(2, 1)) == 2
    # 0 and 2 have one place, 1 and 3 the other.
    assert fetched_lines([0, 2, 0, 1, 1, 2], Cache(2, 1)) == 5
    assert fetched_lines([0, 2, 0, 1, 0, 2], Cache(2, 2)) == 4


@given(st.lists(st.integers(0, 11), max_size=60), caches)
def test_a_cache_gives_up_what_was_not_used_for_longest(lines: list[int], cache: Cache) -> None:
    assert fetched_lines(lines, cache) == listed_lru(lines, cache)


def test_a_view_by_hand() -> None:
    policy = Fixed(SQUARES, (8, 8, "rows", "rows"))
    # Eight rows lead through two lines each, which one place cannot hold.
    assert filled(policy, Cache(1, 1), UPRIGHT) == 16
    assert policy.told == [(8, 8, STEPS, 0, 0, STEPS), 16]
    assert filled(Fixed(SQUARES, (4, 4, "rows", "rows")), Cache(1, 1), UPRIGHT) == 4
    assert filled(Fixed(SQUARES), LARGE, UPRIGHT, UPRIGHT) == 8, "the cache is emptied"


def test_the_baseline_by_hand() -> None:
    # Stored row by row, a column is 8 lines, and two places hold none of them until the next.
    on_its_side = View(8, 8, 0, STEPS, STEPS, 0, 0, 0)
    for view, lines in ((UPRIGHT, 8), (on_its_side, 64)):
        made = scenario("page", Cache(2, 2), [view])
        assert (made.baseline, made.bound) == (lines * LINE_BYTES / 64, 4 * LINE_BYTES / 64)


def test_the_bound_is_the_best_of_all_layouts_and_walks_if_the_cache_holds_all() -> None:
    draws = Draws(b"small", "views")
    for model in MODELS.values():
        shown = [model(draws)._replace(width=6, height=5) for _ in range(2)]
        reads = [texels(view) for view in shown]
        best = min(
            sum(
                fetched_lines(lines_read(layout, row_by_row(view), view, read), LARGE)
                for view, read in zip(shown, reads, strict=True)
            )
            for layout in LAYOUTS
        )
        assert fewest_lines(reads) == best


def test_the_policy_comes_near_what_trying_everything_finds() -> None:
    view = MODELS["sprites"](Draws(b"small", "sprite"))._replace(width=8, height=8)
    sizes = (1, 2, 4, 8)
    fewest = min(
        filled(Fixed(layout, walk), Cache(2, 1), view)
        for layout in LAYOUTS
        for walk in itertools.product(sizes, sizes, ORDERS, ("rows", "columns"))
    )
    draw = random.Random(1)
    problem = TextureWalk()
    found = min(
        filled(make(SIDE, 2, 1), Cache(2, 1), view)
        for _ in range(200)
        for make in problem.makers(
            from_unit(problem.parameters, [draw.random() for _ in problem.parameters])
        ).values()
    )
    assert fewest_lines([texels(view)]) <= fewest
    assert found <= 1.2 * fewest


@given(st.lists(views, min_size=1, max_size=3), caches, st.sampled_from(LAYOUTS), st.data())
def test_nothing_is_better_than_the_bound(
    shown: list[View], cache: Cache, layout: Layout, data: st.DataObject
) -> None:
    order = st.sampled_from(sorted(ORDERS))
    walk = (1, 1, data.draw(order), data.draw(order))
    fewest = fewest_lines([texels(view) for view in shown])
    assert filled(Fixed(layout, walk), cache, *shown) >= fewest
    assert filled(Policy(SIDE, *cache), cache, *shown) >= fewest


@given(st.lists(views, min_size=1, max_size=3), st.integers(0, 2**32))
def test_every_policy_of_the_range_keeps_the_rules(shown: list[View], seed: int) -> None:
    draw, problem = random.Random(seed), TextureWalk()
    values = from_unit(problem.parameters, [draw.random() for _ in problem.parameters])
    assert filled(problem.makers(values)["graphics"](SIDE, 8, 2), Cache(8, 2), *shown) > 0


HUGE = 10**6_000
NO_LAYOUTS: list[Any] = [
    None,
    "rows",
    4,
    [],
    (4, 4, 1),
    (4, 4, 1, 0, 0),
    (True, 16, 1, 0),
    (4.0, 4, 1, 0),
    (4, 4, 1, float("nan")),
    (4, 4, 1, -1),
    (4, 4, 1, 65),
    (4, 4, 0, 0),
    (4, 4, 3, 0),
    (4, 4, 64, 0),
    (2, 4, 1, 0),
    (-16, -1, 1, 0),
    (256, 1, 1, 0),
    (HUGE, 4, 1, 0),
    (2**6_000, 4, 1, 0),
]
NO_WALKS: list[Any] = [
    None,
    "rows",
    [],
    (1, 1, "rows"),
    (1, 1, "rows", "rows", "rows"),
    (True, 1, "rows", "rows"),
    (1.0, 1, "rows", "rows"),
    (float("inf"), 1, "rows", "rows"),
    (0, 1, "rows", "rows"),
    (9, 1, "rows", "rows"),
    (1, HUGE, "rows", "rows"),
    (1, 1, "spiral", "rows"),
    (1, 1, "rows", ["rows"]),
    (1, 1, "rows", "x" * 10**6),
]


@pytest.mark.parametrize(
    ("method", "policy", "rule"),
    [
        *(("layout", Fixed(layout=answer), "tiles of 16 texels or more") for answer in NO_LAYOUTS),
        *(("walk", Fixed(walk=answer), "1..8 x 1..8 pixels") for answer in NO_WALKS),
    ],
)
def test_no_wrong_answer_gets_by(method: str, policy: Fixed, rule: str) -> None:
    with pytest.raises(WrongAnswer) as refused:
        filled(policy, LARGE, UPRIGHT)
    detail = refused.value.detail
    assert refused.value.method == method
    assert detail.startswith(f"the policy's {method}() answered ")
    assert (
        rule in detail or f"it must be a tuple[int, int, {'int' * (method == 'layout')}" in detail
    )
    assert "\n" not in detail
    assert len(detail) < 250


def test_a_list_stands_for_a_tuple() -> None:
    assert filled(Fixed([4, 4, 1, 0], [4, 4, "rows", "rows"]), LARGE, UPRIGHT) == 4


def test_strips_are_as_wide_as_the_cache_bears() -> None:
    values = {"strip_share": 1.0, "depth_lines": 1.0, "correction": 1.5}
    policy = Policy(SIDE, 4, 1, defaults(TextureWalk().parameters) | values)
    assert policy.layout() == (4, 4, 1, 0)
    # A line is 4 pixels wide and high here. More lines lie down than across: strips run down.
    assert policy.walk(32, 72, STEPS, 0, 0, STEPS) == (16, 4, "columns", "columns")
    policy.fetched(1_000)
    assert policy.walk(72, 32, STEPS, 0, 0, STEPS) == (4, 11, "rows", "rows")
    policy.fetched(500)
    assert policy.walk(32, 72, STEPS, 0, 0, STEPS) == (7, 4, "columns", "columns")
    policy.fetched(600)
    assert policy.walk(32, 72, STEPS, 0, 0, STEPS) == (11, 4, "columns", "columns")


@pytest.mark.parametrize("use", USES)
def test_views_are_about_as_large_and_all_different(use: str) -> None:
    draws = Draws(b"views", use)
    shown = [MODELS[use](draws) for _ in range(100)]
    assert len(set(shown)) == 100
    assert {(view.width, view.height) for view in shown} == set(SIZES)
    assert all(2_304 <= width * height <= 2_320 for width, height in SIZES)


def test_no_two_workloads_have_views_in_common() -> None:
    recorded = itertools.chain.from_iterable(map(TextureWalk().recorded, WORKLOADS))
    seen = [view for one in recorded for view in one.views]
    generated = [view for one in TextureWalk().generated(b"views") for view in one.views]
    assert len({*seen, *generated}) == len(seen) + len(generated)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: TextureWalk
) -> None:
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert not score.dropped
    assert len(score.scenarios) == len(CACHES)
    for one in score.scenarios.values():
        assert one.bound < 0.6 * one.baseline
        assert one.bound < one.achieved
    assert score == problem.evaluate(defaults(problem.parameters), workload)


def test_the_baseline_closes_nothing(problem: TextureWalk) -> None:
    class RowByRow(Fixed):
        def walk(self, *view: int) -> Any:
            return view[0], view[1], "rows", "rows"

    makers = {"graphics": lambda *_: RowByRow(ROW_BY_ROW)}
    assert problem.evaluate_policies(makers, problem.recorded("floors")).gap_closed == 0.0


def test_costs_are_bytes_a_pixel() -> None:
    assert bytes_a_pixel(3, [UPRIGHT, UPRIGHT._replace(height=4)]) == 3 * LINE_BYTES / 96


def test_the_problem_is_found(problem: TextureWalk) -> None:
    found = find_problem("graphics")
    assert isinstance(found, Problem)
    assert type(found) is TextureWalk
    assert (found.name, found.cost_unit) == ("texture_walk", "bytes/pixel")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(defaults(problem.parameters), "../pages")
