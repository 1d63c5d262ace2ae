"""How a session is divided into units: one plan for each type, or the initiator's own."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.payloads import MAX_UNITS, PlannedUnit
from coordinator.settings import Settings
from coordinator.work import FEATURE_REQUEST, Session, Unit

ROUNDS_OF_ONE = 80
"""Rounds of a search that one AI does alone; as many as are needed to divide it among several."""


class Step(NamedTuple):
    """A unit as a plan has it: ``needs`` are names of steps before it, ``participant`` an id."""

    name: str
    kind: str
    participant: str
    needs: tuple[str, ...] = ()
    inputs: dict[str, Any] = {}  # noqa: RUF012  (read only)


def plan(session: Session, workers: Sequence[Ai], settings: Settings) -> list[Unit]:
    """The units of ``session``, in an order in which each stands behind those it needs.

    ``workers`` are the participants that have workers. Of a type whose skills they lack there is
    no plan: what such participants do they do by themselves. The initiator's own plan may be left
    to others, wherever in the fleet they are.
    """
    if session.plan is not None:
        planned = [PlannedUnit.model_validate(unit) for unit in session.plan]
        return _units_of(session, [_own_step(unit, workers) for unit in planned], planned, settings)
    if not workers:
        return []
    steps = PLANS[session.type](session, workers)
    skills = {skill for ai in workers for skill in ai.skills}
    if any(step.kind not in skills for step in steps):
        return []
    return _units_of(session, steps, [None] * len(steps), settings)


def check_plan(planned: Sequence[PlannedUnit]) -> None:
    """BadMessage unless each name is given once, and each need stands before who needs it."""
    names: set[str] = set()
    for n, unit in enumerate(planned):
        field = f"payload.plan.{n}"
        if unit.name in names:
            raise BadMessage(
                "bad_payload",
                f"{field}.name {unit.name!r} was given to a unit before; each needs its own",
                f"{field}.name",
            )
        for need in unit.needs:
            if need not in names:
                raise BadMessage(
                    "bad_payload",
                    f"{field}.needs names {need!r}, which is no unit before this one",
                    f"{field}.needs",
                )
        names.add(unit.name)


def feature_development(session: Session, workers: Sequence[Ai]) -> list[Step]:
    """One proposes the design, another implements it, a third (or the first) measures it."""
    first, second, third = (_nth(workers, n).id for n in range(3))
    return [
        Step("design", "propose_design", first, (), session.requirements),
        Step("implementation", "implement_design", second, ("design",), session.requirements),
        Step("measurement", "measure_component", third, ("implementation",)),
    ]


def cross_specialization(session: Session, workers: Sequence[Ai]) -> list[Step]:
    """Each brings its best component; the first joins and tunes them, the second measures."""
    bring = [
        Step(
            f"component-{ai.specialization}",
            "bring_component",
            ai.id,
            (),
            {"specialization": ai.specialization},
        )
        for ai in {ai.specialization: ai for ai in reversed(workers)}.values()
    ]
    brought = tuple(step.name for step in bring)
    return [
        *bring,
        Step("joint-tuning", "tune_jointly", workers[0].id, brought, session.requirements),
        Step("measurement", "measure_component", _nth(workers, 1).id, ("joint-tuning",)),
    ]


def performance_optimization(session: Session, workers: Sequence[Ai]) -> list[Step]:
    """One search, split over the participants and merged between the rounds."""
    wanted = session.requirements.get("rounds")
    most = (MAX_UNITS - 2) // len(workers)
    if isinstance(wanted, int) and 0 < wanted <= most:
        rounds = wanted
    else:
        rounds = math.ceil(ROUNDS_OF_ONE / len(workers))
    seed = session.requirements.get("seed")
    target = session.requirements.get("target")
    common = {
        "target": target if isinstance(target, int | float) else None,
        "specialization": session.requirements.get("specialization", workers[0].specialization),
        "seed": seed if isinstance(seed, int) else zlib.crc32(session.id.encode()),
        "parts": len(workers),
    }
    steps = [Step("start", "begin_search", workers[0].id, (), common)]
    before: tuple[str, ...] = ("start",)
    for n in range(rounds):
        shares = [
            Step(f"round-{n}.{part}", "search_share", ai.id, before, {**common, "part": part})
            for part, ai in enumerate(workers)
        ]
        steps += shares
        before = tuple(step.name for step in shares)
    return [*steps, Step("result", "conclude_search", workers[0].id, before, common)]


def feature_request(session: Session, workers: Sequence[Ai]) -> list[Step]:
    """Each of those it is assigned to develops the feature; the first to succeed fulfils it."""
    return [Step(ai.id, "develop_feature", ai.id, (), session.requirements) for ai in workers]


PLANS: dict[str, Callable[[Session, Sequence[Ai]], list[Step]]] = {
    "feature_development": feature_development,
    "cross_specialization": cross_specialization,
    "performance_optimization": performance_optimization,
    FEATURE_REQUEST: feature_request,
}


def _own_step(unit: PlannedUnit, workers: Sequence[Ai]) -> Step:
    is_for_one = unit.participant is not None and workers
    participant = _nth(workers, unit.participant or 0).id if is_for_one else ""
    return Step(unit.name, unit.kind, participant, tuple(unit.needs), unit.inputs)


def _nth(workers: Sequence[Ai], n: int) -> Ai:
    return workers[n % len(workers)]


def _units_of(
    session: Session,
    steps: Sequence[Step],
    planned: Sequence[PlannedUnit | None],
    settings: Settings,
) -> list[Unit]:
    begin = session.units_planned + 1
    session.units_planned += len(steps)
    ids = {step.name: f"{session.id}-{n}" for n, step in enumerate(steps, begin)}
    return [
        Unit(
            id=ids[step.name],
            session_id=session.id,
            name=step.name,
            kind=step.kind,
            participant=step.participant or None,
            needs=[ids[name] for name in step.needs],
            inputs=step.inputs,
            limit_s=(own and own.limit_s) or settings.unit_limit_s,
            tries=(own and own.tries) or settings.unit_tries,
        )
        for step, own in zip(steps, planned, strict=True)
    ]
