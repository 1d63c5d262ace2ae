"""From the bytes of an ingress entry to effects: who may say what, and which handler it goes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import redis

from coordinator import collaborations, features, knowledge, registry, steering
from coordinator.answers import query
from coordinator.context import Context, Incoming
from coordinator.effects import Deliver, Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.ingress import Entry
from coordinator.keys import Keys
from coordinator.messages import HUB, OPERATOR, Envelope, one_line, parse_envelope
from coordinator.payloads import DeadLetter, Retract, parse_payload
from coordinator.reads import read_dead_letter, read_homes, read_showcase
from coordinator.settings import Settings

LONGEST_DETAIL = 400

Handle = Callable[[Incoming, Context], list[Effect]]
Read = Callable[[redis.Redis, Keys, Settings, Incoming], Any]


class Route(NamedTuple):
    """How a message type is handled, and who may send it.

    One with a ``read`` is handled in a batch of its own, so that what was read is still true when
    it is written. What ``anybody`` behind a door may send needs no registration.
    """

    handle: Handle
    read: Read | None = None
    sender: Literal["ai", "operator", "both"] = "both"
    anybody: bool = False


def dead_drop(message: Incoming, context: Context) -> list[Effect]:
    letter_id = parse_payload(DeadLetter, message.envelope.payload).id
    _found_letter(letter_id, context)
    text = f"{message.sender} dropped dead letter {letter_id}"
    drop = Write(("XDEL", context.keys.dead, letter_id))
    return [drop, Event("dead_dropped", OPERATOR, text, {"id": letter_id})]


def dead_retry(message: Incoming, context: Context) -> list[Effect]:
    """Handle a dead letter again, in its sender's name; it goes when that succeeds."""
    letter_id = parse_payload(DeadLetter, message.envelope.payload).id
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
        letter[b"door"].decode(),
        present.instance if present else letter[b"instance"].decode(),
    )
    check(again, context)
    text = f"{message.sender} had dead letter {letter_id} tried again"
    return [
        *handle(again, context),
        Write(("XDEL", context.keys.dead, letter_id)),
        Event("dead_retried", OPERATOR, text, {"id": letter_id}),
    ]


def _read_showcase(connection: redis.Redis, keys: Keys, settings: Settings, _: Incoming) -> Any:
    return read_showcase(connection, keys, settings.sync_keep)


def _read_homes(connection: redis.Redis, keys: Keys, _: Settings, message: Incoming) -> Any:
    return read_homes(connection, keys, parse_payload(Retract, message.envelope.payload).id)


def _read_letter(connection: redis.Redis, keys: Keys, _: Settings, message: Incoming) -> Any:
    letter_id = parse_payload(DeadLetter, message.envelope.payload).id
    return read_dead_letter(connection, keys, letter_id)


ROUTES: dict[str, Route] = {
    "hello": Route(registry.hello, _read_showcase, sender="ai", anybody=True),
    "heartbeat": Route(registry.heartbeat, sender="ai"),
    "goodbye": Route(registry.goodbye, sender="ai"),
    "pattern_share": Route(knowledge.pattern_share),
    "code_share": Route(knowledge.code_share),
    "os_component_share": Route(knowledge.os_component_share),
    "performance_report": Route(knowledge.performance_report),
    "feature_request": Route(features.feature_request),
    "feature_response": Route(features.feature_response, sender="ai"),
    "collaboration_request": Route(collaborations.collaboration_request),
    "collaboration_response": Route(collaborations.collaboration_response, sender="ai"),
    "workspace_update": Route(collaborations.workspace_update, sender="ai"),
    "work_result": Route(collaborations.work_result, sender="ai", anybody=True),
    "query": Route(query),
    "cancel": Route(steering.cancel),
    "retry": Route(steering.retry, steering.read_failed, sender="operator"),
    "kick": Route(registry.kick, sender="operator"),
    "drain": Route(registry.drain, sender="operator"),
    "retract": Route(knowledge.retract, _read_homes, sender="operator"),
    "dead_drop": Route(dead_drop, _read_letter, sender="operator"),
    "dead_retry": Route(dead_retry, _read_letter, sender="operator"),
}


def is_known(message: Incoming) -> bool:
    return message.envelope.message_type in ROUTES


