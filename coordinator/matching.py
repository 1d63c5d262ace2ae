"""Who is asked to do what: the capable, ranked by how busy they are and by their record."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.fleet import Ai, Fleet
from coordinator.specializations import can_develop
from coordinator.work import Session, Unit


def ranked(ais: Iterable[Ai], fleet: Fleet) -> list[Ai]:
    """The fewest units first; among equals the best record of units, then the least load.

    The record is the share of units completed, as one more of each would leave it (Laplace's rule
    of succession), so that a newcomer stands between the good and the bad.
    """

    def rank(ai: Ai) -> tuple[int, float, float, str]:
        member = fleet.members[ai.id]
        ended = member.units_completed + member.units_failed
        record = (member.units_completed + 1) / (ended + 2)
        return fleet.assigned[ai.id], -record, ai.load, ai.id

    return sorted(ais, key=rank)


def takes_work(ai: Ai, fleet: Fleet) -> bool:
    return fleet.members[ai.id].takes_work


def capable(session: Session, fleet: Fleet) -> list[Ai]:
    """Whom a requested feature may be assigned to, the best first: who neither asked for it nor
    declined it."""
    return ranked(
        (
            ai
            for ai in fleet.ais.values()
            if takes_work(ai, fleet)
            and ai.id != session.initiator
            and ai.id not in session.declined
            and can_develop(session.feature, ai.specialization, ai.capabilities)
        ),
        fleet,
    )


def runner(unit: Unit, session: Session, fleet: Fleet) -> Ai | None:
    """Who runs ``unit`` next: somebody who has the skill.

    Whose turn it is by the plan comes first, unless the unit failed there; then the other
    participants by rank, then (of a collaboration) anybody in the fleet, and last those it failed
    with before.
    """
    failed = {attempt.ai for attempt in unit.attempts if attempt.outcome == "failed"}
    able = [ai for ai in fleet.ais.values() if unit.kind in ai.skills and takes_work(ai, fleet)]
    if session.is_feature:
        able = [ai for ai in able if ai.id in session.participants]
    by_rank = ranked(able, fleet)
    by_rank.sort(
        key=lambda ai: (
            ai.id in failed,
            ai.id != unit.participant,
            ai.id not in session.participants,
        )
    )
    return by_rank[0] if by_rank else None
