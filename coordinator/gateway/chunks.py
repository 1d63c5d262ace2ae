"""Artifacts by TCP: chunks come in and go out, and the fleet hears of what is complete."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from redis import RedisError

from coordinator.enrolment import Access
from coordinator.errors import BadMessage
from coordinator.gateway.shared import Shared
from coordinator.gateway.uploads import CompleteUpload, read_chunk, store
from coordinator.messages import Envelope, encode_message

log = logging.getLogger("coord.gateway")

REFERENCE_KEYS = ("name", "share")

Send = Callable[[str, bytes], None]


class Chunks:
    """Of one AI. ``send`` sends a message in its name."""

    def __init__(self, ai: str, send: Send, shared: Shared) -> None:
        self._ai = ai
        self._send = send
        self._shared = shared

    async def take(self, envelope: Envelope, access: Access) -> bytes:
        """Deal with a ``payload`` message of somebody who has ``access``; the line that answers it,
        empty if none does.

        Raises BadMessage.
        """
        try:
            if "data" not in envelope.payload:
                return self._answer(envelope, await self._fetch(envelope.payload))
            self._check_may_put(access)
            upload = self._shared.uploads.take(self._ai, envelope.payload)
            if upload is None:
                return b""
            return self._answer(envelope, await self._keep(envelope, upload))
        except (RedisError, OSError) as error:
            log.info("an artifact of %s: %s", self._ai, error)
            raise BadMessage(
                "busy", "the server cannot be reached at the moment; send this again later"
            ) from None

    def _check_may_put(self, access: Access) -> None:
        """Before anything is stored: what the coordinator refuses has been there already."""
        if not access.may_send("payload"):
            raise BadMessage(
                "forbidden",
                f"{self._ai} is enrolled as {access.role} and may not send payload; `coord enroll` "
                "says what an AI may",
                "message_type",
            )

    async def _fetch(self, payload: dict[str, Any]) -> dict[str, Any]:
        async with self._shared.reads:
            return await read_chunk(self._shared.redis, self._shared.keys, self._ai, payload)

    async def _keep(self, envelope: Envelope, upload: CompleteUpload) -> dict[str, Any]:
        """Store it, and say so: whether it may stay is for the coordinator to judge."""
        shared = self._shared
        async with shared.reads:
            keep_s = shared.fleet_settings.artifact_keep_s
            await store(shared.redis, shared.keys, self._ai, upload, keep_s)
        told = {"artifact": upload.sha256, "bytes": len(upload.data)}
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
