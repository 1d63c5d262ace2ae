"""Handlers: a feature is asked for, declined by who was assigned, and fulfilled."""

from __future__ import annotations

from typing import Any

from coordinator import sessions
from coordinator.context import Context, Incoming
from coordinator.effects import Broadcast, Effect, Event
from coordinator.errors import BadMessage
from coordinator.messages import OPERATOR
from coordinator.payloads import ComponentShare, FeatureRequest, FeatureResponse, parse_payload
from coordinator.work import FEATURE_REQUEST, ID_LENGTH, Session

MAX_OPEN_PER_AI = 10


def feature_request(message: Incoming, context: Context) -> list[Effect]:
    """Assign a feature to the best of the capable, and let all others know of it.

    With nobody capable the requestor is told at once, and the request waits for somebody.
    """
    payload = parse_payload(FeatureRequest, message.envelope.payload)
    _check_room(message.sender, context)
    session = Session(
        id=context.ids.new()[:ID_LENGTH],
        type=FEATURE_REQUEST,
        initiator=message.sender,
        description="",
        target=None,
        wanted=context.settings.feature_assignees,
        requirements={"feature": payload.feature, "requirements": payload.requirements},
        created_ms=context.now_ms,
        in_reply_to=message.envelope.message_id,
        deadline_s=context.elapsed_s + context.settings.feature_wait_s,
    )
    opened = sessions.open_session(session, context)
    assigned = sessions.assign_feature(session, context)
    request = {**message.envelope.payload, "request_id": session.id}
    others = Broadcast(message.encode(request), exclude=(message.sender, *session.participants))
    return [*opened, *assigned, others]


def feature_response(message: Incoming, context: Context) -> list[Effect]:
    """An assignee that declines is replaced by the next of the capable."""
    payload = parse_payload(FeatureResponse, message.envelope.payload)
    session = context.fleet.sessions.get(payload.request_id)
    if session is None or not session.is_feature:
        raise BadMessage(
            "not_found",
            f"payload.request_id {payload.request_id!r} is no open feature request",
            "payload.request_id",
        )
    if payload.accept:
        return []
    if message.sender not in session.participants:
        raise BadMessage(
            "not_asked",
            f"{message.sender} was not assigned {session.feature}, and need not decline it",
            "payload.request_id",
        )
    session.declined[message.sender] = payload.reason
    text = f"{message.sender} declines {session.feature}: {payload.reason or 'no reason given'}"
    data = {"session_id": session.id, "reason": payload.reason}
    event = Event("feature_declined", message.sender, text, data)
    return [event, *sessions.replace(session, message.sender, context)]


def component_shared(
    message: Incoming, share: ComponentShare, component: dict[str, Any], context: Context
) -> list[Effect]:
    """A component that answers requests fulfils them, whoever sends it: the first answer counts.

    A request is named by requestor and feature, or by the component's name alone.
    """
    name = share.feature_name or component.get("name") or component.get("component_name")
    asked_by = share.original_requestor or message.envelope.target_ai or None
    answered = [
        session
        for session in context.fleet.sessions.values()
        if session.is_feature
        and session.feature == name
        and session.initiator != message.sender
        and asked_by in (None, session.initiator)
    ]
    effects: list[Effect] = []
    for session in answered:
        if message.sender not in session.participants:
            session.participants.append(message.sender)
        effects += sessions.complete(session, {"component": component}, context, is_shared=True)
    return effects


def _check_room(ai: str, context: Context) -> None:
    if ai == OPERATOR:
        return
    waiting = [s for s in context.fleet.sessions.values() if s.is_feature and s.initiator == ai]
    if len(waiting) >= MAX_OPEN_PER_AI:
        raise BadMessage(
            "busy",
            f"{ai} has {len(waiting)} feature requests open, which is the most one may; wait for "
            "one to end",
        )
