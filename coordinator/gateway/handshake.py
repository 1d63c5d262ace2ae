"""The first line of a connection: who is there, and how he can prove it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from coordinator.credentials import TOKEN_MAX
from coordinator.errors import BadMessage
from coordinator.gateway.strict_json import parse_strict
from coordinator.messages import ID_RULE, Cursor, Id, describe, is_ai_id

MAX_HANDSHAKE_BYTES = 8 * 1024


class Handshake(BaseModel):
    """``ack``: answer, and tell the ``offset`` of what is delivered. ``since``: how far the client
    has read. ``instance``: it keeps this when it comes back, and sends what it must again.

    Further keys are let through.
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    ai_id: Id
    token: SecretStr = Field(min_length=1, max_length=TOKEN_MAX)
    ack: bool = False
    since: Cursor | None = None
    instance: Id | None = None


def parse_handshake(line: bytes) -> Handshake:
    """Raises BadMessage ``bad_handshake`` with the field and the rule; never with the token."""
    try:
        shake = Handshake.model_validate(parse_strict(line))
    except BadMessage as error:
        raise BadMessage("bad_handshake", error.detail) from None
    except ValidationError as error:
        field, detail = describe(error)
        example = 'the first line is {"ai_id": "…", "token": "…"}'
        raise BadMessage("bad_handshake", f"{detail}; {example}", field) from None
    if not is_ai_id(shake.ai_id):
        raise BadMessage("bad_handshake", f"ai_id is reserved; an AI's is {ID_RULE}", "ai_id")
    return shake
