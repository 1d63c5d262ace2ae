"""Artifacts by TCP: pieces come in and go out, and the fleet hears of what is complete."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import redis

from coordinator.errors import BadMessage
from coordinator.gateway.shared import Shared
from coordinator.gateway.uploads import Artifact, read_chunk, store
from coordinator.messages import Envelope, encode_message

log = logging.getLogger("coord.gateway")

REFERENCE_KEYS = ("name", "share")

Send = Callable[[str, bytes], None]


class Pieces:
    """Of one AI. ``send`` sends a message in its name."""

    def __init__(self, ai: str, send: Send, shared: Shared) -> None:
        self._ai = ai
        self._send = send
        self._shared = shared

    async def take(self, envelope: Envelope) -> bytes:
        """Deal with a ``payload`` message; the line that answers it, empty if none does.

        Raises BadMessage.
        """
        try:
            if "data" not in envelope.payload:
                return self._answer(envelope, await self._fetch(envelope.payload))
            artifact = self._shared.uploads.take(self._ai, envelope.payload)
            if artifact is None:
                return b""
            return self._answer(envelope, await self._keep(envelope, artifact))
        except (redis.RedisError, OSError) as error:
            log.info("an artifact of %s: %s", self._ai, error)
            raise BadMessage(
                "busy", "the server cannot be reached at the moment; send this again later"
            ) from None

    async def _fetch(self, payload: dict[str, Any]) -> dict[str, Any]:
        async with self._shared.reads:
            return await read_chunk(self._shared.redis, self._shared.keys, self._ai, payload)

    async def _keep(self, envelope: Envelope, artifact: Artifact) -> dict[str, Any]:
        """Store it, and say so: whether it may stay is for the coordinator to judge."""
        shared = self._shared
        async with shared.reads:
            await store(shared.redis, shared.keys, self._ai, artifact, shared.fleet.artifact_keep_s)
        told = {"artifact": artifact.sha256, "bytes": len(artifact.data)}
        more = {key: envelope.payload[key] for key in REFERENCE_KEYS if key in envelope.payload}
        body = encode_message(
            envelope.message_id,
            self._ai,
            "payload",
            envelope.timestamp,
            {**told, **more},
            envelope.target_ai,
        )
        self._send(envelope.message_id, body.encode())
        return {**told, "owner": self._ai}

    def _answer(self, envelope: Envelope, payload: dict[str, Any]) -> bytes:
        payload = {**payload, "in_reply_to": envelope.message_id}
        return self._shared.hub_line("payload", payload, self._ai)
