"""Which handler a message goes to, and what becomes of one that no handler can take."""

from __future__ import annotations

from typing import Any

import redis

from coordinator import (
    archive_marks,
    artifacts,
    collaborations,
    features,
    knowledge,
    membership,
    registry,
    steering,
    talk,
)
from coordinator.access import (
    ASKING,
    GATEWAYS,
    LISTENING,
    STEERING,
    TAKING_PART,
    VALIDATING,
    Handle,
    Read,
    Route,
    check_route,
    check_sender,
    check_target,
    types_of,
)
from coordinator.answers import query
from coordinator.context import Context, Incoming, refuse
from coordinator.effects import Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.ingress import Entry
from coordinator.keys import Keys
from coordinator.messages import OPERATOR, one_line, parse_envelope
from coordinator.orders import DeadLetter, Enroll
from coordinator.payloads import parse_payload
from coordinator.reads import read_dead_letter, read_showcase
from coordinator.settings import Settings
from coordinator.validation import verdicts


def dead_drop(message: Incoming, context: Context) -> list[Effect]:
    payload = parse_payload(DeadLetter, message.envelope.payload)
    letter_id = payload.id
    _found_letter(letter_id, context)
    text = f"{payload.author(message.sender)} dropped dead letter {letter_id}"
    drop = Write(("XDEL", context.keys.dead, letter_id))
    return [drop, Event("dead_dropped", OPERATOR, text, {"id": letter_id})]


def dead_retry(message: Incoming, context: Context) -> list[Effect]:
    """Handle a dead letter again, in its sender's name; it goes when that succeeds."""
    payload = parse_payload(DeadLetter, message.envelope.payload)
    letter_id = payload.id
    letter = _found_letter(letter_id, context)
    envelope = parse_envelope(letter[b"body"], context.settings.message_max_bytes)
    if envelope.message_type not in ROUTES or ROUTES[envelope.message_type].read:
        raise BadMessage(
            "forbidden",
            f"payload.id {letter_id} is a {one_line(envelope.message_type)}, which only its sender "
            "can send again; drop it",
            "payload.id",
        )
    present = context.fleet.ais.get(envelope.sender_id)
    again = Incoming(
        envelope,
        present.door if present else letter[b"door"].decode(),
        letter[b"owner"].decode(),
        present.instance if present else letter[b"instance"].decode(),
    )
    check(again, context)
    text = f"{payload.author(message.sender)} had dead letter {letter_id} tried again"
    return [
        *handle(again, context),
        Write(("XDEL", context.keys.dead, letter_id)),
        Event("dead_retried", OPERATOR, text, {"id": letter_id}),
    ]


def enroll(message: Incoming, context: Context) -> list[Effect]:
    """As ``membership.enroll``; what an AI may send must be something that can be sent."""
    types = parse_payload(Enroll, message.envelope.payload).message_types or []
    unknown = [name for name in types if name not in ROUTES]
    if unknown:
        raise BadMessage(
            "bad_payload",
            f"payload.message_types has {unknown[0]!r}, which is no message type; known are "
            f"{', '.join(ROUTES)}",
            "payload.message_types",
        )
    return membership.enroll(message, context)


def _read_showcase(connection: redis.Redis, keys: Keys, settings: Settings, _: Incoming) -> Any:
    return read_showcase(connection, keys, settings.sync_keep)


def _read_letter(connection: redis.Redis, keys: Keys, _: Settings, message: Incoming) -> Any:
    letter_id = parse_payload(DeadLetter, message.envelope.payload).id
    return read_dead_letter(connection, keys, letter_id)


