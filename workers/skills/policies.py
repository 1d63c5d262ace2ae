"""What the skills know of policies: whose problem a feature is, starts, and components."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from coordinator.reads import Item
from coordinator.specializations import FEATURES
from workers.problems import JointProblem, Problem, ProblemError, find_joint_problem, find_problem
from workers.problems.overall import DEVELOPMENT, HELD_OUT, TRAINING, Overall
from workers.problems.problem import check_values, defaults
from workers.skills.skill import Knowledge, SkillError

STARTS_TRIED = 5


class Start(NamedTuple):
    """Where a search starts, and the gap that this closes in training, as measured here.

    ``derived_from`` names what it stems from, as shared records say it; None for the defaults.
    """

    values: dict[str, float]
    gap_closed: float
    derived_from: Any = None


def problem_for(requirements: Mapping[str, Any], own_specialization: str) -> Problem:
    """The problem that is meant: of the specialization named, of the feature's, or one's own.

    Raises SkillError when there is nothing to train for it.
    """
    named = requirements.get("specialization")
    feature = str(requirements.get("feature"))
    specialization = str(named or FEATURES.get(feature) or own_specialization)
    problem = find_problem(specialization)
    if problem is None:
        raise SkillError(f"there is nothing to train for {specialization!r} yet")
    return problem


def problem_of(component: Mapping[str, Any]) -> Problem | JointProblem:
    """The problem that a component is a solution of. Raises SkillError."""
    specializations = component.get("specializations")
    if not isinstance(specializations, list):
        return problem_for(component, "")
    problem = find_joint_problem(*map(str, specializations)) if len(specializations) == 2 else None
    if problem is None:
        raise SkillError(f"there is no problem that {specializations} have a part in together")
    return problem


def best_known(problem: Problem, knowledge: Knowledge) -> Start:
    """The best of the defaults and of what the fleet shared, each measured here."""
    shared = islice(_shared(problem, knowledge.patterns(problem.specialization)), STARTS_TRIED)
    start = best_start(problem, shared)
    told = start.derived_from
    return start._replace(derived_from=told and told | {"measured_gap_closed": start.gap_closed})


def best_start(
    problem: Problem | JointProblem, offered: Iterable[tuple[dict[str, float], Any]]
) -> Start:
    """The best of the defaults and of what others offer, each measured here, whatever they say of
    it: pairs of values and what they are derived from."""
    overall = Overall(problem)
    candidates = [(defaults(problem.parameters), None), *offered]
    measured = [
        Start(values, overall.evaluate(values, TRAINING).gap_closed, derived_from)
        for values, derived_from in candidates
    ]
    return max(measured, key=lambda start: start.gap_closed)


def _shared(problem: Problem, items: list[Item]) -> Iterator[tuple[dict[str, float], Any]]:
    """Parameter values in shared patterns of ``problem``, and which that are, the highest claims
    first: what a claim is good for is which to look at."""

    def claim(item: Item) -> float:
        gap = item["pattern"]["data"].get("gap_closed")
        return gap if isinstance(gap, int | float) else float("-inf")

    def is_of_it(data: object) -> bool:
        return isinstance(data, dict) and data.get("problem") == problem.name

    own = [item for item in items if is_of_it(item["pattern"].get("data"))]
    for item in sorted(own, key=claim, reverse=True):
        named = {"id": item["id"], "pattern_id": item["id"], "contributor": item["contributor"]}
        try:
            yield check_values(problem.parameters, item["pattern"]["data"]["parameters"]), named
        except (ProblemError, TypeError, KeyError, AttributeError):
            continue


def better_of(
    problem: Problem | JointProblem, start: dict[str, float], found: dict[str, float]
) -> dict[str, float]:
    """What a search found, if it is better than its start where the search did not look; else it
    has learned its recordings by heart, and the start is kept."""
    overall = Overall(problem)
    begun, ended = (overall.evaluate(values, DEVELOPMENT).gap_closed for values in (start, found))
    return found if ended > begun else start


def component_of(
    problem: Problem | JointProblem,
    values: Mapping[str, float],
    name: object = None,
    derived_from: Any = None,
) -> dict[str, Any]:
    """A component to share: the policy, or both, with these values as a module each."""
    component: dict[str, Any] = {
        "name": str(name or problem.name),
        "problem": problem.name,
        "language": "python",
        "parameters": dict(values),
    }
    if derived_from:
        component["derived_from"] = derived_from
    if isinstance(problem, JointProblem):
        sources = problem.component_sources(values)
        return component | {"specializations": list(sources), "implementation": sources}
    source = problem.component_source(values)
    return component | {"specialization": problem.specialization, "implementation": source}


def values_of(made: Any, problem: Problem | JointProblem) -> dict[str, float]:
    """The parameter values in what another unit made. Raises SkillError."""
    values = made.get("parameters") if isinstance(made, dict) else None
    if not isinstance(values, dict):
        raise SkillError(f"there are no parameters of {problem.name} in what another unit made")
    try:
        return check_values(problem.parameters, values)
    except ProblemError as error:
        raise SkillError(f"these are no parameters of {problem.name}: {error.detail}") from None


def interface_of(source: str) -> dict[str, list[str]]:
    """The public methods of each class of a module, as they are called."""
    return {
        node.name: [
            f"{method.name}({ast.unparse(method.args)})"
            for method in node.body
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
        ]
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def measure(
    problem: Problem | JointProblem,
    values: Mapping[str, float],
    before: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """How good values are on the workloads nobody trained on, and how good those ``before`` were
    (the defaults if None). Of a joint problem also what each specialization gave up, or gained."""
    start = before or defaults(problem.parameters)
    overall = Overall(problem)
    after, begun = (overall.evaluate(one, HELD_OUT) for one in (values, start))
    gained = after.gap_closed - begun.gap_closed
    what = "what was brought" if before else "the defaults"
    text = f"{problem.name}: {after.gap_closed:.1%} of the gap closed on held-out workloads"
    summary: dict[str, Any] = {
        "text": f"{text}, {gained * 100:+.1f} points over {what}",
        "problem": problem.name,
        "workload": HELD_OUT,
        "gap_closed": after.gap_closed,
        "before": begun.gap_closed,
        "gained": gained,
        "cost": after.achieved,
        "cost_before": begun.achieved,
        "cost_unit": problem.cost_unit,
    }
    if isinstance(problem, JointProblem):
        parts = _apart(problem, values, start)
        summary["text"] += f"; alone, {' and '.join(map(_in_words, parts))}"
        summary["parts"] = parts
    return summary


def _apart(
    problem: JointProblem, values: Mapping[str, float], before: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Of each specialization how good its part is on its own problem's held-out workloads, where
    the other does not matter, and how good the part was that it had before."""
    after, begun = problem.split(values), problem.split(before)
    parts = []
    for specialization in problem.specializations:
        own = problem_for({"specialization": specialization}, "")
        now, then = (
            Overall(own).evaluate(split[specialization], HELD_OUT) for split in (after, begun)
        )
        parts.append(
            {
                "specialization": specialization,
                "problem": own.name,
                "gap_closed": now.gap_closed,
                "before": then.gap_closed,
                "gained": now.gap_closed - then.gap_closed,
                "cost": now.achieved,
                "cost_before": then.achieved,
                "cost_unit": own.cost_unit,
            }
        )
    return parts


def _in_words(part: Mapping[str, Any]) -> str:
    points = round(part["gained"] * 100, 1)
    what = "gave up" if points < 0 else "gained"
    return f"{part['specialization']} {what} {abs(points):.1f} points"
