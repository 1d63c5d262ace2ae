"""Handlers: collaborations are asked for and answered, workspaces shared, results taken."""

from __future__ import annotations

from typing import Any

from coordinator import sessions, units
from coordinator.context import Context, Incoming, hand_on
from coordinator.effects import Broadcast, Deliver, Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.messages import OPERATOR, encode_message, to_json
from coordinator.payloads import (
    CollaborationRequest,
    CollaborationResponse,
    Component,
    ComponentShare,
    WorkResult,
    WorkspaceUpdate,
    parse_payload,
)
from coordinator.plans import check_plan
from coordinator.work import ID_LENGTH, Session, Unit

MAX_WORKSPACE_KEYS = 1000
MAX_REASONS = 32


def collaboration_request(message: Incoming, context: Context) -> list[Effect]:
    """Open a session and pass the request on, once, with the session's id; the sender is told it.

    Asked is ``target_ai``, or everybody else.
    """
    payload = parse_payload(CollaborationRequest, message.envelope.payload)
    check_plan(payload.plan or [])
    target = _target(message, payload, context)
    if message.sender != OPERATOR:
        _check_room(message.sender, context)
    session = Session(
        id=context.ids.new()[:ID_LENGTH],
        type=payload.type,
        initiator=message.sender,
        description=payload.description,
        target=target,
        wanted=payload.participants,
        requirements=payload.requirements,
        created_ms=context.now_ms,
        in_reply_to=message.envelope.message_id,
        plan=None if payload.plan is None else [unit.model_dump() for unit in payload.plan],
        participants=[] if message.sender == OPERATOR else [message.sender],
        deadline_s=context.elapsed_s + context.settings.collaboration_wait_s,
    )
    opened = sessions.open_session(session, context)
    if not target and len(session.participants) >= session.wanted:
        return [*opened, *sessions.begin(session, context)]
    request = _passed_on(message, session, context)
    passed_on: list[Effect]
    if target:
        passed_on = hand_on(message, target, request)
    else:
        passed_on = [Broadcast(request, exclude=(message.sender,))]
    return [*passed_on, *opened, *sessions.tell(session, context)]


def collaboration_response(message: Incoming, context: Context) -> list[Effect]:
    """Somebody says yes or no; the initiator is told either. With enough of them it begins."""
    payload = parse_payload(CollaborationResponse, message.envelope.payload)
    session = found_session(payload.session_id, context)
    _check_asked(message.sender, session)
    if session.state != "pending" and not payload.accept:
        return [Note(f"{message.sender} declines session {session.id}, which has begun without it")]
    if session.state != "pending":
        raise BadMessage(
            "session_full",
            f"session {session.id} has all it needs, and has begun without {message.sender}",
            "payload.session_id",
        )
    told = hand_on(message, session.initiator, message.encode())
    if not payload.accept:
        return [*told, *_decline(session, message.sender, payload.reason, context)]
    _check_room(message.sender, context)
    _check_needed(message.sender, session, context)
    if session.declined.pop(message.sender, None) is not None:
        session.refusals -= 1
    session.participants.append(message.sender)
    text = f"{message.sender} joins session {session.id}"
    joined = Event("session_joined", message.sender, text, {"session_id": session.id})
    if session.target or len(session.participants) >= session.wanted:
        return [*told, joined, *sessions.begin(session, context)]
    return [*told, joined, sessions.write(session, context)]


def workspace_update(message: Incoming, context: Context) -> list[Effect]:
    """Write a key of the shared workspace; the other participants are told, with its version."""
    payload = parse_payload(WorkspaceUpdate, message.envelope.payload)
    session = found_session(payload.session_id, context)
    if message.sender not in session.participants:
        raise _not_a_participant(message.sender, session)
    version, _ = session.workspace.get(payload.key, (0, 0))
    if payload.expected_version not in (None, version):
        raise BadMessage(
            "stale_version",
            f"payload.expected_version is {payload.expected_version}, but {payload.key} has "
            f"version {version}; read it again",
            "payload.expected_version",
            more={"version": version},
        )
    write = _put(session, payload.key, payload.value, message.sender, context)
    told = message.encode({**message.envelope.payload, "version": version + 1})
    others = [ai for ai in session.participants if ai != message.sender]
    text = f"{message.sender} wrote {payload.key} of session {session.id}, version {version + 1}"
    data = {"session_id": session.id, "key": payload.key, "version": version + 1}
    return [
        write,
        sessions.write(session, context),
        *(Deliver(ai, told) for ai in others),
        Event("workspace_updated", message.sender, text, data | {"value": payload.value}),
    ]


