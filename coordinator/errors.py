"""Every error that coord raises on purpose: one base class, and fields for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REJOIN_CODES = frozenset({"rejoin", "superseded"})
"""What is refused for these had no effect: it is sent again, under the same message_id, once its
sender has said hello again."""
EXPELLED_CODES = frozenset({"kicked", "revoked"})
"""Who is told one of these was shown the door, and is not to come back."""


class CoordError(Exception):
    """The base of all errors of coord.

    ``code`` is a short stable word for programs, ``detail`` one sentence for people that names
    what was wrong, the rule, and what to do about it.
    """

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadMessage(CoordError):
    """A message breaks a rule and changes nothing. ``field`` is a dotted path, "" for the whole;
    ``more`` are further fields of the ``error`` message that answers it."""

    code = "bad_message"

    def __init__(
        self, code: str, detail: str, field: str = "", more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.field = field
        self.more = dict(more or {})


class Refused(CoordError):
    """The coordinator answered a message with an ``error``; the fields are those of its payload."""

    code = "refused"

    def __init__(
        self, code: str, detail: str, in_reply_to: str | None = None, field: str = ""
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.in_reply_to = in_reply_to
        self.field = field

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class IdTaken(CoordError):
    """Another live instance holds the AI's id.

    ``holder`` is that instance, ``lease_ends_ms`` when its lease ends unless it is renewed, and
    ``last_heartbeat_ms`` when it was last heard of; "" and 0 where a gateway holds it itself.
    """

    code = "id_taken"

    def __init__(
        self, detail: str, holder: str, lease_ends_ms: int, last_heartbeat_ms: int
    ) -> None:
        super().__init__(detail)
        self.holder = holder
        self.lease_ends_ms = lease_ends_ms
        self.last_heartbeat_ms = last_heartbeat_ms


class ServerUnusable(CoordError):
    """The Redis server cannot carry a fleet: unreachable, too old, read-only, evicting, foreign."""

    code = "server_unusable"


class NoServer(CoordError):
    """No server was named and no embedded one is running."""

    code = "no_server"


class NoPepper(CoordError):
    """There is no pepper, or not the fleet's: no token can be checked or stored."""

    code = "no_pepper"


class NotAnswered(CoordError):
    """No coordinator answered in time; what was sent stays queued and takes effect later."""

    code = "not_answered"


class LeaseLost(CoordError):
    """Another coordinator is active, or may be: everything held in memory is void."""

    code = "lease_lost"


def refusal(payload: Mapping[str, Any]) -> Refused | IdTaken:
    """The exception that the payload of an ``error`` message stands for."""
    if payload["code"] == "id_taken":
        return IdTaken(
            payload["detail"],
            payload.get("holder", ""),
            payload.get("lease_ends_ms", 0),
            payload.get("last_heartbeat_ms", 0),
        )
    return Refused(
        payload["code"], payload["detail"], payload.get("in_reply_to"), payload.get("field", "")
    )
