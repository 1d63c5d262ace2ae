"""The way into a fleet through Redis: its streams are written and read directly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import redis
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from coordinator.errors import EXPELLED_CODES, CoordError, Refused, ServerUnusable, refusal
from coordinator.identity import Identity
from coordinator.keys import SHARED, Keys
from coordinator.life import Life
from coordinator.mailbox import Message
from coordinator.messages import Cursor
from coordinator.outages import Patience
from coordinator.outbox import Outbox
from coordinator.reader import Reader
from coordinator.replies import answer_in
from coordinator.subscription import Subscription
from coordinator.transport import REPLY_WAIT_S, Artifact, Hear

log = logging.getLogger("coord.client")

T = TypeVar("T")

REPLY_WAITS_PER_HELLO = 5
REREAD_EVERY_S = 5.0
CONFIRM_POLL_S = 0.01


class RedisTransport:
    """A Transport. ``profile`` is what the hello says, ``cursor`` how far an earlier client has
    read, ``artifact_keep_s`` how long artifacts are kept."""

    def __init__(
        self,
        me: Identity,
        connection: Redis,
        keys: Keys,
        profile: dict[str, Any],
        cursor: Cursor | None,
        artifact_keep_s: float,
        hear: Hear,
    ) -> None:
        self._me = me
        self._redis = connection
        self._keys = keys
        self._profile = profile
        self._cursor = cursor
        self._artifact_keep_ms = int(artifact_keep_s * 1000)
        self._hear = hear
        self._outbox = Outbox(me, connection, keys, self._through_outages)
        self._reader = Reader(me, connection, keys, self._rejoin_and_send, self._take)
        self._mailbox = self._reader.mailbox
        self._is_listening = asyncio.Event()
        self._rejoining: asyncio.Task[None] | None = None
        self.life = Life(me.ai_id, self._end)
        self._patience = Patience(me.ai_id, self.life.check)
        self._subscription = Subscription(
            connection,
            (keys.broadcast_channel, keys.channel(me.ai_id)),
            self._through_outages,
            self._take_push,
            self._catch_up,
            self.life.start,
        )
        self.sync: dict[str, Any] = {}

    @property
    def is_joined(self) -> bool:
        return self._reader.is_following

    @property
    def cursor(self) -> Cursor:
        return self._reader.taken

    # -- joining -----------------------------------------------------------------------------------

    async def join(self) -> None:
        self.life.start(self._listen())
        self.life.start(self._reread())
        await self._join()

    async def _join(self) -> None:
        """Say hello until it is answered, and go on from where the answer says."""
        await self._is_listening.wait()
        hello = dict(self._profile)
        if cursor := self._reader.read or self._cursor:
            hello["cursor"] = cursor.model_dump()
        sync = None
        while sync is None:
            sync = await self._say_hello(hello)
        self.sync = sync
        self._reader.start(sync)
        await self._reader.catch_up_if_possible()

    async def _say_hello(self, hello: dict[str, Any]) -> dict[str, Any] | None:
        """The answer's payload; None when none came, neither pushed nor in the inbox.

        A hello may be lost with the server that had it, so it is said again then.
        """
        message_id = self._me.ids.new()
        with self._reader.replies.expected(message_id) as reply:
            await self._outbox.transmit(self._me.encode(message_id, "hello", hello))
            for _ in range(REPLY_WAITS_PER_HELLO):
                await asyncio.wait([reply], timeout=REPLY_WAIT_S)
                if reply.done():
                    return answer_in(reply.result())
                with contextlib.suppress(redis.RedisError):
                    found = await self._reader.stored_reply(message_id)
                    if found:
                        return found
        return None

    def _rejoin_and_send(self, message_id: str) -> None:
        """The hub does not know us any more; ``message_id``, if any, had no effect for that."""
        if message_id:
            self._outbox.note_unheeded(message_id)
        if self._rejoining is None and self.life.failure is None:
            self._reader.pause()
            self._outbox.hold()
            self._rejoining = self.life.start(self._rejoin())

    async def _rejoin(self) -> None:
        try:
            await self._join()
            await self._outbox.send_again()
        except CoordError as error:
            self.life.fail(error)
        finally:
            self._rejoining = None
            self._outbox.release()

    # -- sending -----------------------------------------------------------------------------------

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        await self._outbox.send(message_id, message_type, payload, target_ai)

    async def beat(self, status: dict[str, Any]) -> None:
        body = self._me.encode(self._me.ids.new(), "heartbeat", status)
        await self._outbox.transmit(body)

    async def ask(self, message_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        with self._reader.replies.expected(message_id) as reply:
            await self._outbox.send(message_id, "query", payload, None)
            async with asyncio.timeout(REPLY_WAIT_S):
                return answer_in(await reply)

    async def confirm(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while not await self._has_taken_effect():
            if task.cancelling():  # redis-py takes a cancellation for an outage at times
                raise asyncio.CancelledError
            await asyncio.sleep(CONFIRM_POLL_S)

    async def _has_taken_effect(self) -> bool:
        """Whether the hub has dealt with all that was sent, and we have read its answers."""
        self.life.check()
        n = self._outbox.n
        with contextlib.suppress(redis.RedisError):
            done = await self._redis.get(self._keys.instance(self._me.ai_id, self._me.instance))
            if int(done or 0) >= n:
                await self._reader.catch_up()
                self.life.check()  # it may be just now that we could not come back
                return not self._rejoining and n == self._outbox.n
        return False

    async def put_artifact(
        self,
        message_id: str,
        artifact: Artifact,
        data: bytes,
        more: dict[str, Any],
        target_ai: str | None,
    ) -> None:
        key = self._keys.artifact(artifact.owner, artifact.sha256)
        put = partial(self._redis.set, key, data, px=self._artifact_keep_ms)
        await self._through_outages(put)
        told = {"artifact": artifact.sha256, "bytes": artifact.bytes, **more}
        await self._outbox.send(message_id, "payload", told, target_ai)

    async def get_artifact(self, owner: str, sha256: str) -> bytes:
        """What was meant for us is in our own space, what was shared with all in nobody's."""
        for space in (self._me.ai_id, SHARED):
            get = partial(self._redis.get, self._keys.artifact(space, sha256))
            data = await self._through_outages(get)
            if data is not None:
                return cast(bytes, data)
        raise Refused(
            "not_found",
            f"there is no artifact {sha256} of {owner} for {self._me.ai_id}: it has expired, or"
            " was shared with others only",
        )

    # -- receiving ---------------------------------------------------------------------------------

    async def receive(self) -> Message | None:
        return await self._reader.receive()

    def _take(self, message: Message) -> None:
        """What the hub says to us. Who is expelled is out."""
        if message.message_type == "error" and message.payload["code"] in EXPELLED_CODES:
            self.life.fail(refusal(message.payload))
        else:
            self._hear(message)

    async def _listen(self) -> None:
        try:
            await self._subscription.run()
        except NoPermissionError as error:
            self.life.fail(self._not_allowed(error))

    async def _take_push(self, channel: bytes, data: bytes) -> None:
        self.life.check()
        await self._reader.take_push(data)

    async def _catch_up(self) -> None:
        """What came before the subscription is in the streams."""
        self._is_listening.set()
        await self._reader.catch_up()

    async def _reread(self) -> None:
        """Pushes may get lost, even the last one: the streams are read now and then."""
        while not self.life.failure:
            await asyncio.sleep(REREAD_EVERY_S)
            if self._subscription.is_complete:
                await self._reader.catch_up_if_possible()

    # -- the end -----------------------------------------------------------------------------------

    async def _through_outages(self, action: Callable[[], Awaitable[T]]) -> T:
        """Try until the server takes it. What no waiting can cure ends the client."""

        async def act() -> T:
            try:
                return await action()
            except NoPermissionError as error:
                raise self._not_allowed(error) from None

        try:
            return await self._patience.through_outages(act)
        except ServerUnusable as error:
            self.life.fail(error)
            raise

    def _not_allowed(self, error: NoPermissionError) -> ServerUnusable:
        ai = self._me.ai_id
        return ServerUnusable(
            f"the server refuses what {ai} needs ({error}): this Redis user is not {ai}'s own;"
            f" `coord acl {ai} --apply` makes one"
        )

    def _end(self, reason: CoordError) -> None:
        self._mailbox.close(reason)
        self._is_listening.set()

    async def leave(self) -> None:
        self._reader.pause()
        self._mailbox.close()
        try:
            await self.life.end()
        finally:
            with contextlib.suppress(redis.RedisError):
                await self._redis.aclose()
