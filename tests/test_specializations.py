"""The built-in specializations: all of them train, and whoever has a problem together meets."""

from __future__ import annotations

import pytest

from coordinator.specializations import (
    CAPABILITIES,
    FEATURES,
    SEEKS,
    can_develop,
    capabilities_of,
    fits,
)
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, find_problem


def test_there_is_a_problem_for_each() -> None:
    assert {problem.specialization for problem in PROBLEMS} == set(CAPABILITIES)
    for problem in PROBLEMS:
        assert find_problem(problem.specialization) is problem


def test_each_has_a_problem_together_with_another() -> None:
    paired = [word for problem in JOINT_PROBLEMS for word in problem.specializations]
    assert set(paired) == set(CAPABILITIES)


@pytest.mark.parametrize("problem", JOINT_PROBLEMS, ids=lambda problem: problem.name)
def test_two_that_have_a_problem_together_seek_each_other(problem: JointProblem) -> None:
    one, other = problem.specializations
    assert other in SEEKS[one]
    assert one in SEEKS[other]
    assert fits(one, other, [])
    assert fits(other, one, [])


def test_each_has_a_feature_that_it_can_develop() -> None:
    assert sorted(FEATURES.values()) == sorted(CAPABILITIES)
    for feature, word in FEATURES.items():
        assert can_develop(feature, word, capabilities_of(word))