def reader_of(message: Incoming) -> Read | None:
    """What must be read before ``message`` can be handled."""
    return ROUTES[message.envelope.message_type].read if is_known(message) else None


def check(message: Incoming, context: Context) -> None:
    """BadMessage unless the sender may send this, to this target; nothing is read before."""
    _check_door(message)
    _check_sender(message, context)
    _check_target(message, context)


def handle(message: Incoming, context: Context) -> list[Effect]:
    """What a message that passed ``check`` does. BadMessage: then it does nothing."""
    return ROUTES[message.envelope.message_type].handle(message, context)


def refuse(
    owner: str, instance: str, envelope: Envelope | None, error: BadMessage, context: Context
) -> list[Effect]:
    """Tell that instance of the door's owner what was wrong; ``envelope`` is None when there was
    none to read."""
    in_reply_to = envelope.message_id if envelope else None
    detail = one_line(error.detail, LONGEST_DETAIL)
    payload = {"in_reply_to": in_reply_to, "code": error.code, "detail": detail, **error.more}
    if error.field:
        payload["field"] = one_line(error.field, LONGEST_DETAIL)
    text = f"refused a message of {owner}: {detail}"
    return [
        Deliver(owner, context.hub_message("error", payload, owner), instance=instance),
        Event("refused", owner, text, payload),
    ]


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
    told = refuse(entry.door, entry.instance, envelope, error, context)
    if entry.door == OPERATOR:
        return told
    origin = ("door", entry.door, "instance", entry.instance, "n", entry.n, "ms", context.now_ms)
    keep = ("MAXLEN", context.settings.dead_keep)
    dead = ("XADD", context.keys.dead, *keep, "*", *origin, "error", reason, "body", entry.body)
    return [Write(dead), *told]


def _check_door(message: Incoming) -> None:
    sender, door = message.sender, message.door
    if sender != door or sender == HUB:
        raise BadMessage(
            "foreign_sender",
            f"sender_id is {sender!r}, but this message came from {door!r}; "
            "nobody may speak in another's name",
            "sender_id",
        )
    if not is_known(message):
        known = ", ".join(name for name, route in ROUTES.items() if route.sender != "operator")
        raise BadMessage(
            "unknown_type",
            f"message_type {message.envelope.message_type!r} is unknown; known are {known}",
            "message_type",
        )


def _check_sender(message: Incoming, context: Context) -> None:
    sender, message_type = message.sender, message.envelope.message_type
    allowed = ROUTES[message_type].sender
    if sender == OPERATOR:
        if allowed == "ai":
            raise BadMessage(
                "forbidden",
                f"sender_id {OPERATOR!r} is reserved for people; an AI needs an id of its own",
                "sender_id",
            )
        return
    if allowed == "operator":
        raise BadMessage(
            "forbidden", f"message_type {message_type!r} is the operator's alone", "message_type"
        )
    if ROUTES[message_type].anybody:
        return
    present = context.fleet.ais.get(sender)
    if present is None:
        raise BadMessage(
            "rejoin", f"{sender} is not registered, or its lease has ended; say hello first"
        )
    if not _counts_as(present.instance, message.instance):
        raise BadMessage(
            "superseded",
            f"{sender} is held by instance {present.instance}, and this message came from "
            f"{message.instance}; stop one of the two, or give it another id",
        )


def _counts_as(present: str, instance: str) -> bool:
    """A work-horse's instance is its agent's, with unit and attempt behind it."""
    return instance == present or instance.startswith(f"{present}/")


def _check_target(message: Incoming, context: Context) -> None:
    target = message.envelope.target_ai
    if not target or target == OPERATOR:
        return
    if not context.fleet.members[target].has_joined:
        raise BadMessage(
            "unknown_target",
            f"target_ai {target!r} names no AI that ever joined this fleet; "
            "`query` with what=ais lists who is there",
            "target_ai",
        )


def _found_letter(letter_id: str, context: Context) -> dict[bytes, bytes]:
    letter: dict[bytes, bytes] | None = context.found
    if letter is None:
        raise BadMessage(
            "not_found",
            f"payload.id {letter_id} is no dead letter; `coord dead list` shows them",
            "payload.id",
        )
    return letter
