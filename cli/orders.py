"""What is done in the operator's name: the order is sent, and the coordinator's answer awaited."""

from __future__ import annotations

from typing import Any

from cli.options import OpenFleet
from cli.output import plain, say, say_json
from coordinator.clock import RandomIds, SystemClock
from coordinator.operator import send_as_operator


def tell(
    fleet: OpenFleet,
    message_type: str,
    payload: dict[str, Any],
    to: str | None = None,
    wait_s: float = 10,
) -> str:
    """Send a message as the operator; its message_id. Raises Refused, NotAnswered, BadMessage."""
    return send_as_operator(
        fleet.connection,
        fleet.keys,
        SystemClock(),
        RandomIds(),
        message_type,
        payload,
        to,
        wait_s,
    )


def order(
    fleet: OpenFleet,
    message_type: str,
    payload: dict[str, Any],
    done: str,
    subject: str,
    as_json: bool,
) -> None:
    """Have something done in the operator's name, and say once it is: ``done`` is the word for it,
    ``subject`` what it was done to. Raises Refused, NotAnswered, BadMessage."""
    tell(fleet, message_type, payload)
    if as_json:
        say_json({done: subject})
    else:
        say(f"{done} {plain(subject)}")
