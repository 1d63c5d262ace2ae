"""A search split over participants: the same points for any number of them, in fewer rounds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import pytest

from workers.problems import Parameter, ProblemError, Score
from workers.problems.problem import defaults, to_unit
from workers.search import search
from workers.split_search import GENERATION, SHARE, Evaluation, best_of, evaluate_share

SEED = 7


class Bowl:
    """A smooth problem whose best is known: the gap is closed at 0.7 of each range."""

    specialization = "test"
    name = "bowl"
    cost_unit = "squared distance"
    training_workloads = ("a",)
    held_out_workloads = ("b",)

    def __init__(self, dimensions: int = 6) -> None:
        self.parameters = tuple(Parameter(f"p{i}", 0.0, 1.0, 0.2) for i in range(dimensions))

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        if workload not in ("a", "b"):
            raise ProblemError(f"unknown workload {workload!r}")
        error = sum((value - 0.7) ** 2 for value in values.values())
        return Score.from_costs({workload: (error, 1.0, 0.0)})

    def component_source(self, values: Mapping[str, float]) -> str:
        return ""


def share_of(history: Any, part: int = 0, parts: int = 1, problem: Bowl | None = None) -> Any:
    return evaluate_share(problem or Bowl(), "a", SEED, None, history, part, parts)


def split(parts: int, evaluations: int, problem: Bowl | None = None) -> list[list[Any]]:
    """The rounds of a search of at least so many evaluations, each as it comes from JSON."""
    history: list[list[Any]] = []
    while len(flat(history)) < evaluations:
        shares = [share_of(history, part, parts, problem) for part in range(parts)]
        history.append(json.loads(json.dumps(shares)))
    return history


def flat(history: list[list[Any]]) -> list[Any]:
    return [one for shares in history for share in shares for one in share]


@pytest.mark.parametrize("parts", [2, 3, 4, 5, 13])
def test_the_points_do_not_depend_on_the_number_of_participants(parts: int) -> None:
    evaluations = 10 * GENERATION
    alone, together = split(1, evaluations), split(parts, evaluations)
    assert flat(together) == flat(alone)
    assert len(flat(alone)) == evaluations
    assert len(together) == 10 * math.ceil(GENERATION / (parts * SHARE)) < len(alone)
    assert all(len(shares) == parts for shares in together)
    assert max(len(share) for shares in together for share in shares) <= SHARE


@pytest.mark.parametrize("parts", [1, 5])
def test_a_generation_that_no_number_of_full_rounds_makes_up(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.split_search.GENERATION", 17)
    history = split(parts, 34)
    sizes = [sum(map(len, shares)) for shares in history]
    assert sizes == ([3, 3, 3, 3, 3, 2] * 2 if parts == 1 else [15, 2] * 2)
    assert len({tuple(point) for point, _ in flat(history)}) == 34


def test_the_start_is_the_first_point() -> None:
    bowl = Bowl()
    start = {parameter.name: 0.7 for parameter in bowl.parameters}
    assert flat(split(2, 1))[0][0] == to_unit(bowl.parameters, defaults(bowl.parameters))
    history: list[list[Any]] = []
    for _ in range(8):
        history.append([evaluate_share(bowl, "a", SEED, start, history, 0, 1)])
    assert history[0][0][0] == Evaluation([0.7] * 6, 1.0)
    assert best_of(bowl, history).values == start


def test_the_seed_and_the_history_decide_everything_else() -> None:
    history = split(3, 60)
    assert history == split(3, 60)
    assert share_of(history, 1, 3) == share_of(history, 1, 3)
    other = evaluate_share(Bowl(), "a", SEED + 1, None, history, 1, 3)
    assert other != share_of(history, 1, 3)


def test_the_recorded_points_count_not_those_that_would_be_drawn_here() -> None:
    """As after a participant whose linear algebra rounds otherwise."""
    history = split(1, GENERATION)
    point, gap_closed = history[1][0][0]
    history[1][0][0] = [[unit + 1e-6 for unit in point], gap_closed]
    moved = share_of(history)
    assert [one.point for one in moved] != [one.point for one in share_of(split(1, GENERATION))]
    for ours, theirs in zip(moved, share_of(split(1, GENERATION)), strict=True):
        assert ours.point == pytest.approx(theirs.point, abs=1e-3)


def test_it_finds_what_the_search_of_one_finds() -> None:
    evaluations = 25 * GENERATION
    bowl = Bowl()
    alone = [1 - search(bowl, "a", evaluations, seed).score.gap_closed for seed in range(3)]
    errors = []
    for seed in range(3):
        history: list[list[Any]] = []
        while len(flat(history)) < evaluations:
            shares = [evaluate_share(bowl, "a", seed, None, history, part, 4) for part in range(4)]
            history.append(shares)
        errors.append(1 - best_of(bowl, history).gap_closed)
    assert median(errors) < max(3 * median(alone), 1e-3)


def test_one_parameter_and_restarts() -> None:
    """One parameter converges soon; the next generations are larger, and still one for all."""
    bowl = Bowl(1)
    alone, together = split(1, 400, bowl), split(4, 400, bowl)
    assert flat(together)[:400] == flat(alone)[:400]
    assert best_of(bowl, alone).gap_closed == pytest.approx(1.0)
    points = [point[0] for point, _ in flat(alone)]
    assert len(set(points)) == len(points)
    assert max(points[240:]) - min(points[240:]) > 0.1


def test_the_best_is_the_earliest_of_equals() -> None:
    history = [[[[[0.5], 0.1], [[0.25], 0.9]], [[[0.75], 0.9]]]]
    best = best_of(Bowl(1), history)
    assert (best.values, best.gap_closed, best.evaluations) == ({"p0": 0.25}, 0.9, 3)
    assert best_of(Bowl(1), [[[[[0], -1]]]]).values == {"p0": 0.0}


POINT = [0.5] * 6


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "the history is no list"),
        ([7], "round 0 is no list"),
        ([["share"]], "round 0, part 0 is no list"),
        ([[["evaluation"]]], "round 0, part 0, evaluation 0 is no list"),
        ([[[[POINT]]]], "a point and the gap it closed"),
        ([[[["point", 0.5]]]], "evaluation 0, its point is no list"),
        ([[[[POINT[1:], 0.5]]]], "6 coordinates are needed, not 5"),
        ([[[[[*POINT[1:], "0.5"], 0.5]]]], "its point: no number"),
        ([[[[[*POINT[1:], math.nan], 0.5]]]], "its point: not finite"),
        ([[[[[*POINT[1:], 1.0000001], 0.5]]]], "outside the unit cube"),
        ([[[[[*POINT[1:], -1], 0.5]]]], "outside the unit cube"),
        ([[[[POINT, None]]]], "gap_closed: no number"),
        ([[[[POINT, True]]]], "gap_closed: no number"),
        ([[[[POINT, math.nan]]]], "gap_closed: not finite"),
        ([[[[POINT, math.inf]]]], "gap_closed: not finite"),
        ([[[[POINT, 10**400]]]], "gap_closed: not finite, or too large"),
    ],
)
def test_malformed_data_of_others_is_refused(history: Any, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        share_of(history)
    with pytest.raises(ProblemError, match=message):
        best_of(Bowl(), history)


def test_a_history_of_another_split_is_refused() -> None:
    history = split(2, 12)
    with pytest.raises(ProblemError, match="round 0 has 2 shares, not 3"):
        share_of(history, 0, 3)
    history[1][0].pop()
    with pytest.raises(ProblemError, match="round 1, part 0: 2 evaluations, not 3"):
        share_of(history, 1, 2)


def test_points_that_no_search_would_draw_do_not_break_it() -> None:
    """From within a billionth to the corners of the cube, with ever better scores."""
    history: list[list[Any]] = []
    for number in range(30):
        share = share_of(history)
        points = [[0.5 + 1e-9 * unit for unit in one.point] for one in share]
        corners = [[float(unit > 0.5) for unit in one.point] for one in share]
        chosen = points if number < 20 else corners
        history.append([[[point, number + i * 1e-3] for i, point in enumerate(chosen)]])
    assert all(0.0 <= unit <= 1.0 for one in share_of(history) for unit in one.point)


@pytest.mark.parametrize(("part", "parts"), [(-1, 2), (2, 2), (0, 0)])
def test_a_part_that_is_none_is_refused(part: int, parts: int) -> None:
    with pytest.raises(ProblemError, match=f"part {part} is not one of"):
        share_of([], part, parts)


def test_a_bad_start_workload_or_empty_history_is_refused() -> None:
    with pytest.raises(ProblemError, match="missing parameter"):
        evaluate_share(Bowl(), "a", SEED, {"p0": 0.5}, [], 0, 1)
    with pytest.raises(ProblemError, match="unknown workload"):
        evaluate_share(Bowl(), "c", SEED, None, [], 0, 1)
    with pytest.raises(ProblemError, match="no evaluation"):
        best_of(Bowl(), [])
