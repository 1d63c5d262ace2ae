"""Sessions from request to end: who takes part, what is next, what came out, who is told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from coordinator import jobs, units
from coordinator.clock import iso
from coordinator.context import Context
from coordinator.effects import Broadcast, Deliver, Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.matching import capable, runner
from coordinator.messages import HUB, encode_message, to_json
from coordinator.plans import plan
from coordinator.records import is_free, store
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.work import Session, SessionState, Unit

log = logging.getLogger("coord")

COMPONENT_PREFIX = "collab_"
"""A component that is called so and by a session's id is what that session made."""
LONGEST_RESULT = 4096
LONGEST_INPUTS = 64 * 1024

Act = Callable[[Session, Context], list[Effect]]


def open_session(session: Session, context: Context) -> list[Effect]:
    """Take it into the fleet. BadMessage when there are too many, or it is too large."""
    fleet, settings = context.fleet, context.settings
    if len(fleet.sessions) >= settings.sessions_max:
        raise BadMessage(
            "busy",
            f"{settings.sessions_max} sessions are open, which is the most this fleet has; wait "
            "for one to end",
        )
    if not _has_room(len(session.plan or ()), context):
        raise BadMessage("busy", f"{_no_room(context)}; wait for some to end", "payload.plan")
    asked_bytes = len(to_json([session.requirements, session.plan]).encode())
    if asked_bytes > LONGEST_INPUTS:
        raise BadMessage(
            "too_large",
            f"payload.requirements and plan have {asked_bytes} bytes; the most is "
            f"{LONGEST_INPUTS}; share what is larger and name it here",
            "payload.requirements",
        )
    fleet.sessions[session.id] = session
    index = Write(("ZADD", context.keys.sessions, "+inf", session.id))
    text = f"{session.initiator} opened {_named(session)}"
    opened = Event("session_opened", session.initiator, text, _data(session))
    return [index, write(session, context), opened]


def begin(session: Session, context: Context) -> list[Effect]:
    """Who is needed is there: divide the work, and give out what can be done at once."""
    session.state, session.reason = "active", ""
    session.began_ms = context.now_ms
    if not session.is_feature:
        session.deadline_s = context.elapsed_s + context.settings.session_max_s
    text = f"{_named(session)} begins: {', '.join(session.participants)}"
    effects: list[Effect] = [Event("session_active", session.initiator, text, _data(session))]
    effects += divide(session, session.participants, context)
    if not session.is_feature and not _has_room(0, context):
        return [*effects, *end(session, "failed", _no_room(context), context)]
    given_out = advance(session, context)
    return [*effects, *tell(session, context), *given_out]


def divide(session: Session, participants: Iterable[str], context: Context) -> list[Effect]:
    """Add the units that the plan has for ``participants``."""
    ais = context.fleet.ais
    workers = [ais[ai] for ai in participants if ai in ais and ais[ai].skills]
    planned = plan(session, workers, context.settings)
    session.units += [unit.id for unit in planned]
    context.fleet.units.update({unit.id: unit for unit in planned})
    return [units.write(unit, context) for unit in planned]


def advance(
    session: Session, context: Context, output: dict[str, Any] | None = None
) -> list[Effect]:
    """Do what is due as things stand: end the session, or give out units that wait for nothing.

    ``output`` is that of the unit which just ended, and with the last one that of the session.
    """
    work = context.fleet.units_of(session)
    completed = [unit for unit in work if unit.state == "completed"]
    failed = [unit for unit in work if unit.state == "failed"]
    session.progress = len(completed) / len(work) if work else 0.0
    if completed and (session.is_feature or len(completed) == len(work)):
        return complete(session, output or {}, context)
    if failed and session.is_feature:
        assignee = failed[0].participant or ""
        session.declined[assignee] = failed[0].attempts[-1].reason
        return replace(session, assignee, context)
    if failed:
        last = failed[-1].attempts[-1]
        reason = f"{failed[-1].name} failed {failed[-1].failures} times, last: {last.reason}"
        return end(session, "failed", reason, context)
    done = {unit.id for unit in completed}
    effects: list[Effect] = []
    for unit in work:
        if unit.state == "waiting" and done.issuperset(unit.needs):
            effects += _give_out(unit, session, context)
    if not session.is_feature:
        session.reason = _hindrance(work)
    return [*effects, write(session, context)]


def unit_ended(
    unit: Unit, outcome: units.EndedOutcome, reason: str, output: dict[str, Any], context: Context
) -> list[Effect]:
    """An attempt has ended: its unit is done, or tried again, or spoils the session."""
    session = context.fleet.sessions[unit.session_id]
    made = output if outcome == "completed" else None
    effects = units.end_attempt(unit, outcome, reason, context, made)
    effects += advance(session, context, output)
    if session.is_open:
        effects += tell(session, context, unit)
    return effects


