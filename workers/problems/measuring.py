"""What all problems of this package have in common: parameter values become policies, policies are
measured in each scenario, and costs become a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workers.problems.policies import Interface, Maker
from workers.problems.problem import About, Measured, Parameter, Scenarios, Score


class Scenario(Protocol):
    """What a scenario has at least; the costs are those that depend on no policy."""

    @property
    def name(self) -> str: ...

    @property
    def baseline(self) -> float: ...

    @property
    def bound(self) -> float: ...


class Measuring(ABC):
    """Most of `problem.Evaluator` and of `problem.Trainable`."""

    name: str
    cost_unit: str
    about: About
    training_workloads: tuple[str, ...]
    development_workloads: tuple[str, ...]
    held_out_workloads: tuple[str, ...]

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
    def recorded(self, workload: str) -> Scenarios:
        """The scenarios of the workload of that name; raises ProblemError if unknown."""

    @abstractmethod
    def generated(self, seed: bytes) -> Scenarios:
        """See `problem.Evaluator`."""

    @abstractmethod
    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        """See `problem.Evaluator`."""

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The score of parameter values on a workload.

        Raises ProblemError for an unknown workload and for missing, unknown or bad values.
        """
        return self.evaluate_policies(self.makers(values), self.recorded(workload))

    def evaluate_policies(self, makers: Mapping[str, Maker], scenarios: Scenarios) -> Score:
        """The score of any policies; see `problem.Evaluator`."""
        return self.score(scenarios, [self.measure(makers, one) for one in scenarios])

    def score(self, scenarios: Scenarios, measured: Sequence[Measured]) -> Score:
        """The score of what `measure` gave for the scenarios: one cost each, if no problem says
        otherwise."""
        return Score.from_costs(
            {
                one.name: (cost, one.baseline, one.bound)
                for one, cost in zip(scenarios, measured, strict=True)
            }
        )