def work_result(message: Incoming, context: Context) -> list[Effect]:
    """How an attempt at a unit goes, or ended; judged by unit and attempt alone.

    What comes from any other attempt than the present one changes nothing.
    """
    result = parse_payload(WorkResult, message.envelope.payload)
    unit = context.fleet.units.get(result.unit_id)
    is_present = (
        unit is not None
        and unit.session_id == result.session_id
        and unit.attempt == result.attempt
        and unit.assignee == message.sender
    )
    if unit is None or not is_present:
        told = f"attempt {result.attempt} of {message.sender} at {result.unit_id}"
        return [Note(f"{told} came late, and changes nothing")]
    return take_result(unit, result, context)


def take_result(unit: Unit, result: WorkResult, context: Context) -> list[Effect]:
    """What the present attempt at ``unit`` says of itself."""
    session = context.fleet.sessions[unit.session_id]
    if result.outcome == "running":
        running = units.note_running(unit, result.progress, context)
        return running if session.is_feature else [*running, *sessions.tell(session, context, unit)]
    ai = unit.attempts[-1].ai
    workspace, writes = dict(session.workspace), list[Effect]()
    try:
        if "component" in result.output:
            parse_payload(Component, result.output["component"], "output.component")
        for key, value in result.workspace.items():
            writes.append(_put(session, key, value, ai, context))
    except BadMessage as error:
        session.workspace = workspace
        reason = f"its result cannot be used: {error.detail}"
        return sessions.unit_ended(unit, "failed", reason, {}, context)
    ended = sessions.unit_ended(unit, result.outcome, result.reason, result.output, context)
    return [*writes, *ended]


def completed_by(
    sender: str, share: ComponentShare, component: dict[str, Any], context: Context
) -> Session | None:
    """The session that a component completes: the one that it says it ends, or is called by the id
    of. BadMessage ``not_a_participant`` for who is not asked, or comes when others are at work on a
    plan."""
    named = str(component.get("id"))
    session_id = share.session_id if share.collaboration_complete else None
    if named.startswith(sessions.COMPONENT_PREFIX):
        session_id = session_id or named.removeprefix(sessions.COMPONENT_PREFIX)
    session = context.fleet.sessions.get(session_id or "")
    if session is None or session.is_feature:
        return None
    is_late = session.units or (session.target and sender != session.target)
    if is_late and sender not in session.participants:
        raise _not_a_participant(sender, session)
    return session


def component_shared(
    session: Session | None, sender: str, component: dict[str, Any], context: Context
) -> list[Effect]:
    """The session that this component completes is over. Who sends it counts as having accepted."""
    if session is None:
        return []
    if sender not in session.participants:
        session.participants.append(sender)
    return sessions.complete(session, {"component": component}, context, is_shared=True)


def found_session(session_id: str, context: Context) -> Session:
    """The open session of that id. BadMessage ``not_found``."""
    session = context.fleet.sessions.get(session_id)
    if session is None:
        raise BadMessage(
            "not_found",
            f"payload names no open session: {session_id!r}; `coord sessions` lists them",
            "payload.session_id",
        )
    return session


def _target(message: Incoming, payload: CollaborationRequest, context: Context) -> str | None:
    target = payload.target_ai or message.envelope.target_ai or None
    if target is None:
        return None
    fleet = context.fleet
    if target == message.sender or target not in fleet.ais or not fleet.members[target].takes_part:
        raise BadMessage(
            "unknown_target",
            f"payload.target_ai {target!r} is nobody who is there to answer, the sender aside; "
            "leave it empty to ask everybody",
            "payload.target_ai",
        )
    return target


