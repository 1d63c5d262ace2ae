"""Components of two specializations, joined and tuned together on a problem both have a part in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from coordinator.work import Unit
from workers.problems import JointProblem, find_joint_problem
from workers.problems.problem import defaults
from workers.skills.developing import tune
from workers.skills.policies import best_known, best_start, component_of, problem_for, values_of
from workers.skills.skill import Output, SkillError, UnitContext


class BringComponent:
    """The best that a specialization has: of all that it shared, what measures best."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        start = best_known(problem, context.knowledge)
        return {
            "specialization": problem.specialization,
            "parameters": start.values,
            "gap_closed": start.gap_closed,
            "derived_from": start.derived_from,
        }


class TuneJointly:
    """Joins what two specializations brought, and tunes all of it in one replay of both.

    What one of them brought is left where its defaults do better: it is measured, not believed.
    """

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        brought = {str(part.get("specialization")): part for part in context.outputs.values()}
        problem = find_joint_problem(*brought) if len(brought) == 2 else None
        if problem is None:
            raise SkillError(f"no problem is known that {sorted(brought)} have a part in together")
        start = best_start(problem, _joined(problem, brought))
        values = tune(problem, start.values, unit, context)
        component = component_of(problem, values, derived_from=start.derived_from)
        before = problem.joined({name: _values(part) for name, part in brought.items()})
        return {"component": component, "before": {"parameters": before}}


def _joined(
    problem: JointProblem, brought: dict[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, float], list[Any]]]:
    """All that can be made of what each brought, or its defaults; and what that is derived from."""
    for parts in product(*map(_choices, brought.values())):
        values = problem.joined({name: own for name, (own, _) in zip(brought, parts, strict=True)})
        yield values, [derived_from for _, derived_from in parts if derived_from]


def _choices(part: dict[str, Any]) -> list[tuple[dict[str, float], Any]]:
    brought = (_values(part), part.get("derived_from"))
    return [brought, (defaults(problem_for(part, "").parameters), None)]


def _values(part: dict[str, Any]) -> dict[str, float]:
    return values_of(part, problem_for(part, ""))
