"""What the messages of operators carry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from coordinator.messages import KEY_ID_PATTERN, LETTER_ID_PATTERN, OPERATOR, Id
from coordinator.payloads import Payload, RecordId, Role, SessionId, Sha256, Word

KeyId = Annotated[str, Field(pattern=KEY_ID_PATTERN)]


class Retract(Payload):
    """An operator takes a record back."""

    id: RecordId


class Archived(Payload):
    """An archive has stored the log and the events up to these numbers, which are of ``epoch``."""

    archive: Id
    epoch: str = Field(max_length=64)
    log: int = Field(ge=0)
    events: int = Field(ge=0)


class Order(Payload):
    """What an operator has done; ``person`` is who had it sent, if a dashboard knows that."""

    person: Id | None = None

    def author(self, sender: str) -> str:
        """Who it is by, for people. An AI speaks for itself alone, also one that is an operator."""
        return f"{sender} ({self.person})" if self.person and sender == OPERATOR else sender


class DeadLetter(Order):
    """An operator has a dead letter tried again, or dropped. ``id`` is its stream id."""

    id: str = Field(pattern=LETTER_ID_PATTERN)


class Steer(Order):
    """An operator kicks or drains an AI."""

    ai: Id
    reason: str = Field("", max_length=500)


class Cancel(Order):
    """An operator, or who asked for it, ends a session."""

    session_id: SessionId
    reason: str = Field("", max_length=500)


class Retry(Order):
    """An operator has a failed unit tried again, and its session goes on."""

    unit_id: str = Field(min_length=1, max_length=64)


class Membership(Payload):
    """What an operator says of who may come in."""

    ai: Id


class NewToken(Membership):
    """A token by which an AI may come in: what it may be called by, and its peppered digest.

    It is good until ``expires_ms``, for ever if that is None.
    """

    key_id: KeyId
    digest: Sha256 = Field(repr=False)
    expires_ms: int | None = Field(None, ge=0, le=2**53)
    is_weak: bool = False


class Enroll(NewToken):
    """An operator lets an AI in; None stands for no restriction."""

    role: Role = "trainer"
    specializations: list[Word] | None = Field(None, max_length=64)
    message_types: list[Word] | None = Field(None, max_length=64)


class Rotate(NewToken):
    """An operator gives an AI another token; the others are good for ``grace_s`` more.

    With ``expires_ms`` missing it is good for as long as the last one was given for.
    """

    grace_s: FiniteFloat = Field(0.0, ge=0, le=365 * 86_400)


class Revoke(Membership, Order):
    """An operator takes one token from an AI, or without a ``key_id`` all of its access."""

    key_id: KeyId | None = None
    reason: str = Field("", max_length=500)