def _check_room(ai: str, context: Context) -> None:
    taking_part = [
        session.id
        for session in context.fleet.sessions.values()
        if ai in session.participants and not session.is_feature
    ]
    if len(taking_part) >= context.settings.sessions_per_ai:
        raise BadMessage(
            "busy",
            f"{ai} takes part in {len(taking_part)} sessions already ({', '.join(taking_part)}), "
            "which is the most one may; wait for one to end",
        )
    if context.fleet.members[ai].is_draining:
        raise BadMessage("draining", f"{ai} is being drained: it takes no new work")


def _check_asked(ai: str, session: Session) -> None:
    if session.is_feature or (session.target and ai != session.target):
        raise BadMessage(
            "not_asked",
            f"{ai} was not asked to take part in session {session.id}",
            "payload.session_id",
        )
    if ai in session.participants:
        raise BadMessage(
            "bad_payload",
            f"{ai} takes part in session {session.id} already",
            "payload.session_id",
        )


def _check_needed(ai: str, session: Session, context: Context) -> None:
    """In joining components of different specializations a second of one kind brings nothing."""
    if session.type != "cross_specialization" or session.plan is not None:
        return
    ais = context.fleet.ais
    there = {ais[one].specialization for one in session.participants if one in ais}
    own = ais[ai].specialization
    if own in there:
        raise BadMessage(
            "session_full",
            f"session {session.id} has its {own} already, and looks for others",
            "payload.session_id",
        )


def _not_a_participant(ai: str, session: Session) -> BadMessage:
    return BadMessage(
        "not_a_participant",
        f"{ai} takes no part in session {session.id}, which is that of "
        f"{', '.join(session.participants)}",
        "payload.session_id",
    )


def _passed_on(message: Incoming, session: Session, context: Context) -> str:
    """The request as the asked see it: with the session's id, and whose it is."""
    present = context.fleet.ais.get(message.sender)
    payload = {
        **message.envelope.payload,
        "session_id": session.id,
        "initiator": message.sender,
        "partner_specialization": present.specialization if present else "",
    }
    envelope = message.envelope
    return encode_message(
        envelope.message_id,
        message.sender,
        envelope.message_type,
        envelope.timestamp,
        payload,
        session.target,
    )


def _decline(session: Session, ai: str, reason: str, context: Context) -> list[Effect]:
    """With everybody declining there is nothing to wait for."""
    session.refusals += ai not in session.declined
    if ai in session.declined or len(session.declined) < MAX_REASONS:
        session.declined[ai] = reason
    text = f"{ai} declines session {session.id}: {reason or 'no reason given'}"
    event = Event("session_refused", ai, text, {"session_id": session.id, "reason": reason})
    fleet = context.fleet
    others = [one for one in fleet.ais if fleet.members[one].takes_part]
    asked = 1 if session.target else len(set(others) - {session.initiator})
    if session.refusals >= asked and len(session.participants) < 2:
        why = reason if session.target else "everybody who is there said no"
        return [event, *sessions.end(session, "declined", why, context)]
    return [event, sessions.write(session, context)]


def _put(session: Session, key: str, value: Any, ai: str, context: Context) -> Write:
    """Write a key of the workspace. BadMessage when that would make it too large."""
    version, own_bytes = session.workspace.get(key, (0, 0))
    stored = to_json({"value": value, "version": version + 1, "by": ai, "ms": context.now_ms})
    size_bytes = len(stored.encode())
    total_bytes = sum(size for _, size in session.workspace.values()) - own_bytes + size_bytes
    most_bytes = context.settings.workspace_max_bytes
    if total_bytes > most_bytes or (version == 0 and len(session.workspace) >= MAX_WORKSPACE_KEYS):
        raise BadMessage(
            "too_large",
            f"the workspace of session {session.id} would have {total_bytes} bytes; the most is "
            f"{most_bytes}, and {MAX_WORKSPACE_KEYS} keys",
            "payload.value",
        )
    session.workspace[key] = (version + 1, size_bytes)
    return Write(("HSET", context.keys.workspace(session.id), key, stored))
