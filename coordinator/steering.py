"""Handlers: a session is cancelled, a failed unit tried again, an AI kicked or drained."""

from __future__ import annotations

from typing import NamedTuple

import redis

from coordinator import sessions, units
from coordinator.access import is_operator
from coordinator.collaborations import found_session
from coordinator.context import Context, Incoming
from coordinator.effects import Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.jobs import session_id_of
from coordinator.keys import Keys
from coordinator.messages import OPERATOR
from coordinator.orders import Cancel, Retry, Steer
from coordinator.payloads import parse_payload
from coordinator.registry import expel
from coordinator.settings import Settings
from coordinator.work import Session, Unit


class Ended(NamedTuple):
    """A session that has ended, with all its units."""

    session: Session
    units: list[Unit]


def cancel(message: Incoming, context: Context) -> list[Effect]:
    """The operator, or who asked for a session, calls it off."""
    payload = parse_payload(Cancel, message.envelope.payload)
    session = found_session(payload.session_id, context)
    if message.sender != session.initiator and not is_operator(message.sender, context):
        raise BadMessage(
            "forbidden",
            f"session {session.id} is {session.initiator}'s, who alone may cancel it",
            "payload.session_id",
        )
    reason = f"{payload.author(message.sender)} cancelled it"
    if payload.reason:
        reason += f": {payload.reason}"
    return sessions.end(session, "cancelled", reason, context)


def kick(message: Incoming, context: Context) -> list[Effect]:
    """An AI is removed, and is not to come back."""
    payload = parse_payload(Steer, message.envelope.payload)
    ai, by = _live(payload.ai, context), payload.author(message.sender)
    reason = payload.reason or "kicked by the operator"
    text = f"{by} kicked {ai.id}: {reason}"
    kicked = Event("kicked", ai.id, text, {"by": by, "reason": reason})
    return [kicked, *expel(ai, BadMessage("kicked", reason), context)]


def drain(message: Incoming, context: Context) -> list[Effect]:
    """An AI is to finish its units, and takes no new ones as long as it stays."""
    payload = parse_payload(Steer, message.envelope.payload)
    ai, by = _live(payload.ai, context), payload.author(message.sender)
    context.fleet.members[ai.id].is_draining = True
    open_units = context.fleet.assigned[ai.id]
    text = f"{by} drains {ai.id}; {open_units} units are left"
    return [
        Write(("HSET", context.keys.member(ai.id), "draining", 1)),
        Event("draining", ai.id, text, {"by": by, "units": open_units}),
    ]


def retry(message: Incoming, context: Context) -> list[Effect]:
    """A failed unit is tried again as often as at first, and its session goes on.

    ``found`` is the session as it ended. What was cancelled with it waits again.
    """
    payload = parse_payload(Retry, message.envelope.payload)
    unit_id = payload.unit_id
    found: Ended | None = context.found
    if found is None:
        raise BadMessage(
            "not_found",
            f"payload.unit_id {unit_id!r} is no unit of a session that has failed and is still "
            "kept; `coord sessions` lists them",
            "payload.unit_id",
        )
    session = found.session
    session.state, session.reason, session.ended_ms = "active", "", None
    session.deadline_s = context.elapsed_s + context.settings.session_max_s
    context.fleet.sessions[session.id] = session
    effects: list[Effect] = [
        Write(("ZADD", context.keys.sessions, "+inf", session.id)),
        Write(("PERSIST", context.keys.session(session.id))),
        Write(("PERSIST", context.keys.workspace(session.id))),
    ]
    for unit in found.units:
        context.fleet.units[unit.id] = unit
        effects.append(Write(("PERSIST", context.keys.unit(unit.id))))
        if unit.state in ("failed", "cancelled"):
            unit.state = "waiting"
            unit.tries = unit.failures + context.settings.unit_tries
            effects.append(units.write(unit, context))
    text = f"{payload.author(message.sender)} has {unit_id} tried again"
    effects.append(Event("unit_retried", OPERATOR, text, {"unit_id": unit_id}))
    return [*effects, *sessions.advance(session, context), *sessions.tell(session, context)]


def read_failed(
    connection: redis.Redis, keys: Keys, _: Settings, message: Incoming
) -> Ended | None:
    """The failed session that the unit belongs to; None if there is none, or it did not fail."""
    unit_id = parse_payload(Retry, message.envelope.payload).unit_id
    stored = connection.hget(keys.session(session_id_of(unit_id)), "session")
    if not stored:
        return None
    session = Session.from_json(stored)
    if session.state != "failed" or session.is_feature or unit_id not in session.units:
        return None
    with connection.pipeline(transaction=False) as pipe:
        for name in session.units:
            pipe.hget(keys.unit(name), "unit")
        found = pipe.execute()
    if None in found:
        return None
    return Ended(session, [Unit.from_json(unit) for unit in found])


def _live(ai_id: str, context: Context) -> Ai:
    ai = context.fleet.ais.get(ai_id)
    if ai is None:
        raise BadMessage(
            "not_found",
            f"payload.ai {ai_id!r} is nobody who is there; `coord ais` lists them",
            "payload.ai",
        )
    return ai