def _advance_and_tell(session: Session, context: Context) -> list[Effect]:
    """``advance``, and those concerned are told when it waits for something else, or no more."""
    reason_before = session.reason
    effects = advance(session, context)
    if session.is_open and session.reason != reason_before:
        effects += tell(session, context)
    return effects


def contained(session: Session, context: Context, act: Act) -> list[Effect]:
    """What ``act`` does to ``session``. One that it fails on is given up: it must stop neither the
    others nor the coordinator."""
    try:
        return act(session, context)
    except Exception as error:
        raise_unless_of_the_data(error)
        log.exception("gave up session %s", session.id)
        return _give_up(session, context)


def ai_left(ai: str, context: Context) -> list[Effect]:
    """What it had goes to others; what it was looking for partners for is called off."""
    return _each(context, partial(_without, ai))


def _without(ai: str, session: Session, context: Context) -> list[Effect]:
    if session.state == "pending" and session.initiator == ai:
        return end(session, "cancelled", f"{ai} asked for it and has left", context)
    if session.state == "pending" and session.target == ai:
        return end(session, "declined", f"{ai} has left", context)
    if session.state == "pending" and ai in session.participants:
        session.participants.remove(ai)
        return [write(session, context)]
    has_begun = session.state == "active" and not session.is_feature
    if has_begun and not session.units and not _present(session, context):
        return end(session, "failed", "all who took part have left", context)
    return _take_away(ai, session, context)


def _present(session: Session, context: Context) -> list[str]:
    return [ai for ai in session.participants if ai in context.fleet.ais]


def _take_away(ai: str, session: Session, context: Context) -> list[Effect]:
    """Whatever of ``session`` lies with ``ai`` goes to others."""
    reason = f"{ai} has left"
    had = [unit for unit in context.fleet.units_of(session) if unit.assignee == ai]
    effects: list[Effect] = []
    for unit in had:
        effects += units.end_attempt(unit, "lost", reason, context)
    if session.is_feature and session.is_open and ai in session.participants:
        return [*effects, *replace(session, ai, context)]
    return [*effects, *_advance_and_tell(session, context)] if had else effects


def ai_came(context: Context) -> list[Effect]:
    """Somebody joined: units that nobody could run, and features nobody was capable of, may go
    on."""
    return _each(context, _go_on)


def _go_on(session: Session, context: Context) -> list[Effect]:
    if session.is_feature and session.state == "pending":
        return assign_feature(session, context) if capable(session, context.fleet) else []
    is_unowned = any(u.unowned_since_s is not None for u in context.fleet.units_of(session))
    return _advance_and_tell(session, context) if is_unowned else []


def complete(
    session: Session, output: dict[str, Any], context: Context, *, is_shared: bool = False
) -> list[Effect]:
    """All is done. A ``component`` in ``output`` is stored and passed on in the name of all who
    worked on it, unless it ``is_shared`` already."""
    contributors = _contributors(session, context)
    component, summary = output.get("component"), output.get("summary")
    effects: list[Effect] = []
    if isinstance(component, dict) and component:
        if not is_shared:
            effects += _share(session, component, contributors, context)
        session.component_id = component.get("id")
    if isinstance(summary, dict) and len(to_json(summary)) <= LONGEST_RESULT:
        session.result = summary
    session.progress = 1.0
    effects += [
        Write(("HINCRBY", context.keys.member(ai), _counter(session), 1)) for ai in contributors
    ]
    return [*effects, *end(session, "completed", "", context)]


def end(session: Session, state: SessionState, reason: str, context: Context) -> list[Effect]:
    """The session is over, in one of the states in which one can be; all of it goes after a
    while."""
    fleet, keys = context.fleet, context.keys
    effects: list[Effect] = []
    for unit in fleet.units_of(session):
        effects += units.cancel(unit, f"the session was {state}", context)
    session.state, session.reason, session.ended_ms = state, reason, context.now_ms
    text = f"{_named(session)} {state}" + (f": {reason}" if reason else "")
    effects += [
        write(session, context),
        Write(("ZADD", keys.sessions, context.now_ms, session.id)),
        Event(f"session_{state}", session.initiator, text, _data(session)),
        *tell(session, context),
    ]
    keep_ms = int(context.settings.session_keep_s * 1000)
    kept = [keys.session(session.id), keys.workspace(session.id)]
    kept += [keys.unit(unit_id) for unit_id in session.units]
    effects += [Write(("PEXPIRE", key, keep_ms)) for key in kept]
    for unit_id in session.units:
        del fleet.units[unit_id]
    del fleet.sessions[session.id]
    return effects


