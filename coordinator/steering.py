"""Handlers: a session is cancelled, a unit that failed is tried again."""

from __future__ import annotations

from typing import NamedTuple

import redis

from coordinator import sessions, units
from coordinator.collaborations import found_session
from coordinator.context import Context, Incoming
from coordinator.effects import Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import OPERATOR
from coordinator.payloads import Cancel, Retry, parse_payload
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
    if message.sender not in (OPERATOR, session.initiator):
        raise BadMessage(
            "forbidden",
            f"session {session.id} is {session.initiator}'s, who alone may cancel it",
            "payload.session_id",
        )
    reason = payload.reason or f"{message.sender} cancelled it"
    return sessions.end(session, "cancelled", reason, context)


def retry(message: Incoming, context: Context) -> list[Effect]:
    """A failed unit is tried again as often as at first, and its session goes on.

    ``found`` is the session as it ended. What was cancelled with it waits again.
    """
    unit_id = parse_payload(Retry, message.envelope.payload).unit_id
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
    text = f"{message.sender} has {unit_id} tried again"
    effects.append(Event("unit_retried", OPERATOR, text, {"unit_id": unit_id}))
    return [*effects, *sessions.advance(session, context), *sessions.tell(session, context)]


def read_failed(
    connection: redis.Redis, keys: Keys, _: Settings, message: Incoming
) -> Ended | None:
    """The failed session that the unit belongs to; None if there is none, or it did not fail."""
    unit_id = parse_payload(Retry, message.envelope.payload).unit_id
    stored = connection.hget(keys.session(unit_id.rpartition("-")[0]), "session")
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
