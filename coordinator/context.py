"""What a handler is given: a message, and all it may look at to say what the message does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from coordinator.clock import Ids, iso
from coordinator.effects import Broadcast, Deliver, Effect, Event
from coordinator.errors import BadMessage
from coordinator.fleet import Fleet
from coordinator.keys import Keys
from coordinator.messages import HUB, Envelope, encode_message, one_line
from coordinator.settings import Settings

LONGEST_DETAIL = 400


class Incoming(NamedTuple):
    """An envelope, the door it came in by, and who came: ``owner``, as that ``instance``."""

    envelope: Envelope
    door: str
    owner: str
    instance: str

    @property
    def sender(self) -> str:
        return self.envelope.sender_id

    def encode(self, payload: dict[str, Any] | None = None) -> str:
        """The message as it is passed on, with another ``payload`` if one is given."""
        envelope = self.envelope
        return encode_message(
            envelope.message_id,
            envelope.sender_id,
            envelope.message_type,
            envelope.timestamp,
            envelope.payload if payload is None else payload,
            envelope.target_ai,
        )


@dataclass(slots=True)
class Context:
    """``now_ms`` is wall-clock time, ``elapsed_s`` the clock of leases. ``found`` is what was read
    from Redis for a message of a type that needs it."""

    fleet: Fleet
    keys: Keys
    settings: Settings
    ids: Ids
    now_ms: int
    elapsed_s: float
    found: Any = None

    def hub_message(
        self, message_type: str, payload: dict[str, Any], target_ai: str | None = None
    ) -> str:
        """A message of the coordinator's own."""
        return encode_message(
            self.ids.new(), HUB, message_type, iso(self.now_ms), payload, target_ai
        )


def pass_on(message: Incoming, payload: dict[str, Any] | None = None) -> list[Effect]:
    """A client's message on its way: to its ``target_ai``, else to everybody but the sender."""
    target = message.envelope.target_ai
    encoded = message.encode(payload)
    if not target:
        return [Broadcast(encoded, exclude=(message.sender,))]
    return hand_on(message, target, encoded)


def hand_on(message: Incoming, target: str, encoded: str) -> list[Effect]:
    """A client's message, ``encoded``, for one AI alone."""
    text = f"{message.sender} sent {message.envelope.message_type} to {target}"
    data = {"message_id": message.envelope.message_id, "message": encoded}
    return [Deliver(target, encoded), Event("message", target, text, data)]


def refuse(
    owner: str, instance: str, envelope: Envelope | None, error: BadMessage, context: Context
) -> list[Effect]:
    """Tell that instance of ``owner`` what was wrong; ``envelope`` is None when there was none to
    read."""
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