def overdue(context: Context) -> list[Effect]:
    """What time brings: deadlines, and units that nobody is there for."""
    return _each(context, _overdue)


def _overdue(session: Session, context: Context) -> list[Effect]:
    """An AI whose records a takeover could not read is gone without having left."""
    now_s, wait_s = context.elapsed_s, context.settings.unit_wait_s
    if session.deadline_s <= now_s:
        return _deadline(session, context)
    work = context.fleet.units_of(session)
    for unit in work:
        since_s = unit.unowned_since_s
        if since_s is not None and now_s - since_s >= wait_s:
            reason = f"nobody was there for {wait_s:g} s to run {unit.name}"
            return end(session, "failed", reason, context)
    for unit in work:
        limit_s = unit.limit_s + jobs.GRACE_S
        if unit.running_since_s is not None and now_s - unit.running_since_s >= limit_s:
            reason = f"took longer than {unit.limit_s:g} s, and did not end by itself"
            return unit_ended(unit, "failed", reason, {}, context)  # the next look brings the next
    gone = {unit.assignee for unit in work if unit.assignee} - context.fleet.ais.keys()
    return [effect for ai in sorted(gone) for effect in _take_away(ai, session, context)]


def _deadline(session: Session, context: Context) -> list[Effect]:
    if session.is_feature:
        reason = "nobody capable came" if session.state == "pending" else "it took too long"
        return end(session, "expired", reason, context)
    if session.state == "active":
        took_s = context.settings.session_max_s
        return end(session, "failed", f"it was not done within {took_s:g} s", context)
    if len(session.participants) >= 2 and session.target is None:
        return begin(session, context)
    reason = f"nobody joined within {context.settings.collaboration_wait_s:g} s"
    return end(session, "expired", reason, context)


def tell(session: Session, context: Context, unit: Unit | None = None) -> list[Effect]:
    """Those who take part, and who asked for it, how it goes; the assignees of a feature only how
    it ended."""
    if session.is_feature:
        assignees = [] if session.is_open else session.participants
        listening = dict.fromkeys([session.initiator, *assignees])
        return [Deliver(ai, feature_update(session, ai, context)) for ai in listening]
    payload: dict[str, Any] = {
        "session_id": session.id,
        "in_reply_to": session.in_reply_to,
        "type": session.type,
        "status": session.state,
        "progress": session.progress,
        "participants": session.participants,
        "reason": session.reason,
    }
    if session.state == "completed":
        payload |= {"component_id": session.component_id, "result": session.result}
    if unit is not None:
        attempt = unit.attempts[-1]
        told = {"name": unit.name, "state": unit.state, "ai": attempt.ai}
        payload["unit"] = {"id": unit.id, **told, "attempt": unit.attempt}
    concerned = dict.fromkeys([session.initiator, *session.participants])
    return [
        Deliver(ai, context.hub_message("collaboration_update", payload, ai)) for ai in concerned
    ]


def feature_update(session: Session, ai: str, context: Context) -> str:
    """How a feature request goes, for who asked, or has it."""
    payload = {
        "request_id": session.id,
        "in_reply_to": session.in_reply_to,
        "feature": session.feature,
        "status": session.state,
        "assignees": session.participants,
        "declined": session.declined,
        "reason": session.reason,
        "component_id": session.component_id,
        "result": session.result,
    }
    return context.hub_message("feature_update", payload, ai)


# -- features ------------------------------------------------------------------------------------


def assign_feature(session: Session, context: Context) -> list[Effect]:
    """Assign it to the best of the capable, as far as it lacks assignees; begin with the first.

    With nobody capable it waits for somebody.
    """
    missing = context.settings.feature_assignees - len(session.participants)
    able = [ai for ai in capable(session, context.fleet) if ai.id not in session.participants]
    chosen = [ai.id for ai in able[: max(0, missing)]]
    if not chosen and session.state == "pending":
        session.reason = f"nobody is there who is capable of {session.feature}; it waits"
        return [write(session, context), *tell(session, context)]
    if not chosen:
        return advance(session, context)
    session.participants += chosen
    told = {
        "original_request": session.requirements,
        "requestor": session.initiator,
        "request_id": session.id,
    }
    effects: list[Effect] = [
        Deliver(ai, context.hub_message("feature_response", told, ai)) for ai in chosen
    ]
    if session.state == "pending":
        return [*effects, *begin(session, context)]
    effects += divide(session, chosen, context)
    return [*effects, *tell(session, context), *advance(session, context)]


