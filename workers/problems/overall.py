"""A problem on all its workloads at once: what is good for one program alone is not enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from workers.problems.policies import ProblemError
from workers.problems.problem import Parameter, Score, Trainable

TRAINING = "training"
DEVELOPMENT = "development"
HELD_OUT = "held-out"


class Overall:
    """`problem` with three workloads: TRAINING, DEVELOPMENT and HELD_OUT, the means over all of its
    own."""

    training_workloads = (TRAINING,)
    development_workloads = (DEVELOPMENT,)
    held_out_workloads = (HELD_OUT,)

    def __init__(self, problem: Trainable) -> None:
        self._problem = problem

    @property
    def name(self) -> str:
        return self._problem.name

    @property
    def cost_unit(self) -> str:
        return self._problem.cost_unit

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self._problem.parameters

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The mean of the scores on all workloads of that kind.

        Raises ProblemError for another workload, and for bad values.
        """
        kinds = {
            TRAINING: self._problem.training_workloads,
            DEVELOPMENT: self._problem.development_workloads,
            HELD_OUT: self._problem.held_out_workloads,
        }
        if workload not in kinds:
            raise ProblemError(f"unknown workload {workload!r}: there are {', '.join(kinds)}")
        return self._mean(values, kinds[workload])

    def _mean(self, values: Mapping[str, float], workloads: Sequence[str]) -> Score:
        scores = [self._problem.evaluate(values, workload) for workload in workloads]
        return Score(
            gap_closed=fmean(score.gap_closed for score in scores),
            achieved=fmean(score.achieved for score in scores),
            baseline=fmean(score.baseline for score in scores),
            bound=fmean(score.bound for score in scores),
        )
