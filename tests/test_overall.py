"""A problem on all its workloads at once: its scores are the means of theirs."""

from __future__ import annotations

import pytest

from tests.test_trainer import Hill
from workers.problems import ProblemError, Score
from workers.problems.overall import DEVELOPMENT, HELD_OUT, TRAINING, Overall

VALUES = {"x": 0.4, "y": 0.8}


class Slopes(Hill):
    """Each workload has costs of its own."""

    costs = {  # noqa: RUF012
        "north": (2.0, 4.0, 0.0),
        "south": (3.0, 4.0, 2.0),
        "north-development": (4.0, 4.0, 0.0),
        "south-development": (3.0, 4.0, 2.0),
        "north-held-out": (1.0, 5.0, 1.0),
        "south-held-out": (6.0, 5.0, 1.0),
    }

    def evaluate(self, values: object, workload: str) -> Score:
        return Score.from_costs({workload: self.costs[workload]})


@pytest.mark.parametrize(
    ("workload", "gap_closed", "achieved", "baseline", "bound"),
    [
        (TRAINING, 0.5, 2.5, 4.0, 1.0),
        (DEVELOPMENT, 0.25, 3.5, 4.0, 1.0),
        (HELD_OUT, 0.375, 3.5, 5.0, 1.0),
    ],
)
def test_scores_are_the_means_over_the_workloads_of_that_kind(
    workload: str, gap_closed: float, achieved: float, baseline: float, bound: float
) -> None:
    assert Overall(Slopes()).evaluate({}, workload) == Score(gap_closed, achieved, baseline, bound)


def test_each_workload_is_evaluated_once_with_the_values_given() -> None:
    hill = Hill()
    Overall(hill).evaluate(VALUES, TRAINING)
    assert hill.evaluated == [(VALUES, "north"), (VALUES, "south")]


def test_all_else_is_the_problem_s_own() -> None:
    overall = Overall(Hill())
    assert (overall.name, overall.cost_unit) == ("hill", "miles")
    assert overall.parameters == Hill.parameters
    assert (overall.training_workloads, overall.held_out_workloads) == ((TRAINING,), (HELD_OUT,))


def test_other_workloads_and_bad_values_are_refused() -> None:
    with pytest.raises(
        ProblemError, match="unknown workload 'north': there are training, development,"
    ):
        Overall(Hill()).evaluate(VALUES, "north")
    with pytest.raises(ProblemError, match="missing parameter 'y'"):
        Overall(Hill()).evaluate({"x": 0.5}, TRAINING)
