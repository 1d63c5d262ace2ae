"""Artifacts in chunks: too large for one line, they come and go in several."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, NamedTuple

from pydantic import Field
from redis.asyncio import Redis

from coordinator.clock import Clock
from coordinator.errors import BadMessage
from coordinator.keys import SHARED, Keys
from coordinator.messages import CHUNK_BYTES
from coordinator.payloads import Payload, Sha256, parse_payload
from coordinator.settings import Settings

CHUNK_LINE_BYTES = CHUNK_BYTES * 4 // 3 + 4096
"""A chunk as a line: base64, and a message around it."""
UPLOAD_KEPT_S = 60.0
MAX_UPLOADS_PER_AI = 4
SHARES = 8
"""One AI may have this part of the room, and at least one artifact."""


class Chunk(Payload):
    """One of the ``count`` chunks of an artifact; all but the last have CHUNK_BYTES."""

    artifact: Sha256
    index: int = Field(ge=0)
    count: int = Field(ge=1)
    bytes: int = Field(ge=0)
    data: str
    name: str | None = Field(None, max_length=200)
    share: bool = False


class Wanted(Payload):
    """A chunk that is asked for, of an artifact of the AI's own, or of one that is shared."""

    artifact: Sha256
    index: int = Field(ge=0)


class CompleteUpload(NamedTuple):
    """An artifact of which all has come, checked."""

    sha256: str
    data: bytes


class _Upload(NamedTuple):
    chunk_count: int
    size_bytes: int
    chunks: dict[int, bytes]
    ends_s: float

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self.chunks.values()))


