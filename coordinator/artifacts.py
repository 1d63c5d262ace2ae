"""What is too large for a message: who put how much of it, and who is given a copy.

Everybody reads the own space and the shared one alone: what is meant for others
is copied there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Write
from coordinator.errors import BadMessage
from coordinator.keys import SHARED, Keys
from coordinator.payloads import ArtifactReference, parse_payload
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.settings import Settings


class Held(BaseModel):
    """An artifact that somebody put: its size, when it goes, and in which spaces copies lie."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: int
    ends_ms: int
    copies: list[str] = []

    @property
    def total_bytes(self) -> int:
        return self.bytes * (1 + len(self.copies))


class Found(NamedTuple):
    """What is there: the size of what lies under the artifact's name in its owner's space (None:
    nothing), all that the owner holds, and whether the target put the same itself."""

    size_bytes: int | None
    held: dict[str, Held]
    target_has_it: bool


def read_found(connection: redis.Redis, keys: Keys, _: Settings, message: Incoming) -> Found:
    sha256 = parse_payload(ArtifactReference, message.envelope.payload).artifact
    with connection.pipeline(transaction=False) as pipe:
        pipe.type(keys.artifact(message.owner, sha256))
        pipe.strlen(keys.artifact(message.owner, sha256))
        pipe.hgetall(keys.artifacts(message.owner))
        pipe.hexists(keys.artifacts(message.envelope.target_ai or SHARED), sha256)
        replies = pipe.execute(raise_on_error=False)
    for reply in replies:
        raise_unless_of_the_data(reply)
    kind, size_bytes, held, target_has_it = replies
    return Found(
        size_bytes if kind == b"string" else None,
        _parse_held(held) if isinstance(held, dict) else {},
        target_has_it is True or target_has_it == 1,
    )


def put(message: Incoming, context: Context) -> list[Effect]:
    """The sender has put an artifact into its space: it is counted, and given to the target, or to
    everybody if it is to be shared."""
    reference = parse_payload(ArtifactReference, message.envelope.payload)
    found: Found = context.found
    if found.size_bytes is None:
        raise BadMessage(
            "not_found",
            f"payload.artifact {reference.artifact} is not in the space of {message.owner}; put it "
            "there first",
            "payload.artifact",
        )
    if found.size_bytes != reference.bytes:
        raise BadMessage(
            "bad_payload",
            f"payload.bytes is {reference.bytes}, but the artifact has {found.size_bytes}",
            "payload.bytes",
        )
    held = {name: one for name, one in found.held.items() if one.ends_ms > context.now_ms}
    before = held.get(reference.artifact)
    space = _space(message, reference)
    copies = set(before.copies if before else ()) | ({space} if space is not None else set())
    ends_ms = context.now_ms + int(context.settings.artifact_keep_s * 1000)
    held[reference.artifact] = Held(bytes=reference.bytes, ends_ms=ends_ms, copies=sorted(copies))
    _check_size(reference, held, context.settings)
    ended = found.held.keys() - held.keys()
    stored = _store(message.owner, reference.artifact, held, ended, context)
    if space is None:
        return stored
    passed_on = pass_on(message, _told(message.owner, reference))
    if found.target_has_it:
        return [*stored, *passed_on]
    return [*stored, _copy(message.owner, reference.artifact, space, context), *passed_on]


def remove_refused(message: Incoming, context: Context) -> list[Effect]:
    """What a refused message names is not to stay, uncounted; unless it was accepted before."""
    found: Found = context.found
    sha256 = parse_payload(ArtifactReference, message.envelope.payload).artifact
    is_held = sha256 in found.held and found.held[sha256].ends_ms > context.now_ms
    return [] if is_held else [Write(("DEL", context.keys.artifact(message.owner, sha256)))]


def _space(message: Incoming, reference: ArtifactReference) -> str | None:
    """Where a copy goes; None: nowhere."""
    if message.envelope.target_ai:
        target = message.envelope.target_ai
        return target if target != message.owner else None
    return SHARED if reference.share else None


def _check_size(reference: ArtifactReference, held: dict[str, Held], settings: Settings) -> None:
    if reference.bytes > settings.artifact_max_bytes:
        raise BadMessage(
            "too_large",
            f"the artifact has {reference.bytes} bytes; at most {settings.artifact_max_bytes} are "
            "allowed",
            "payload.bytes",
        )
    total_bytes = sum(one.total_bytes for one in held.values())
    if total_bytes > settings.artifacts_max_bytes:
        raise BadMessage(
            "too_large",
            f"with this one the artifacts of the sender and the copies of them have {total_bytes} "
            f"bytes; at most {settings.artifacts_max_bytes} are allowed; the oldest goes "
            f"{settings.artifact_keep_s:g} s after it was put",
            "payload.bytes",
        )


def _store(
    owner: str, sha256: str, held: dict[str, Held], ended: set[str], context: Context
) -> list[Effect]:
    keys = context.keys
    keep_ms = int(context.settings.artifact_keep_s * 1000)
    return [
        Write(("PEXPIRE", keys.artifact(owner, sha256), keep_ms)),
        *([Write(("HDEL", keys.artifacts(owner), *sorted(ended)))] if ended else []),
        Write(("HSET", keys.artifacts(owner), sha256, held[sha256].model_dump_json())),
        Write(("PEXPIRE", keys.artifacts(owner), keep_ms)),
    ]


def _copy(owner: str, sha256: str, space: str, context: Context) -> Write:
    """A copy ends with what it is one of."""
    keys = context.keys
    return Write(("COPY", keys.artifact(owner, sha256), keys.artifact(space, sha256), "REPLACE"))


def _told(owner: str, reference: ArtifactReference) -> dict[str, Any]:
    told: dict[str, Any] = {
        "artifact": reference.artifact,
        "owner": owner,
        "bytes": reference.bytes,
    }
    return told | ({"name": reference.name} if reference.name is not None else {})


def _parse_held(fields: dict[bytes, bytes]) -> dict[str, Held]:
    """What nobody can read is forgotten."""
    held = {}
    for name, value in fields.items():
        try:
            held[name.decode()] = Held.model_validate_json(value)
        except (ValidationError, UnicodeError):
            continue
    return held
