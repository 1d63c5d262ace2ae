"""Developing a feature: its design, its implementation, its measurement, or all three in one."""

from __future__ import annotations

import zlib
from typing import Any

from coordinator.work import Unit
from workers.problems import JointProblem, Problem
from workers.problems.overall import TRAINING, Overall
from workers.search import search
from workers.skills.policies import (
    best_known,
    best_start,
    better_of,
    component_of,
    interface_of,
    measure,
    problem_for,
    problem_of,
    values_of,
)
from workers.skills.skill import Output, SkillError, UnitContext

EVALUATIONS = 40


class ProposeDesign:
    """Says what is to be built: the parameters with their ranges, the interface, a start."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        start = best_known(problem, context.knowledge)
        return {
            "specialization": problem.specialization,
            "ranges": [
                {"name": p.name, "low": p.low, "high": p.high, "kind": p.kind}
                for p in problem.parameters
            ],
            "interface": interface_of(problem.component_source(start.values)),
            "parameters": start.values,
            "gap_closed": start.gap_closed,
            "derived_from": start.derived_from,
        }


class ImplementDesign:
    """Searches the design's parameters from its start, if that is any good, and builds the
    component."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        design = single_output(context)
        designed = str(design.get("specialization") or context.specialization)
        problem = problem_for(unit.inputs, designed)
        offered = (values_of(design, problem), design.get("derived_from"))
        start = best_start(problem, [offered])
        values = tune(problem, start.values, unit, context)
        name = unit.inputs.get("feature")
        component = component_of(problem, values, name, start.derived_from)
        return {"component": component | {"interface": design.get("interface")}}


class MeasureComponent:
    """Measures a component on the workloads that nobody trained on; of a joint one also its parts,
    each on its own problem."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        output = single_output(context)
        component = output.get("component")
        if not isinstance(component, dict):
            raise SkillError("the unit before this one made no component that could be measured")
        problem = problem_of(component)
        before = output.get("before")
        begun = values_of(before, problem) if isinstance(before, dict) else None
        values = values_of(component, problem)
        summary = measure(problem, values, begun)
        built = component_of(problem, values, component.get("name"))  # what was measured, it is
        return {"component": component | built | {"measured": summary}, "summary": summary}


class DevelopFeature:
    """A feature somebody asked for: design, implementation and measurement."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        start = best_known(problem, context.knowledge)
        values = tune(problem, start.values, unit, context)
        name = unit.inputs.get("feature")
        component = component_of(problem, values, name, start.derived_from)
        summary = measure(problem, values)
        return {"component": component | {"measured": summary}, "summary": summary}


def tune(
    problem: Problem | JointProblem, start: dict[str, float], unit: Unit, context: UnitContext
) -> dict[str, float]:
    """Search from ``start`` over all training recordings, telling how far it has come; the better
    of the start and what was found."""
    evaluations = _evaluations(unit.inputs)
    found = search(
        Overall(problem),
        TRAINING,
        evaluations,
        seed=zlib.crc32(f"{unit.id} {unit.attempt}".encode()),
        start=start,
        on_progress=lambda found: context.progress(found.evaluations / evaluations),
    )
    return better_of(problem, start, found.values)


def _evaluations(inputs: dict[str, Any]) -> int:
    """How many are wanted: a feature request has its requirements one level deeper."""
    deeper = inputs.get("requirements")
    asked = inputs if not isinstance(deeper, dict) else deeper | inputs
    wanted = asked.get("evaluations")
    return wanted if type(wanted) is int and wanted > 0 else EVALUATIONS


def single_output(context: UnitContext) -> dict[str, Any]:
    """The output of the one unit that this one needs. Raises SkillError."""
    outputs = list(context.outputs.values())
    if len(outputs) != 1:
        raise SkillError(f"exactly one unit must come before this one, not {len(outputs)}")
    return outputs[0]
