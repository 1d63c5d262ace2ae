"""What all problems of this package have in common: parameter values become policies, policies are
measured in each scenario, and costs become a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import Any

from workers.problems.policies import Interface, Maker, ProblemError
from workers.problems.problem import About, Measured, Parameter, Scenarios, Score


class Measuring(ABC):
    """Most of `problem.Evaluator` and of `problem.Trainable`."""

    name: str
    cost_unit: str
    about: About
    training_workloads: tuple[str, ...]
    development_workloads: tuple[str, ...]
    held_out_workloads: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """What of an outcome is reported beside the cost, of baselines as well."""

    @property
    @abstractmethod
    def interfaces(self) -> Mapping[str, Interface]:
        """By specialization, how its policy is made and called."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """What can be varied, in a fixed order."""

    @abstractmethod
    def makers(self, values: Mapping[str, float]) -> dict[str, Maker]:
        """See `problem.Evaluator`."""

    @abstractmethod
    def load(self, workload: str) -> Iterable[Any]:
        """The scenarios of a workload that is named above."""

    @abstractmethod
    def generated(self, seed: bytes) -> Scenarios:
        """See `problem.Evaluator`."""

    @abstractmethod
    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        """See `problem.Evaluator`."""

    def cost(self, measured: Any) -> float:
        """The cost of what `replay` gave, or of a scenario's baseline."""
        return float(measured.cost if self.beside else measured)

    def recorded(self, workload: str) -> Scenarios:
        """The scenarios of the workload of that name; raises ProblemError if unknown."""
        known = self.training_workloads, self.development_workloads, self.held_out_workloads
        if not any(workload in names for names in known):
            raise ProblemError(f"unknown workload {workload!r}")
        return _loaded(type(self), workload)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The score of parameter values on a workload.

        Raises ProblemError for an unknown workload and for missing, unknown or bad values.
        """
        return self.evaluate_policies(self.makers(values), self.recorded(workload))

    def evaluate_policies(self, makers: Mapping[str, Maker], scenarios: Scenarios) -> Score:
        """The score of any policies; see `problem.Evaluator`."""
        return self.score(scenarios, [self.measure(makers, one) for one in scenarios])

    def score(self, scenarios: Scenarios, measured: Sequence[Measured]) -> Score:
        """The score of what `measure` gave for the scenarios."""
        costs = {
            one.name: (self.cost(outcome), self.cost(one.baseline), one.bound)
            for one, outcome in zip(scenarios, measured, strict=True)
        }
        baselines = [one.baseline for one in scenarios]
        return Score.from_costs(
            costs,
            {
                f"{prefix}{name}": fmean(getattr(one, name) for one in outcomes)
                for prefix, outcomes in (("", measured), ("baseline_", baselines))
                for name in self.beside
            },
        )


@cache
def _loaded(problem: type[Measuring], workload: str) -> tuple[Any, ...]:
    return tuple(problem().load(workload))
