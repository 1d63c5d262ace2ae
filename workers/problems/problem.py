"""What a trainer can train: a set of parameters, workloads to score them on, and code to share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from workers.problems.policies import Interface, Maker, ProblemError

ParameterKind = Literal["linear", "log", "integer"]
Scenarios = Sequence[Any]
"""What policies are measured on, as the problem that made it knows it."""
Measured = Any
"""What was found out about policies in one scenario, as the problem that did knows it."""


@dataclass(frozen=True)
class Parameter:
    """One number to be learned, and how the unit interval maps onto its range.

    `linear` maps evenly, `log` maps evenly in the logarithm (`low` must be positive), `integer`
    gives every whole number from `low` to `high` an equal share of the unit interval.
    """

    name: str
    low: float
    high: float
    default: float
    kind: ParameterKind = "linear"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ProblemError(f"parameter {self.name}: low must be finite and below high")
        if self.kind == "log" and self.low <= 0:
            raise ProblemError(f"parameter {self.name}: a log range needs low > 0, not {self.low}")
        is_whole = self.low == int(self.low) and self.high == int(self.high)
        if self.kind == "integer" and not is_whole:
            raise ProblemError(f"parameter {self.name}: an integer range needs whole bounds")
        self.check(self.default)

    def check(self, value: float) -> float:
        """Return `value` (an integer parameter's as a whole number), or raise ProblemError."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ProblemError(f"parameter {self.name}: {value!r} is not a number")
        if not self.low <= value <= self.high:
            raise ProblemError(
                f"parameter {self.name}: {value!r} is not within {self.low}..{self.high}"
            )
        if self.kind == "integer":
            if value != int(value):
                raise ProblemError(f"parameter {self.name}: {value!r} is not a whole number")
            return int(value)
        return float(value)

    def from_unit(self, unit: float) -> float:
        """The value at `unit`, which is clipped to 0..1."""
        unit = min(1.0, max(0.0, float(unit)))
        if self.kind == "integer":
            steps = int(self.high) - int(self.low) + 1
            return int(self.low) + min(steps - 1, int(unit * steps))
        if self.kind == "log":
            value = self.low * math.pow(self.high / self.low, unit)
        else:
            value = self.low + unit * (self.high - self.low)
        return min(self.high, max(self.low, value))

    def to_unit(self, value: float) -> float:
        """Where `value` lies in 0..1; for an integer the middle of its share."""
        value = self.check(value)
        if self.kind == "integer":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class ScenarioScore:
    """One scenario of a workload; costs in the problem's unit (less is better)."""

    gap_closed: float
    achieved: float
    baseline: float
    bound: float


@dataclass(frozen=True)
class Score:
    """How good parameters are on one workload.

    `gap_closed` is the mean over the scenarios of (baseline - achieved) / (baseline - bound): 0 is
    the baseline, 1 the best that is possible, below 0 is worse than the baseline. `achieved`,
    `baseline` and `bound` are the means of the costs themselves, in the problem's `cost_unit`.
    `dropped` names the scenarios in which baseline and bound are equal, which have no gap and
    count nowhere. `beside` has what else was measured, by name, and is no part of the score.
    """

    gap_closed: float
    achieved: float
    baseline: float
    bound: float
    scenarios: dict[str, ScenarioScore] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    beside: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_costs(
        cls,
        costs: Mapping[str, tuple[float, float, float]],
        beside: Mapping[str, float] | None = None,
    ) -> Score:
        """The score of scenarios given as name -> (achieved, baseline, bound).

        Raises ProblemError if no scenario has a gap.
        """
        scenarios = {
            name: ScenarioScore((base - achieved) / (base - bound), achieved, base, bound)
            for name, (achieved, base, bound) in costs.items()
            if base > bound
        }
        if not scenarios:
            raise ProblemError("no scenario has a gap between its baseline and its bound")
        kept = scenarios.values()
        return cls(
            gap_closed=math.fsum(one.gap_closed for one in kept) / len(kept),
            achieved=math.fsum(one.achieved for one in kept) / len(kept),
            baseline=math.fsum(one.baseline for one in kept) / len(kept),
            bound=math.fsum(one.bound for one in kept) / len(kept),
            scenarios=scenarios,
            dropped=tuple(name for name in costs if name not in scenarios),
            beside=dict(beside or {}),
        )


@dataclass(frozen=True)
class About:
    """What a problem is, for people: each a few words without a full stop.

    `decides` is what its policy decides, `workload` what that is measured on (recorded from what,
    or generated by whose model), `baseline` what a textbook does, and `bound` what cannot be
    beaten, and whether that is exact or loose.
    """

    decides: str
    workload: str
    baseline: str
    bound: str


class Trainable(Protocol):
    """What a search can search. Evaluation is deterministic and keeps no state."""

    @property
    def name(self) -> str:
        """A short name of the problem, e.g. `buffer_cache`."""

    @property
    def cost_unit(self) -> str:
        """The unit of its costs: `s` (seconds), or `miss ratio` (0..1)."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What can be varied, in a fixed order."""

    @property
    def training_workloads(self) -> tuple[str, ...]:
        """Names of the workloads to search on."""

    @property
    def development_workloads(self) -> tuple[str, ...]:
        """Names of the workloads to choose between candidates on: neither searched on nor
        reported."""

    @property
    def held_out_workloads(self) -> tuple[str, ...]:
        """Names of the workloads to report on; the i-th belongs to the i-th training workload."""

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """Score parameter values (by name, all of them) on a workload; raises ProblemError."""


class Evaluator(Protocol):
    """What measures policies, whoever wrote them, and wherever they run.

    Each policy is made anew for each scenario. What a policy is told and asked depends on nothing
    but the scenario and its answers, and every answer is checked where it is asked for. So the
    scenarios of a workload may be measured in any order, or side by side.
    """

    @property
    def about(self) -> About:
        """What it is, for people."""

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """By specialization, how its policy is made and called."""

    def recorded(self, workload: str) -> Scenarios:
        """The scenarios of a workload that is named above; raises ProblemError if unknown."""

    def generated(self, seed: bytes) -> Scenarios:
        """A workload of a model's, which is in no recording: the same for the same seed.

        No two of its scenarios have anything in common that a policy could carry over.
        """

    def makers(self, values: Mapping[str, float]) -> dict[str, Maker]:
        """By specialization, what makes the policy that has these values; raises ProblemError for
        missing, unknown or bad ones."""

    def evaluate_policies(self, makers: Mapping[str, Maker], scenarios: Scenarios) -> Score:
        """The score of policies, by specialization what makes them: each scenario is measured, one
        after the other. Raises what `measure` raises, and what `score` does."""

    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        """Let new policies decide in one scenario.

        Raises ProblemError for a maker that is missing or not wanted, and for a policy that
        breaks the rules; whatever a policy itself raises passes through.
        """

    def score(self, scenarios: Scenarios, measured: Sequence[Measured]) -> Score:
        """The score of policies, from what was measured in each of the scenarios.

        Raises ProblemError if no scenario has a gap.
        """


@runtime_checkable
class Problem(Trainable, Evaluator, Protocol):
    """What one specialization trains on, and what its policies are measured by."""

    @property
    def specialization(self) -> str:
        """The specialization, e.g. `file_system`."""

    def component_source(self, values: Mapping[str, float]) -> str:
        """A self-contained Python module with the values baked in; raises ProblemError."""


@runtime_checkable
class JointProblem(Trainable, Evaluator, Protocol):
    """What two specializations train on together, each with a policy of its own.

    The name of a parameter begins with a prefix that tells whose it is.
    """

    @property
    def specializations(self) -> tuple[str, str]:
        """The two specializations, in the order of their names."""

    def joined(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """The values of both, from those that each specialization has for its own problem.

        Raises ProblemError if it is not the two, or for missing, unknown or bad values.
        """

    def split(self, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """By specialization, the values of its policy, by the names that it knows them by: the
        inverse of `joined`. Raises ProblemError for missing, unknown or bad values."""

    def component_sources(self, values: Mapping[str, float]) -> dict[str, str]:
        """By specialization, a self-contained module with its values; raises ProblemError."""


def defaults(parameters: Sequence[Parameter]) -> dict[str, float]:
    """The default value of each parameter, by name."""
    return {parameter.name: parameter.default for parameter in parameters}


def check_values(parameters: Sequence[Parameter], values: Mapping[str, float]) -> dict[str, float]:
    """The values in the parameters' order; ProblemError if one is missing, unknown or bad."""
    names = {parameter.name for parameter in parameters}
    for name in values:
        if name not in names:
            raise ProblemError(f"unknown parameter {name!r}")
    missing = [parameter.name for parameter in parameters if parameter.name not in values]
    if missing:
        raise ProblemError(f"missing parameter {missing[0]!r}")
    return {parameter.name: parameter.check(values[parameter.name]) for parameter in parameters}


def to_unit(parameters: Sequence[Parameter], values: Mapping[str, float]) -> list[float]:
    """The point of the unit cube (one coordinate a parameter) that stands for `values`."""
    checked = check_values(parameters, values)
    return [parameter.to_unit(checked[parameter.name]) for parameter in parameters]


def from_unit(parameters: Sequence[Parameter], point: Sequence[float]) -> dict[str, float]:
    """The values a point of the unit cube (clipped to it) stands for."""
    if len(point) != len(parameters):
        raise ProblemError(f"{len(parameters)} coordinates are needed, not {len(point)}")
    return {
        parameter.name: parameter.from_unit(unit)
        for parameter, unit in zip(parameters, point, strict=True)
    }
