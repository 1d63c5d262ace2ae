"""Artifacts by a gateway: in chunks, each a message of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from coordinator.identity import Identity
from coordinator.messages import CHUNK_BYTES
from coordinator.replies import Replies, answer_in
from coordinator.tcp.current_link import CurrentLink
from coordinator.tcp.outbox import TcpOutbox
from coordinator.transport import REPLY_WAIT_S, Artifact

MAX_PUTS = 100
WAITS_PER_ARTIFACT = 10


class TcpArtifacts:
    """A gateway keeps the chunks of one connection together: it is all of them again when that
    breaks."""

    def __init__(
        self, me: Identity, current: CurrentLink, replies: Replies, outbox: TcpOutbox
    ) -> None:
        self._me = replace(me, max_bytes=2 * CHUNK_BYTES)  # a chunk is no message yet
        self._current = current
        self._replies = replies
        self._outbox = outbox
        self._put_ids: deque[str] = deque(maxlen=MAX_PUTS)

    def was_put(self, message_id: str) -> bool:
        """Whether that message was the chunks of an artifact, lately."""
        return message_id in self._put_ids

    async def put(
        self,
        message_id: str,
        artifact: Artifact,
        data: bytes,
        more: dict[str, Any],
        target_ai: str | None,
    ) -> None:
        """Send all of it until it is answered, by the ``payload`` message that stands for it.
        Raises Refused."""
        count = max(1, -(-len(data) // CHUNK_BYTES))
        told = {"artifact": artifact.sha256, "count": count, "bytes": artifact.bytes, **more}
        self._put_ids.append(message_id)
        with self._replies.expected(message_id) as reply:
            while not reply.done():
                link = await self._current.when_joined()
                with contextlib.suppress(OSError):
                    for payload in _chunks(told, data):
                        if reply.done():
                            break
                        body = self._me.encode(message_id, "payload", payload, target_ai)
                        await self._outbox.write(link, body)
                for _ in range(WAITS_PER_ARTIFACT):
                    if self._current.joined is link and not reply.done():
                        await asyncio.wait([reply], timeout=REPLY_WAIT_S)
            answer_in(reply.result())
        while not await self._outbox.have_confirmed():
            pass  # the gateway has passed on that it is there; what comes of that is heard by then

    async def get(self, sha256: str) -> bytes:
        """Ask for one chunk after the other. Raises Refused."""
        chunks: list[bytes] = []
        count = 1
        while len(chunks) < count:
            wanted = {"artifact": sha256, "index": len(chunks)}
            with contextlib.suppress(TimeoutError):
                chunk = await self._outbox.ask(self._me.ids.new(), "payload", wanted)
                count = chunk["count"]
                chunks.append(base64.b64decode(chunk["data"]))
        return b"".join(chunks)


def _chunks(told: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
    """The payloads of the messages that ``data`` travels in."""
    for index in range(told["count"]):
        chunk = data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        yield {**told, "index": index, "data": base64.b64encode(chunk).decode()}
