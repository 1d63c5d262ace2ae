"""What a client needs of a way into a fleet, whatever lies behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from coordinator.life import Life
from coordinator.mailbox import Message
from coordinator.messages import Cursor

Hear = Callable[[Message], None]
"""Is told each message of the hub to this AI, once and when it comes, read or not."""

REPLY_WAIT_S = 1.0
"""What is kept nowhere, an answer to a query above all, may get lost: it is asked for again."""


class Artifact(NamedTuple):
    """Bytes that are too large for a message, by whose they are and what they are."""

    owner: str
    sha256: str
    bytes: int


class Transport(Protocol):
    """One AI's way into a fleet. It comes back by itself after any outage, loses nothing on the
    way and keeps the order.

    What ends it for good (IdTaken, Refused, ServerUnusable) is raised by whatever is called next.
    """

    life: Life
    sync: dict[str, Any]
    """The payload of the last training_sync; empty before the first."""

    @property
    def is_joined(self) -> bool:
        """Whether the fleet knows us, as far as we know."""

    @property
    def cursor(self) -> Cursor:
        """How far ``receive`` has come."""

    async def join(self) -> None:
        """Say hello until it is answered. Raises IdTaken, Refused, ServerUnusable."""

    async def leave(self) -> None:
        """End all of it, without a word to the fleet."""

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        """Send a message, whatever outages there are. Raises BadMessage."""

    async def beat(self, status: dict[str, Any]) -> None:
        """Send a heartbeat."""

    async def ask(self, message_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a query; the payload of its answer. Raises Refused, and TimeoutError after
        REPLY_WAIT_S: ask again then, by another id."""

    async def confirm(self) -> None:
        """Wait until all that was sent has taken effect, and what came of it was heard."""

    async def receive(self) -> Message | None:
        """The next message; None once all is over and read."""

    async def put_artifact(
        self,
        message_id: str,
        artifact: Artifact,
        data: bytes,
        more: dict[str, Any],
        target_ai: str | None,
    ) -> None:
        """Store ``data``, and send the ``payload`` message that says so, with ``more`` in it."""

    async def get_artifact(self, owner: str, sha256: str) -> bytes:
        """What is stored. Raises Refused with code ``not_found``."""
