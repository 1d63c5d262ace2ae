"""A problem that one specialization trains on by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

from workers.problems.material import filled_source
from workers.problems.measuring import Measuring
from workers.problems.policies import Interface, Maker, makers_of
from workers.problems.problem import Measured, Parameter, check_values


class SingleProblem(Measuring):
    """Most of `problem.Problem`.

    `policy` is the module whose `Policy` is trained. Its constructor takes what `interface` names,
    and after that a table of values like the module's PARAMETERS.
    """

    specialization: str
    interface: Interface
    policy: ModuleType
    parameters: tuple[Parameter, ...]

    @abstractmethod
    def replay(self, scenario: Any, make_policy: Maker, /) -> Measured:
        """What any policy shows in a scenario."""

    @cached_property
    def interfaces(self) -> Mapping[str, Interface]:
        return {self.specialization: self.interface}

    def makers(self, values: Mapping[str, float]) -> dict[str, Maker]:
        """What makes the policy that has these values; raises ProblemError for bad ones."""
        make, checked = self.policy.Policy, check_values(self.parameters, values)
        return {self.specialization: lambda *arguments: make(*arguments, checked)}

    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        """See `problem.Evaluator`."""
        [make_policy] = makers_of(self.interfaces, makers)
        return self.replay(scenario, make_policy)

    def component_source(self, values: Mapping[str, float]) -> str:
        """The module of the policy as text, with these values as its PARAMETERS."""
        return filled_source(self.policy, check_values(self.parameters, values))