class Uploads:
    """What has come of artifacts that are not complete: at most ``max_bytes`` of all AIs, of each
    at most an eighth of that (or one artifact) in MAX_UPLOADS_PER_AI, for at most UPLOAD_KEPT_S
    since anything new of it came."""

    def __init__(self, fleet_settings: Settings, max_bytes: int, clock: Clock) -> None:
        self._artifact_max_bytes = fleet_settings.artifact_max_bytes
        self._max_bytes = max_bytes
        self._max_bytes_per_ai = max(self._artifact_max_bytes, max_bytes // SHARES)
        self._clock = clock
        self._uploads: dict[tuple[str, str], _Upload] = {}
        self.held_bytes = 0

    def take(self, ai: str, payload: dict[str, Any]) -> CompleteUpload | None:
        """A chunk that ``ai`` sent; what it completes, if it is the last to come.

        Raises BadMessage ``bad_payload``, ``too_large`` or ``busy``.
        """
        self.expire()
        chunk = parse_payload(Chunk, payload)
        self._check(chunk)
        data = _decoded(chunk)
        key = (ai, chunk.artifact)
        upload = self._uploads.get(key)
        if upload is not None and (upload.chunk_count, upload.size_bytes) != (
            chunk.count,
            chunk.bytes,
        ):
            self._forget(key)
            upload = None
        chunks = upload.chunks if upload else {}
        if chunk.index not in chunks:
            self._make_room(ai, key, len(data))
            chunks[chunk.index] = data
            self.held_bytes += len(data)
            ends_s = self._clock.elapsed_s() + UPLOAD_KEPT_S
            self._uploads[key] = _Upload(chunk.count, chunk.bytes, chunks, ends_s)
        if len(chunks) < chunk.count:
            return None
        self._forget(key)
        return _checked(chunk.artifact, b"".join(chunks[i] for i in range(chunk.count)))

    def forget(self, ai: str) -> None:
        """Nothing more comes of what ``ai`` has begun."""
        for key in [key for key in self._uploads if key[0] == ai]:
            self._forget(key)

    def expire(self) -> None:
        now_s = self._clock.elapsed_s()
        for key in [key for key, upload in self._uploads.items() if upload.ends_s <= now_s]:
            self._forget(key)

    def _check(self, chunk: Chunk) -> None:
        if chunk.bytes > self._artifact_max_bytes:
            raise BadMessage(
                "too_large",
                f"the artifact has {chunk.bytes} bytes; at most {self._artifact_max_bytes} are "
                "allowed",
                "payload.bytes",
            )
        if chunk.count != max(1, -(-chunk.bytes // CHUNK_BYTES)):
            raise BadMessage(
                "bad_payload",
                f"payload.count must be payload.bytes / {CHUNK_BYTES}, rounded up, and at least 1",
                "payload.count",
            )
        if chunk.index >= chunk.count:
            raise BadMessage(
                "bad_payload", "payload.index must be less than payload.count", "payload.index"
            )

    def _make_room(self, ai: str, key: tuple[str, str], size_bytes: int) -> None:
        own = {other: upload for other, upload in self._uploads.items() if other[0] == ai}
        own_bytes = sum(upload.held_bytes for upload in own.values())
        if own_bytes + size_bytes > self._max_bytes_per_ai:
            raise BadMessage(
                "busy", f"too much of {ai}'s artifacts is on its way; send the rest of one first"
            )
        if len(own.keys() - {key}) >= MAX_UPLOADS_PER_AI:
            raise BadMessage(
                "busy",
                f"{MAX_UPLOADS_PER_AI} artifacts of {ai} are incomplete; send their rest first",
            )
        if self.held_bytes + size_bytes > self._max_bytes:
            raise BadMessage(
                "busy", "too many artifacts are on their way; send this chunk again later"
            )

    def _forget(self, key: tuple[str, str]) -> None:
        self.held_bytes -= self._uploads.pop(key).held_bytes


async def store(redis: Redis, keys: Keys, ai: str, upload: CompleteUpload, keep_s: float) -> None:
    """Put it where ``ai`` may: into its own space."""
    key = keys.artifact(ai, upload.sha256)
    await redis.set(key, upload.data, px=int(keep_s * 1000))


async def read_chunk(redis: Redis, keys: Keys, ai: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload that answers a ``Wanted``; the own space is looked into, then the shared one.

    Raises BadMessage ``bad_payload`` or ``not_found``.
    """
    wanted = parse_payload(Wanted, payload)
    start = wanted.index * CHUNK_BYTES
    async with redis.pipeline(transaction=False) as pipe:
        for space in (ai, SHARED):
            key = keys.artifact(space, wanted.artifact)
            pipe.exists(key)
            pipe.strlen(key)
            pipe.getrange(key, start, start + CHUNK_BYTES - 1)
        replies = await pipe.execute()
    for is_there, size_bytes, data in (replies[:3], replies[3:]):
        count = max(1, -(-size_bytes // CHUNK_BYTES))
        if is_there and wanted.index < count:
            return {
                "artifact": wanted.artifact,
                "index": wanted.index,
                "count": count,
                "bytes": size_bytes,
                "data": base64.b64encode(data).decode(),
            }
    raise BadMessage(
        "not_found",
        f"no chunk {wanted.index} of an artifact {wanted.artifact} is there for {ai}: it may have "
        "expired, or was never shared",
        "payload.artifact",
    )


def _decoded(chunk: Chunk) -> bytes:
    try:
        data = base64.b64decode(chunk.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("bad_payload", "payload.data is not base64", "payload.data") from None
    is_last = chunk.index == chunk.count - 1
    expected = chunk.bytes - CHUNK_BYTES * (chunk.count - 1) if is_last else CHUNK_BYTES
    if len(data) != expected:
        raise BadMessage(
            "bad_payload",
            f"payload.data has {len(data)} bytes; this chunk of the artifact has {expected}",
            "payload.data",
        )
    return data


def _checked(sha256: str, data: bytes) -> CompleteUpload:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadMessage(
            "bad_payload",
            "payload.artifact is not the SHA-256 of what came; send all of it again",
            "payload.artifact",
        )
    return CompleteUpload(sha256, data)