ROUTES: dict[str, Route] = {
    "hello": Route(registry.hello, _read_showcase, senders=LISTENING, strangers=True, repeats=True),
    "heartbeat": Route(registry.heartbeat, senders=LISTENING, repeats=True),
    "goodbye": Route(registry.goodbye, senders=LISTENING),
    "pattern_share": Route(knowledge.pattern_share),
    "code_share": Route(knowledge.code_share),
    "os_component_share": Route(knowledge.os_component_share),
    "validation_result": Route(
        verdicts.validation_result,
        verdicts.read_judged_ledger,
        senders=VALIDATING,
        strangers=True,
    ),
    "performance_report": Route(knowledge.performance_report),
    "message": Route(talk.message),
    "feature_request": Route(features.feature_request),
    "feature_response": Route(features.feature_response, senders=TAKING_PART),
    "collaboration_request": Route(collaborations.collaboration_request),
    "collaboration_response": Route(collaborations.collaboration_response, senders=TAKING_PART),
    "workspace_update": Route(collaborations.workspace_update, senders=TAKING_PART),
    "work_result": Route(collaborations.work_result, senders=TAKING_PART, strangers=True),
    "payload": Route(
        artifacts.put,
        artifacts.read_found,
        senders=TAKING_PART,
        strangers=True,
        undo=artifacts.remove_refused,
    ),
    "query": Route(query, senders=ASKING, repeats=True),
    "cancel": Route(steering.cancel),
    "retry": Route(steering.retry, steering.read_failed, senders=STEERING),
    "kick": Route(steering.kick, senders=STEERING),
    "drain": Route(steering.drain, senders=STEERING),
    "retract": Route(knowledge.retract, knowledge.read_found, senders=STEERING),
    "dead_drop": Route(dead_drop, _read_letter, senders=STEERING),
    "dead_retry": Route(dead_retry, _read_letter, senders=STEERING),
    "enroll": Route(enroll, membership.read_stored, senders=STEERING),
    "rotate": Route(membership.rotate, membership.read_stored, senders=STEERING),
    "revoke": Route(membership.revoke, membership.read_stored, senders=STEERING),
    "archived": Route(archive_marks.archived, senders=STEERING, repeats=True, bookkeeping=True),
    "gateway_heartbeat": Route(registry.gateway_heartbeat, senders=GATEWAYS),
    "login_refused": Route(membership.login_refused, senders=GATEWAYS),
}


def is_known(message: Incoming) -> bool:
    return message.envelope.message_type in ROUTES


def reader_of(message: Incoming) -> Read | None:
    """What must be read before ``message`` can be handled."""
    return ROUTES[message.envelope.message_type].read if is_known(message) else None


def undo_of(message: Incoming) -> Handle | None:
    """What removes that which came with ``message``, when it is refused."""
    return ROUTES[message.envelope.message_type].undo if is_known(message) else None


def check(message: Incoming, context: Context) -> None:
    """BadMessage unless the sender may send this, to this target; nothing is read before."""
    check_sender(message, context)
    if not is_known(message):
        known = ", ".join(types_of(message, ROUTES, context))
        raise BadMessage(
            "unknown_type",
            f"message_type {message.envelope.message_type!r} is unknown; known are {known}",
            "message_type",
        )
    check_route(message, ROUTES[message.envelope.message_type], context)
    check_target(message, context)


def is_counted(message: Incoming) -> bool:
    """Whether it is one of those that the totals tell of."""
    return not ROUTES[message.envelope.message_type].bookkeeping


def is_repeatable(message: Incoming) -> bool:
    """Whether a repeat of ``message`` is to be handled again."""
    return is_known(message) and ROUTES[message.envelope.message_type].repeats


def handle(message: Incoming, context: Context) -> list[Effect]:
    """What a message that passed ``check`` does. BadMessage: then it does nothing."""
    return ROUTES[message.envelope.message_type].handle(message, context)


def bury(entry: Entry, reason: str, context: Context) -> list[Effect]:
    """A message that broke its handler becomes a dead letter, and its sender is told.

    An operator's is only answered: what it asked for can be asked again.
    """
    try:
        envelope = parse_envelope(entry.body, context.settings.message_max_bytes)
    except BadMessage:
        envelope = None
    reason = one_line(reason)
    error = BadMessage("internal", f"the coordinator failed on this message: {reason}")
    owner, instance = entry.speaker
    told = refuse(owner, instance, envelope, error, context)
    if owner == OPERATOR:
        return told
    origin = ("door", entry.door, "owner", owner, "instance", instance, "n", entry.n)
    keep = ("MAXLEN", context.settings.dead_keep)
    what = ("ms", context.now_ms, "error", reason, "body", entry.body)
    dead = ("XADD", context.keys.dead, *keep, "*", *origin, *what)
    return [Write(dead), *told]


def _found_letter(letter_id: str, context: Context) -> dict[bytes, bytes]:
    letter: dict[bytes, bytes] | None = context.found
    if letter is None:
        raise BadMessage(
            "not_found",
            f"payload.id {letter_id} is no dead letter; `coord dead list` shows them",
            "payload.id",
        )
    return letter
