"""Who may say what: whose door it is, in which role, under which restrictions, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import redis

from coordinator.context import Context, Incoming
from coordinator.doors import is_gateway_door
from coordinator.effects import Effect
from coordinator.enrolment import Access
from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.keys import Keys
from coordinator.messages import GATEWAY, HUB, OPERATOR
from coordinator.payloads import Role
from coordinator.settings import Settings

SenderRole = Role | Literal["person", "gateway"]
"""An AI in its role, somebody at a shell (the id ``operator``), or a gateway itself."""

TAKING_PART: frozenset[SenderRole] = frozenset({"trainer", "validator", "operator"})
LISTENING: frozenset[SenderRole] = TAKING_PART | {"observer"}
SHARING: frozenset[SenderRole] = TAKING_PART | {"person"}
ASKING: frozenset[SenderRole] = LISTENING | {"person"}
STEERING: frozenset[SenderRole] = frozenset({"operator", "person"})
VALIDATING: frozenset[SenderRole] = frozenset({"validator"})
GATEWAYS: frozenset[SenderRole] = frozenset({"gateway"})

Handle = Callable[[Incoming, Context], list[Effect]]
Read = Callable[[redis.Redis, Keys, Settings, Incoming], Any]


class Route(NamedTuple):
    """How a message type is handled, and who may send it.

    One with a ``read`` is handled in a batch of its own, so that what was read is still true when
    it is written. What ``strangers`` may send needs no registration. One that ``repeats`` is
    handled as often as it comes, also under the same message_id. When one is refused, ``undo``
    removes what came with it; it finds what ``read`` has read. The totals count what is no
    ``bookkeeping``.
    """

    handle: Handle
    read: Read | None = None
    senders: frozenset[SenderRole] = SHARING
    strangers: bool = False
    repeats: bool = False
    undo: Handle | None = None
    bookkeeping: bool = False


def check_sender(message: Incoming, context: Context) -> None:
    """BadMessage unless the door is the sender's, and still open to it."""
    sender = message.sender
    is_impostor = sender == GATEWAY and not is_gateway_door(message.door)
    if sender != message.owner or sender == HUB or is_impostor:
        raise BadMessage(
            "foreign_sender",
            f"sender_id is {sender!r}, but this message came from {message.owner!r}; "
            "nobody may speak in another's name",
            "sender_id",
        )
    access = _access_of(sender, context)
    if access is not None and access.is_revoked:
        raise BadMessage(
            "revoked",
            f"{sender} was shut out of the fleet; whoever runs it can enroll it again",
        )


def check_route(message: Incoming, route: Route, context: Context) -> None:
    """BadMessage unless the sender may say this now."""
    role = _role_of(message.sender, context)
    if role not in route.senders:
        raise _forbidden(message, role, route)
    if role in ("person", "gateway"):
        return
    _check_types(message, route, context)
    if not route.strangers:
        _check_presence(message, context.fleet.ais.get(message.sender))


def check_target(message: Incoming, context: Context) -> None:
    """BadMessage for a target that neither joined nor was enrolled."""
    target = message.envelope.target_ai
    if not target or target == OPERATOR:
        return
    if not context.fleet.members[target].is_known:
        raise BadMessage(
            "unknown_target",
            f"target_ai {target!r} names no AI that ever joined this fleet; "
            "`query` with what=ais lists who is there",
            "target_ai",
        )


def check_specialization(ai: str, specialization: str, context: Context) -> None:
    """BadMessage for one that ``ai`` was not enrolled for."""
    access = _access_of(ai, context)
    allowed = access.specializations if access else None
    if allowed is not None and specialization not in allowed:
        raise BadMessage(
            "forbidden",
            f"payload.specialization {specialization!r} is not what {ai} was enrolled for, "
            f"which is {', '.join(allowed) or 'nothing'}",
            "payload.specialization",
        )


def types_of(message: Incoming, routes: dict[str, Route], context: Context) -> list[str]:
    """The message types that the sender may send, restrictions aside."""
    role = _role_of(message.sender, context)
    return [name for name, route in routes.items() if role in route.senders]


def is_operator(sender: str, context: Context) -> bool:
    return _role_of(sender, context) in STEERING


def _access_of(ai: str, context: Context) -> Access | None:
    return context.fleet.members[ai].access


def _role_of(sender: str, context: Context) -> SenderRole:
    """One that was never enrolled has the server's trust, and is as good as a trainer."""
    if sender == OPERATOR:
        return "person"
    if sender == GATEWAY:
        return "gateway"
    access = _access_of(sender, context)
    return access.role if access else "trainer"


def _forbidden(message: Incoming, role: SenderRole, route: Route) -> BadMessage:
    message_type = message.envelope.message_type
    if role == "person" and "trainer" in route.senders:
        return BadMessage(
            "forbidden",
            f"sender_id {OPERATOR!r} is reserved for people; an AI needs an id of its own",
            "sender_id",
        )
    if route.senders == GATEWAYS:
        rule = "is a gateway's alone"
    elif route.senders == STEERING:
        rule = "is the operator's alone"
    elif route.senders == VALIDATING:
        rule = (
            f"is a validator's alone, and {message.sender} is none: whoever runs the fleet makes "
            f"it one by `coord enroll {message.sender} --role validator`"
        )
    elif role == "observer":
        rule = "is not for an observer, which only listens; it can be enrolled in another role"
    else:
        rule = "is an AI's, and not the gateway's own"
    return BadMessage("forbidden", f"message_type {message_type!r} {rule}", "message_type")


def _check_types(message: Incoming, route: Route, context: Context) -> None:
    """What is enough to listen cannot be withheld."""
    access = _access_of(message.sender, context)
    allowed = access.message_types if access else None
    message_type = message.envelope.message_type
    if allowed is not None and message_type not in allowed and "observer" not in route.senders:
        raise BadMessage(
            "forbidden",
            f"message_type {message_type!r} is not among those that {message.sender} was enrolled "
            f"for: {', '.join(allowed) or 'none'}",
            "message_type",
        )


def _check_presence(message: Incoming, present: Ai | None) -> None:
    sender = message.sender
    if present is None:
        raise BadMessage(
            "rejoin", f"{sender} is not registered, or its lease has ended; say hello first"
        )
    if not _counts_as(present, message):
        way = "" if message.door == present.door else f" by the door {message.door!r}"
        raise BadMessage(
            "superseded",
            f"{sender} is held by instance {present.instance}, and this message came from "
            f"{message.instance}{way}; stop one of the two, or give it another id",
        )


def _counts_as(present: Ai, message: Incoming) -> bool:
    """A work-horse comes by the AI's own door, whichever its agent's is; its instance is the
    agent's, with unit and attempt behind it."""
    if message.instance == present.instance:
        return message.door == present.door
    return message.door == present.id and message.instance.startswith(f"{present.instance}/")
