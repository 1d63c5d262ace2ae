"""A problem that two specializations train on together, each with a policy of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from workers.problems.measuring import Measuring
from workers.problems.policies import Interface, Maker, ProblemError, makers_of
from workers.problems.problem import Measured, Parameter, check_values
from workers.problems.single import SingleProblem


class PairProblem(Measuring):
    """Most of `problem.JointProblem`.

    `parts` has the two problems by the prefix that the names of their parameters get here, in the
    order of their specializations' names.
    """

    parts: Mapping[str, SingleProblem]

    @abstractmethod
    def replay(self, scenario: Any, make_one: Maker, make_other: Maker, /) -> Measured:
        """What any two policies show in a scenario; the first is that of the first of `parts`."""

    @cached_property
    def specializations(self) -> tuple[str, str]:
        one, other = (problem.specialization for problem in self.parts.values())
        return one, other

    @cached_property
    def interfaces(self) -> Mapping[str, Interface]:
        return {problem.specialization: problem.interface for problem in self.parts.values()}

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(
            replace(parameter, name=prefix + parameter.name)
            for prefix, problem in self.parts.items()
            for parameter in problem.parameters
        )

    def makers(self, values: Mapping[str, float]) -> dict[str, Maker]:
        """By specialization, what makes its policy; raises ProblemError for bad values."""
        split = self.split(values)
        return {
            name: maker
            for problem in self.parts.values()
            for name, maker in problem.makers(split[problem.specialization]).items()
        }

    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        """See `problem.Evaluator`."""
        make_one, make_other = makers_of(self.interfaces, makers)
        return self.replay(scenario, make_one, make_other)

    def split(self, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """By specialization, the values of its policy, by the names that it knows them by.

        Raises ProblemError for missing, unknown or bad values.
        """
        checked = check_values(self.parameters, values)
        return {
            problem.specialization: {
                one.name: checked[prefix + one.name] for one in problem.parameters
            }
            for prefix, problem in self.parts.items()
        }

    def joined(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """The values of both policies, from those of each by specialization.

        Raises ProblemError if it is not the two, or for missing, unknown or bad values.
        """
        if set(parts) != set(self.specializations):
            raise ProblemError(f"{sorted(parts)} are not {list(self.specializations)}")
        values = {
            prefix + name: value
            for prefix, problem in self.parts.items()
            for name, value in parts[problem.specialization].items()
        }
        return check_values(self.parameters, values)

    def component_sources(self, values: Mapping[str, float]) -> dict[str, str]:
        """By specialization, the module of its policy as text, with its values as PARAMETERS."""
        split = self.split(values)
        return {
            problem.specialization: problem.component_source(split[problem.specialization])
            for problem in self.parts.values()
        }
