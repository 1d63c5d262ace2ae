"""The experiment: what its arms do, what is made of them, and what the command prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import experiment
from cli.main import app
from cli.output import ExitCode
from workers.experiment.arms import SINGLE, Run, run_arm
from workers.experiment.intervals import interval_of
from workers.experiment.one_workload import OneWorkload
from workers.experiment.outcomes import outcomes_of
from workers.experiment.strategies import STRATEGIES
from workers.problems import Problem, find_problem
from workers.problems.problem import defaults
from workers.training import TOLD_EVALUATIONS

SPECIALIZATION = "process_manager"
TRAINERS, EVALUATIONS = 2, 40


def arm(name: str, seed: int = 1, evaluations: int = EVALUATIONS) -> Run:
    return run_arm(SPECIALIZATION, name, seed, TRAINERS, evaluations)


def run(name: str, seed: int, *curve: float, held_out: float = 0.5) -> Run:
    return Run(SPECIALIZATION, name, seed, "w", curve, held_out)


@pytest.mark.parametrize("name", [SINGLE, *STRATEGIES])
def test_every_arm_evaluates_as_often_and_repeats(name: str) -> None:
    done = arm(name)
    assert len(done.curve) == EVALUATIONS
    assert list(done.curve) == sorted(done.curve)
    assert done == arm(name)
    assert done != arm(name, seed=5)  # of the same workload


def test_all_arms_begin_alike_and_hear_of_each_other_only_if_they_share() -> None:
    problem = find_problem(SPECIALIZATION)
    assert problem is not None
    begun = problem.evaluate(defaults(problem.parameters), problem.training_workloads[1])
    done = {name: arm(name) for name in (SINGLE, *STRATEGIES)}
    assert {one.curve[0] for one in done.values()} == {begun.gap_closed}
    assert {one.workload for one in done.values()} == {problem.training_workloads[1]}
    # Before anybody has told anything, who shares and who does not do the same.
    silent = TRAINERS * TOLD_EVALUATIONS
    assert done["measured"].curve[:silent] == done["isolated"].curve[:silent]
    assert done["measured"].curve != done["isolated"].curve


def test_what_is_held_out_is_measured_once_by_the_last_best() -> None:
    done = arm("isolated", evaluations=2)  # twice the defaults
    problem = find_problem(SPECIALIZATION)
    assert problem is not None
    judged = problem.evaluate(defaults(problem.parameters), problem.held_out_workloads[1])
    assert done.held_out == judged.gap_closed


def test_a_view_of_one_workload_is_a_problem_that_keeps_what_was_tried() -> None:
    problem = find_problem(SPECIALIZATION)
    assert problem is not None
    view = OneWorkload(problem, 2)
    assert isinstance(view, Problem)
    values: Mapping[str, float] = defaults(problem.parameters)
    trained = view.evaluate(values, view.training_workloads[0])
    view.evaluate(values, view.held_out_workloads[0])
    assert view.tried == [(values, trained.gap_closed)]
    assert view.training_workloads == problem.training_workloads[2:3]
    assert view.held_out_workloads == problem.held_out_workloads[2:3]


def test_the_interval_of_equal_values_is_a_point_and_of_others_holds_the_mean() -> None:
    assert interval_of([0.25] * 5) == (0.25, 0.25, 0.25)
    mean, low, high = interval_of([0.0, 1.0] * 50)
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.02)  # 1.96 * 0.5 / 10
    assert interval_of([3.0, 1.0, 2.0]) == interval_of([3.0, 1.0, 2.0])


def test_what_is_needed_is_paired_by_seed_and_who_never_gets_there_counts_as_all() -> None:
    runs = [
        *(run("isolated", 1, 0.1, 0.2, 0.2, 0.4), run("isolated", 2, 0.1, 0.1, 0.1, 0.8)),
        run("measured", 1, 0.1, 0.4, 0.5, 0.6, held_out=0.9),
        run("measured", 2, 0.1, 0.7, 0.7, 0.7, held_out=0.3),
    ]
    isolated, measured = outcomes_of(runs)
    assert (isolated.arm, isolated.seeds, isolated.reached) == ("isolated", 2, 2)
    assert isolated.evaluations.mean == 1.0
    assert isolated.gain == (0.0, 0.0, 0.0)
    assert (measured.arm, measured.seeds, measured.reached) == ("measured", 2, 1)
    assert measured.evaluations.mean == pytest.approx((0.5 + 1.0) / 2)
    assert measured.trained.mean == pytest.approx(0.65)
    assert measured.held_out.mean == pytest.approx(0.6)
    assert measured.gain.mean == pytest.approx(0.1)
    assert not measured.takes_half
    assert measured.beats_baseline


# -- the command -----------------------------------------------------------------------------------

SMALL = (*("-p", SPECIALIZATION), *("--seeds", "1"), *("-t", "2"), *("-e", "12"))


def sharing(*options: str) -> Any:
    return CliRunner().invoke(app, ["experiment", "sharing", *options])


def test_it_prints_the_arms_that_were_asked_for_and_what_each_is() -> None:
    done = sharing(*SMALL, "--arm", "ring", "--processes", "1")
    assert done.exit_code == ExitCode.OK
    assert done.output.count(SPECIALIZATION) == 2
    assert "isolated: share nothing; at most half the evaluations on " in done.output
    assert "ring: the same as islands, with one neighbour; " in done.output


def test_as_json_it_has_outcomes_runs_and_curves_and_draws_them(tmp_path: Path) -> None:
    done = sharing(*SMALL, "--processes", "1", "--json", "--plots", str(tmp_path / "new"))
    assert done.exit_code == ExitCode.OK
    shown = json.loads(done.output)
    assert [outcome["arm"] for outcome in shown["outcomes"]] == list(experiment.ARMS)
    assert [len(one["curve"]) for one in shown["runs"]] == [12] * len(experiment.ARMS)
    assert (tmp_path / "new" / "sharing.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-p", "process_manger"), "did you mean process_manager?"),
        (("-a", "rings"), "did you mean ring?"),
        (("-t", "8", "-e", "5"), "8 trainers need at least as many"),
        (("--seeds", "99999999999999999999999"), "should be less than or equal to 1000"),
        (
            (*SMALL, "--plots", "/dev/null/curves"),
            "--plots: /dev/null/curves/sharing.png cannot be",
        ),
    ],
)
def test_wrong_usage_ends_as_such(options: tuple[str, ...], told: str) -> None:
    done = sharing(*options)
    assert done.exit_code == ExitCode.USAGE
    assert told in " ".join(done.output.replace("│", " ").split())
