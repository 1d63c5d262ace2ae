"""Components of two specializations, joined and tuned together on a problem both have a part in."""

from __future__ import annotations

from typing import Any

from coordinator.work import Unit
from workers.problems import find_joint_problem
from workers.skills.developing import tune
from workers.skills.policies import best_known, component_of, problem_for, values_of
from workers.skills.skill import Output, SkillError, UnitContext


class BringComponent:
    """The best that a specialization has: of all that it shared, what measures best."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        values, gap_closed = best_known(problem, context.knowledge)
        return {
            "specialization": problem.specialization,
            "parameters": values,
            "gap_closed": gap_closed,
        }


class TuneJointly:
    """Joins what two specializations brought, and tunes all of it in one replay of both."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        brought = {str(part.get("specialization")): part for part in context.outputs.values()}
        problem = find_joint_problem(*brought) if len(brought) == 2 else None
        if problem is None:
            raise SkillError(f"no problem is known that {sorted(brought)} have a part in together")
        start = problem.joined({name: _values(part) for name, part in brought.items()})
        values = tune(problem, start, unit, context)
        return {"component": component_of(problem, values), "before": {"parameters": start}}


def _values(part: dict[str, Any]) -> dict[str, float]:
    return values_of(part, problem_for(part, ""))
