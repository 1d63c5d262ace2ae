"""The envelope that every message travels in, and the wrapper that a push adds around it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.errors import BadMessage

HUB = "hub"
OPERATOR = "operator"
GATEWAY = "gateway"
RESERVED_IDS = frozenset({HUB, OPERATOR, GATEWAY})
ID_RULE = "1 to 64 letters, digits, '_', '.' or '-', beginning with a letter or digit"

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
WORD_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$"
RECORD_ID_PATTERN = r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,127}$"
LETTER_ID_PATTERN = r"^[0-9]{1,19}-[0-9]{1,19}$"
KEY_ID_PATTERN = r"^[a-z0-9]{8}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
LONGEST_NAME = 100

CHUNK_BYTES = 128 * 1024
"""Artifacts come and go by a gateway in chunks of this size; the last may be smaller."""

_PROBE = b'{"probe":'
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

Id = Annotated[str, Field(pattern=ID_PATTERN)]

_FIXES = {
    "extra_forbidden": "is not a key of the envelope; put it inside payload",
    "missing": "is missing; it is required",
    "finite_number": "must be a finite number",
    "model_type": "should be an object",
}
_PATTERN_RULES = {
    ID_PATTERN: f"is not an id: {ID_RULE}",
    WORD_PATTERN: "is not a word: 1 to 64 letters, digits, '_', '.', '+' or '-', beginning with a "
    "letter or digit",
    RECORD_ID_PATTERN: "is not a record's id: 1 to 128 characters, none of them a control "
    "character, not beginning with a space",
    LETTER_ID_PATTERN: "is not a dead letter's id, such as 1750000000000-0",
    KEY_ID_PATTERN: "is not a key's id: 8 letters (lower case) or digits",
    SHA256_PATTERN: "is not a SHA-256 in 64 hexadecimal digits (lower case)",
}


class Envelope(BaseModel):
    """One message. Its six keys are fixed: clients build their class from exactly these."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message_id: str = Field(min_length=1, max_length=200)
    sender_id: Id
    message_type: str = Field(min_length=1, max_length=64)
    timestamp: str = Field(max_length=64)
    payload: dict[str, Any]
    target_ai: str | None = Field(None, max_length=64)


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


def is_ai_id(text: str) -> bool:
    """Whether an AI may be called so: a well-formed id that is not reserved."""
    return bool(re.fullmatch(ID_PATTERN, text)) and text not in RESERVED_IDS


def to_json(value: Any) -> str:
    """Compact JSON text. ValueError for NaN, infinities and integers of thousands of digits."""
    return _ENCODER.encode(value)


def one_line(text: str, limit: int = 500) -> str:
    """``text`` as people may be shown it: cut, and with line breaks and the like spelt out."""
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def describe(error: ValidationError, prefix: str = "") -> tuple[str, str]:
    """The dotted path of the first field at fault, and one sentence that names the rule.

    Names come from whoever sent the message: they are cut, and shown on one line.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    path = [one_line(str(part), LONGEST_NAME) for part in first["loc"]]
    field = ".".join(name for name in (prefix, *path) if name)
    rule = _FIXES.get(first["type"], re.sub(r"^\w+ should", "should", first["msg"]))
    if first["type"] == "string_pattern_mismatch":
        rule = _PATTERN_RULES.get(first["ctx"]["pattern"], rule)
    return field, f"{field or 'the message'} {rule}"


def parse_envelope(body: bytes, max_bytes: int) -> Envelope:
    """The envelope in ``body``.

    Raises BadMessage with code ``too_large``, ``not_json`` or ``bad_envelope``.
    """
    if len(body) > max_bytes:
        raise BadMessage(
            "too_large",
            f"the message has more than the {max_bytes} bytes that are allowed",
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
    if UNUSUAL_NUMBER.search(body):
        _check_numbers(envelope.payload)
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
    envelope = {
        "message_id": message_id,
        "sender_id": sender_id,
        "message_type": message_type,
        "timestamp": timestamp,
        "payload": payload,
        "target_ai": target_ai or None,
    }
    try:
        return to_json(envelope)
    except (ValueError, TypeError) as error:
        raise _not_writable(error) from None


def encode_body(message_json: str) -> bytes:
    """An envelope as it travels. BadMessage for what is not Unicode, such as half a surrogate."""
    try:
        return message_json.encode()
    except UnicodeEncodeError as error:
        raise BadMessage("not_json", f"payload is not Unicode: {error}", "payload") from None


def encode_push(
    message_json: str,
    *,
    epoch: str,
    n: int | None = None,
    exclude: tuple[str, ...] = (),
    instance: str | None = None,
    after: int | None = None,
) -> str:
    """A push as JSON text, around an envelope that is JSON text already."""
    head: dict[str, Any] = {"epoch": epoch}
    if n is not None:
        head["n"] = n
    if exclude:
        head["exclude"] = exclude
    if instance is not None:
        head["instance"] = instance
    if after is not None:
        head["after"] = after
    return f'{to_json(head)[:-1]},"message":{message_json}}}'


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


def encode_probe(gateway_id: str) -> str:
    """What a channel carries when the gateway asks the others whether its AI is still there."""
    return to_json({"probe": {"gateway": gateway_id}})


def is_probe(data: bytes) -> bool:
    """Whether that is what a channel carried, and no push."""
    return data.startswith(_PROBE)


def stream_number(entry_id: bytes) -> int:
    """The number ``n`` of an entry whose id is ``n-0``."""
    return int(entry_id.partition(b"-")[0])


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


UNUSUAL_NUMBER = re.compile(rb"NaN|Infinity|[eE]\+?\d{2}|\d{100}")
"""JSON without it can be written again; with it, who knows."""


def _check_numbers(payload: dict[str, Any]) -> None:
    """Parsers let NaN and infinities in (also as ``1e999``), and nobody can pass them on."""
    try:
        to_json(payload)
    except ValueError as error:
        raise _not_writable(error) from None


def _not_writable(error: Exception) -> BadMessage:
    detail = f"payload cannot be written as JSON, which has no NaN and no infinity: {error}"
    return BadMessage("not_json", detail, "payload")