def replace(session: Session, assignee: str, context: Context) -> list[Effect]:
    """``assignee`` is out: its unit is no more, and the next of the capable takes its place."""
    session.participants.remove(assignee)
    effects: list[Effect] = []
    for unit in context.fleet.units_of(session):
        if unit.participant == assignee:
            effects += units.cancel(unit, f"{assignee} is out", context)
            effects.append(Write(("DEL", context.keys.unit(unit.id))))
            session.units.remove(unit.id)
            del context.fleet.units[unit.id]
    if not session.participants:
        session.state = "pending"
    return [*effects, *assign_feature(session, context)]


# -- helpers -------------------------------------------------------------------------------------


def _each(context: Context, act: Act) -> list[Effect]:
    """What ``act`` does to each of the open sessions."""
    sessions = list(context.fleet.sessions.values())
    return [effect for session in sessions for effect in contained(session, context, act)]


def _give_up(session: Session, context: Context) -> list[Effect]:
    """End a session in whatever state a failure has left it; no job of it stays in a queue."""
    fleet = context.fleet
    session.units = [unit_id for unit_id in session.units if unit_id in fleet.units]
    effects: list[Effect] = []
    for unit in fleet.units_of(session):
        if unit.attempts:
            effects += jobs.dequeue(unit, unit.attempts[-1].ai, context.keys)
        if unit.state != "completed":
            unit.state = "cancelled"
        effects.append(units.write(unit, context))
    effects += end(session, "failed", "internal: the coordinator failed on it", context)
    fleet.assigned = Counter(unit.assignee for unit in fleet.units.values() if unit.assignee)
    return effects


def _has_room(count: int, context: Context) -> bool:
    return len(context.fleet.units) + count <= context.settings.units_max


def _no_room(context: Context) -> str:
    most = context.settings.units_max
    return f"it has more units than there is room for: {most} are the most that are open at a time"


def write(session: Session, context: Context) -> Write:
    return Write(("HSET", context.keys.session(session.id), "session", session.to_json()))


def _give_out(unit: Unit, session: Session, context: Context) -> list[Effect]:
    ai = runner(unit, session, context.fleet)
    if ai is None:
        if unit.unowned_since_s is None:
            unit.unowned_since_s = context.elapsed_s
        return []
    if ai.id not in session.participants:
        session.participants.append(ai.id)
    return units.assign(unit, ai.id, context)


def _hindrance(work: list[Unit]) -> str:
    """Why nobody is at work on (some of) these units of a collaboration, or ""."""
    if not work:
        return "no units: nobody here has the skills for them; share a component to end it"
    lacking = dict.fromkeys(unit.kind for unit in work if unit.unowned_since_s is not None)
    if not lacking:
        return ""
    return f"waits for somebody with the skill {', '.join(lacking)}"


def _contributors(session: Session, context: Context) -> list[str]:
    """Who brought a unit to its end, in the order of joining; all, if there were no units."""
    worked = {
        unit.attempts[-1].ai
        for unit in context.fleet.units_of(session)
        if unit.state == "completed"
    }
    return [ai for ai in session.participants if ai in worked or not worked]


def _share(
    session: Session, component: dict[str, Any], contributors: list[str], context: Context
) -> list[Effect]:
    """Store what the session made, and pass it on: a feature to who asked for it, in the name of
    who made it; a collaboration's component to all."""
    component["id"] = _component_id(session, component, contributors, context)
    maker = contributors[0]
    present = context.fleet.ais.get(maker)
    own = present.specialization if present else "general"
    specialization = component.get("specialization") or own
    payload: dict[str, Any] = {
        "component": component,
        "session_id": session.id,
        "contributors": contributors,
    }
    stored = store("feature", component, specialization, contributors, context)
    if session.is_feature:
        payload |= {"original_requestor": session.initiator, "feature_name": session.feature}
        message = _encode(maker, payload, session.initiator, context)
        return [*stored, Deliver(session.initiator, message)]
    payload["collaboration_complete"] = True
    return [*stored, Broadcast(_encode(HUB, payload, None, context))]


def _component_id(
    session: Session, component: dict[str, Any], contributors: list[str], context: Context
) -> str:
    """The id that it has, or the session's own: the first that is no record of somebody else's."""
    for wanted in (component.get("id"), f"{COMPONENT_PREFIX}{session.id}"):
        if wanted is not None and is_free("feature", wanted, contributors, context):
            return str(wanted)
    return context.ids.new()


def _encode(sender: str, payload: dict[str, Any], target: str | None, context: Context) -> str:
    return encode_message(
        context.ids.new(), sender, "os_component_share", iso(context.now_ms), payload, target
    )


def _counter(session: Session) -> str:
    return "features_implemented" if session.is_feature else "collaborations_completed"


def _data(session: Session) -> dict[str, Any]:
    return {"session_id": session.id, "session": session.told()}


def _named(session: Session) -> str:
    if session.is_feature:
        return f"request {session.id} for feature {session.feature}"
    return f"{session.type} {session.id}"
