"""What a trainer may start from of what others share: patterns at once, for training measures their
parameters before it uses them; components and features once a validator has passed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from coordinator import Message
from coordinator.messages import HUB

WAITING_MAX = 200
"""So many that wait for their verdict are remembered; of more the oldest are forgotten."""
SHARED_AS = {"code_share": ("component", "code"), "os_component_share": ("feature", "component")}
"""By message type: the kind of record that it shares, and the field of the payload that has it."""


class Offer(NamedTuple):
    """Parameters to try, in the form of a pattern, and whose they are."""

    pattern: dict[str, Any]
    contributor: str
    kind: Literal["pattern", "component"] = "pattern"


class Unproven:
    """What was shared with parameters, and waits for its verdict."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], Offer] = {}

    def add(self, message: Message) -> None:
        """Remember what a share of a component or feature offers; nothing if it has no
        parameters."""
        kind, field = SHARED_AS[message.message_type]
        component = message.payload[field]
        key = kind, str(component.get("id"))
        self._waiting.pop(key, None)
        if not isinstance(component.get("parameters"), dict):
            return
        self._waiting[key] = offer_of(component, _contributors(message))
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]

    def judged(self, verdict: Mapping[str, Any]) -> Offer | None:
        """What may be started from since that ``validation_result``; None for all that has not
        passed, or was never remembered."""
        key = str(verdict.get("kind")), str(verdict.get("component_id"))
        offer = self._waiting.pop(key, None)
        return offer if verdict.get("verdict") == "passed" else None


def offer_of(component: dict[str, Any], contributor: str) -> Offer:
    """What a component offers: the parameters that it was built with, if it tells them."""
    data = {name: component.get(name) for name in ("problem", "parameters")}
    return Offer({"id": str(component.get("id")), "data": data}, contributor, "component")


def _contributors(message: Message) -> str:
    """Who made what a message shares: what came of a collaboration is of several."""
    contributors = message.payload.get("contributors")
    if message.sender_id == HUB and isinstance(contributors, list):
        return ", ".join(map(str, contributors))
    return message.sender_id
