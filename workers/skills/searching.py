"""One search, split over the participants of a session and merged between its rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordinator.work import Unit
from workers.problems import Problem, ProblemError
from workers.problems.overall import TRAINING, Overall
from workers.problems.problem import from_unit
from workers.skills.policies import (
    Start,
    best_known,
    best_start,
    better_of,
    component_of,
    measure,
    problem_for,
    values_of,
)
from workers.skills.skill import Output, SkillError, UnitContext, Workspace
from workers.split_search import best_of, evaluate_share

START_KEY = "start"
TOLERANCE = 1e-6
"""How far apart two machines may be in the gap that one point closes."""


class BeginSearch:
    """Chooses where the search starts: all its participants begin at the same point."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        start = best_known(problem, context.knowledge)
        told = {"parameters": start.values, "derived_from": start.derived_from}
        context.workspace.put(START_KEY, told)
        return {"gap_closed": start.gap_closed}


class SearchShare:
    """Evaluates a part of the next points, and puts what it found into the workspace."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        part, parts, seed = (_whole(unit, name) for name in ("part", "parts", "seed"))
        with _recorded_by_others():
            rounds = _rounds(context.workspace, parts)
            if _is_reached(problem, rounds, unit.inputs.get("target")):
                return {"evaluated": 0}
            # After the first round the points that were recorded tell where the search began.
            start = None if rounds else _start(problem, context.workspace).values
            share = evaluate_share(Overall(problem), TRAINING, seed, start, rounds, part, parts)
        context.workspace.put(_share_key(len(rounds), part), share)
        return {"evaluated": len(share)}


class ConcludeSearch:
    """Builds the component of the best that was found, and measures it on held-out workloads."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        problem = problem_for(unit.inputs, context.specialization)
        with _recorded_by_others():
            rounds = _rounds(context.workspace, _whole(unit, "parts"))
            best = best_of(Overall(problem), rounds)
            found, _ = _best_that_holds(problem, rounds)
        start = _start(problem, context.workspace)
        values = better_of(problem, start.values, found)
        summary = measure(problem, values, start.values)
        summary |= {"rounds": len(rounds), "evaluations": best.evaluations}
        component = component_of(problem, values, derived_from=start.derived_from)
        component["measured"] = summary
        return {"component": component, "summary": summary}


def _start(problem: Problem, workspace: Workspace) -> Start:
    """Where the search begins: what one participant chose for all, if it beats the defaults."""
    chosen = workspace.get(START_KEY, {})
    values = values_of(chosen, problem)
    return best_start(problem, [(values, chosen.get("derived_from"))])


@contextmanager
def _recorded_by_others() -> Iterator[None]:
    """What is wrong with the shares of others, as SkillError."""
    try:
        yield
    except ProblemError as error:
        raise SkillError(f"the search cannot go on: {error.detail}") from None


def _share_key(number: int, part: int) -> str:
    return f"round-{number}.{part}"


def _rounds(workspace: Workspace, parts: int) -> list[list[Any]]:
    """The rounds that are complete, in their order; each is its parts' shares."""
    if parts < 1:
        raise SkillError(f"the unit's input 'parts' must be at least 1, not {parts}")
    shares = workspace.items("round-")
    rounds: list[list[Any]] = []
    while all(_share_key(len(rounds), part) in shares for part in range(parts)):
        rounds.append([shares[_share_key(len(rounds), part)] for part in range(parts)])
    return rounds


def _best_that_holds(problem: Problem, rounds: list[list[Any]]) -> tuple[dict[str, float], float]:
    """The best recorded values that are as good when measured again, and the gap that they close.

    Raises SkillError when there are none.
    """
    overall = Overall(problem)
    recorded = [evaluation for shares in rounds for share in shares for evaluation in share]
    for point, claimed in sorted(recorded, key=lambda evaluation: evaluation[1], reverse=True):
        values = from_unit(problem.parameters, point)
        gap_closed = overall.evaluate(values, TRAINING).gap_closed
        if gap_closed >= claimed - TOLERANCE:
            return values, gap_closed
    raise SkillError("nothing that was recorded is as good when it is measured again")


def _is_reached(problem: Problem, rounds: list[list[Any]], target: object) -> bool:
    if not rounds or not isinstance(target, int | float):
        return False
    if best_of(Overall(problem), rounds).gap_closed < target:
        return False
    return _best_that_holds(problem, rounds)[1] >= target


def _whole(unit: Unit, name: str) -> int:
    value = unit.inputs.get(name)
    if type(value) is not int:
        raise SkillError(f"the unit's input {name!r} must be a whole number, not {value!r}")
    return value
