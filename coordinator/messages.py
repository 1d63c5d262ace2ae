"""The envelope that every message travels in, and the wrapper that a push adds around it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.errors import BadMessage

HUB = "hub"
OPERATOR = "operator"
RESERVED_IDS = frozenset({HUB, OPERATOR})
ID_RULE = "1 to 64 letters, digits, '_', '.' or '-', beginning with a letter or digit"

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_FIXES = {
    "extra_forbidden": "is not a key of the envelope; put it inside payload",
    "missing": "is missing; it is required",
    "string_pattern_mismatch": f"is not an id: {ID_RULE}",
    "finite_number": "must be a finite number",
}


class Envelope(BaseModel):
    """One message. Its six keys are fixed: clients build their class from exactly these."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message_id: str = Field(min_length=1, max_length=200)
    sender_id: Id
    message_type: str = Field(min_length=1, max_length=64)
    timestamp: str = Field(max_length=64)
    payload: dict[str, Any]
    target_ai: str | None = None


class Cursor(BaseModel):
    """How far somebody has read: the epoch, and the last numbers of the log and its inbox."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    epoch: str = Field(min_length=1, max_length=64)
    log: int = Field(ge=0)
    inbox: int = Field(ge=0)


class Push(NamedTuple):
    """What a channel carries: an envelope, its number in its stream, and who is meant.

    ``n`` is None for what no stream keeps (a query_result). ``exclude`` holds AIs that a broadcast
    is not meant for, ``instance`` the one instance of an AI that is meant, ``after`` the number of
    the log that an inbox message follows.
    """

    epoch: str
    n: int | None
    message: dict[str, Any]
    exclude: tuple[str, ...] = ()
    instance: str | None = None
    after: int | None = None


def to_json(value: Any) -> str:
    """Compact JSON text. ValueError for NaN, infinities and integers of thousands of digits."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def describe(error: ValidationError, prefix: str = "") -> tuple[str, str]:
    """The dotted path of the first field at fault, and one sentence that names the rule."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    field = ".".join(part for part in (prefix, path) if part)
    rule = _FIXES.get(first["type"], first["msg"].replace("Input should", "should"))
    return field, f"{field or 'the message'} {rule}"


def parse_envelope(body: bytes, max_bytes: int) -> Envelope:
    """The envelope in ``body``.

    Raises BadMessage with code ``too_large``, ``not_json`` or ``bad_envelope``.
    """
    if len(body) > max_bytes:
        raise BadMessage(
            "too_large",
            f"the message has {len(body)} bytes; at most {max_bytes} are allowed, "
            "so send what is larger as an artifact",
        )
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            reason = error.errors()[0]["msg"]
            raise BadMessage("not_json", f"the message is not JSON: {reason[:200]}") from None
        field, detail = describe(error)
        raise BadMessage("bad_envelope", detail, field) from None
    try:
        datetime.fromisoformat(envelope.timestamp)
    except ValueError:
        raise BadMessage(
            "bad_envelope",
            "timestamp is not ISO 8601, such as 2025-06-04T00:00:00 (without an offset it is UTC)",
            "timestamp",
        ) from None
    return envelope


def encode_message(
    message_id: str,
    sender_id: str,
    message_type: str,
    timestamp: str,
    payload: dict[str, Any],
    target_ai: str | None = None,
) -> str:
    """An envelope as JSON text, its six keys in order. BadMessage for NaN and infinities."""
    try:
        return to_json(
            {
                "message_id": message_id,
                "sender_id": sender_id,
                "message_type": message_type,
                "timestamp": timestamp,
                "payload": payload,
                "target_ai": target_ai or None,
            }
        )
    except (ValueError, TypeError) as error:
        raise BadMessage(
            "not_json", f"payload cannot be written as JSON: {error}", "payload"
        ) from None


def encode_push(push_head: dict[str, Any], message_json: str) -> str:
    """A push as JSON text, around an envelope that is JSON text already."""
    return f'{to_json(push_head)[:-1]},"message":{message_json}}}'


def decode_push(data: bytes) -> Push:
    """The push that a channel carried. ValueError or KeyError when it is none of ours."""
    head = json.loads(data)
    return Push(
        epoch=head["epoch"],
        n=head.get("n"),
        message=head["message"],
        exclude=tuple(head.get("exclude", ())),
        instance=head.get("instance"),
        after=head.get("after"),
    )


def decode_entry(entry: dict[bytes, bytes], n: int) -> Push:
    """The push that the entry numbered ``n`` of a log or an inbox stands for."""
    after = entry.get(b"after")
    instance = entry.get(b"instance")
    exclude = entry.get(b"exclude")
    return Push(
        epoch=entry[b"epoch"].decode(),
        n=n,
        message=json.loads(entry[b"message"]),
        exclude=tuple(exclude.decode().split(",")) if exclude else (),
        instance=instance.decode() if instance else None,
        after=int(after) if after else None,
    )
