"""What RQ says of open units, for those whose AI says nothing: killed work-horses, lost results."""

from __future__ import annotations

from functools import partial
from itertools import islice

import redis
from pydantic import ValidationError

from coordinator import collaborations, sessions, units
from coordinator.context import Context
from coordinator.effects import Effect
from coordinator.fleet import Fleet
from coordinator.ingress import Ingress
from coordinator.jobs import AttemptKey, JobEnd, read_ends
from coordinator.payloads import WorkResult
from coordinator.work import ASSIGNED_STATES, Session, Unit

LOOKED_AT_ONCE = 500


class JobWatch:
    """Looks at the jobs of open units, some at a time, and remembers which it saw ended.

    A result is on its way before its job ends. So an end counts only at a later look, when the
    ingress of the unit's AI was read to its end since it was seen.
    """

    def __init__(self) -> None:
        self._seen_s: dict[AttemptKey, float] = {}
        self._last = ""

    def look(
        self, connection: redis.Redis, fleet: Fleet, ingress: Ingress, context: Context
    ) -> list[Effect]:
        """What follows from what RQ says now."""
        looked_at = self._turn(fleet)
        ends = read_ends(connection, looked_at, context.settings.message_max_bytes)
        seen_s, self._seen_s = self._seen_s, {}
        effects: list[Effect] = []
        for unit in looked_at:
            attempt_key = (unit.id, unit.attempt)
            end = ends.get(attempt_key)
            if end is None or unit.state not in ASSIGNED_STATES:
                continue  # it waits, or what another's end brought has changed it
            if end.state == "running":
                if unit.state == "queued":
                    effects += units.note_running(unit, 0.0, context)
                continue
            since_s = seen_s.get(attempt_key, context.elapsed_s)
            if attempt_key in seen_s and all(
                ingress.is_drained_since(door, since_s) for door in _doors(unit, fleet)
            ):
                session = fleet.sessions[unit.session_id]
                effects += sessions.contained(session, context, partial(_take_end, unit, end))
            else:
                self._seen_s[attempt_key] = since_s
        return effects

    def _turn(self, fleet: Fleet) -> list[Unit]:
        """The next of the assigned units, and those that were seen ended."""
        assigned = sorted(u.id for u in fleet.units.values() if u.state in ASSIGNED_STATES)
        later = [unit_id for unit_id in assigned if unit_id > self._last]
        chosen = dict.fromkeys(islice(later or assigned, LOOKED_AT_ONCE))
        self._last = max(chosen, default="")
        chosen |= dict.fromkeys(unit_id for unit_id, _ in self._seen_s if unit_id in fleet.units)
        found = [fleet.units[unit_id] for unit_id in chosen]
        return [unit for unit in found if unit.state in ASSIGNED_STATES]


def _doors(unit: Unit, fleet: Fleet) -> set[str]:
    """By which its result may come: a work-horse uses its AI's own, whichever that joined by."""
    own = unit.assignee or ""
    return {own, fleet.ais[own].door} if own in fleet.ais else {own}


def _take_end(unit: Unit, end: JobEnd, _: Session, context: Context) -> list[Effect]:
    if end.output is None:
        return sessions.unit_ended(unit, "failed", end.reason, {}, context)
    try:
        result = WorkResult.model_validate(end.output)
    except ValidationError:
        reason = "its RQ job finished with something that is no result"
        return sessions.unit_ended(unit, "failed", reason, {}, context)
    return collaborations.take_result(unit, result, context)
