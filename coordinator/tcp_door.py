"""The way into a fleet through a gateway: newline-delimited JSON over TCP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from coordinator.door import REPLY_WAIT_S, Artifact, Hear
from coordinator.errors import EXPELLED_CODES, REJOIN_CODES, CoordError, refusal
from coordinator.identity import Identity
from coordinator.life import Life
from coordinator.mailbox import Mailbox, Message, StreamName
from coordinator.messages import CHUNK_BYTES, HUB, Cursor
from coordinator.outages import BACKOFF
from coordinator.replies import Replies, answer_in
from coordinator.tcp_link import FINAL_CODES, Link, cursor_of

log = logging.getLogger("coord.client")

HELLO_WAIT_S = 5.0
SILENCE_S = 15.0
"""A connection on which nothing came for so long is tried by a question."""
ANSWER_LIMIT_S = 5.0
MAX_UNCONFIRMED = 400
MAX_UNCONFIRMED_BYTES = 8 * 1024 * 1024
CONFIRM_EVERY = 100
MAX_ASKED = 100
MAX_PUTS = 100
WAITS_PER_ARTIFACT = 10
RATE_PAUSE_S = 1.0

RATE_LIMITED = "rate_limited"
COUNTS = {"what": "counts", "filter": {}, "limit": 1, "cursor": None}

Dial = Callable[[Cursor | None], Awaitable[Link]]
"""Opens a connection on which comes what came after a cursor."""


class TcpDoor:
    """A Door. ``profile`` is what the hello says, ``cursor`` how far an earlier client has read;
    ``token_may_change`` has one whose token is no good any more log in again, by another.

    A gateway gives no receipts. What is sent is kept until a query that was sent after it is
    answered, for what comes by one door is dealt with in its order; it is sent again on another
    connection, where the coordinator drops by its message_id what it knows.
    """

    def __init__(
        self,
        me: Identity,
        dial: Dial,
        profile: dict[str, Any],
        cursor: Cursor | None,
        hear: Hear,
        token_may_change: bool,
    ) -> None:
        self._me = me
        self._dial = dial
        self._profile = profile
        self._hear = hear
        self._token_may_change = token_may_change
        self._token_refusal: CoordError | None = None
        self._connected: Link | None = None
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._replies = Replies()
        self._mailbox = Mailbox()
        self._offsets: deque[Cursor] = deque()
        self._next = cursor
        self._taken = cursor
        self._position: Cursor | None = None
        self._heard = cursor
        self._hello_id = ""
        self._is_silent = False
        self._has_missed = False
        self._sent: OrderedDict[str, bytes] = OrderedDict()
        self._sent_bytes = 0
        self._unsent: OrderedDict[str, bytes] = OrderedDict()
        self._is_too_fast = False
        self._asked: OrderedDict[str, str] = OrderedDict()
        self._put_ids: deque[str] = deque(maxlen=MAX_PUTS)
        self._sending = asyncio.Lock()
        self.life = Life(me.ai_id, self._end)
        self.sync: dict[str, Any] = {}

    @property
    def is_joined(self) -> bool:
        return self._link is not None

    @property
    def cursor(self) -> Cursor:
        if self._taken is None:
            raise CoordError("there is no cursor before the first connect")
        return self._taken

    # -- the connection ----------------------------------------------------------------------------

    async def join(self) -> None:
        self.life.start(self._stay_connected())
        await self._joined()

    async def _joined(self) -> Link:
        """The connection, once there is one on which we have joined."""
        while True:
            self.life.check()
            if self._link is not None:
                return self._link
            self._changed.clear()
            await self._changed.wait()

    async def _stay_connected(self) -> None:
        failures = 0
        while not self.life.failure:
            failures += 1
            try:
                link = await self._dial(self._next)
                self.life.trouble = ""
                try:
                    if await self._use(link):
                        failures = 0
                finally:
                    await link.close()
            except CoordError as error:
                why = self._token_refusal if error.code == "bad_login" else None
                self.life.fail(why or error)
            except OSError as error:
                log.info("%s: waiting for the gateway: %s", self._me.ai_id, error)
                self.life.trouble = str(error)
            await asyncio.sleep(BACKOFF.compute(failures))

    async def _use(self, link: Link) -> bool:
        """Join on a new connection, and take what comes until it ends; whether we had joined."""
        self._connected = link
        self._position = self._next or link.start
        self._has_missed = False
        joining = self.life.start(self._join_on(link))
        watching = self.life.start(self._watch(link))
        try:
            while not self.life.failure and (told := await link.read()) is not None:
                self._take(told)
        except OSError as error:
            log.info("%s: disconnected: %s", self._me.ai_id, error)
        finally:
            had_joined = self._link is link
            self._connected = self._link = None
            joining.cancel()
            watching.cancel()
        return had_joined

    async def _join_on(self, link: Link) -> None:
        """Say hello until it is answered, then send again what nobody has confirmed."""
        try:
            while (sync := await self._say_hello(link)) is None:
                pass
            for body in list(self._sent.values()):
                await link.write(body)
        except CoordError as error:
            self.life.fail(error)
            link.drop()
        except OSError:
            link.drop()
        else:
            self.sync = sync
            self._taken = self._taken or cursor_of(sync["cursor"])
            self._link = link
            self._token_refusal = None
            self._changed.set()

    async def _say_hello(self, link: Link) -> dict[str, Any] | None:
        """The answer's payload; None when none came, for it may get lost with a server."""
        self._hello_id = message_id = self._me.ids.new()
        with self._replies.expected(message_id) as reply:
            await link.write(self._me.encode(message_id, "hello", self._profile))
            await asyncio.wait([reply], timeout=HELLO_WAIT_S)
            return answer_in(reply.result()) if reply.done() else None

    def _drop(self) -> None:
        """Have another connection."""
        if self._connected is not None:
            self._connected.drop()

    async def _watch(self, link: Link) -> None:
        """Drop a connection on which nothing comes, not even an answer."""
        while True:
            self._is_silent = True
            await asyncio.sleep(SILENCE_S)
            if self._is_silent:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_LIMIT_S):
                        await self._is_confirmed()
            if self._is_silent:
                log.info("%s: no sign of life from the gateway", self._me.ai_id)
                link.drop()
                return

    # -- sending -----------------------------------------------------------------------------------

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        body = self._me.encode(message_id, message_type, payload, target_ai)
        while len(self._sent) >= MAX_UNCONFIRMED or self._sent_bytes > MAX_UNCONFIRMED_BYTES:
            await self._is_confirmed()
        async with self._sending:
            await self._joined()
            self._unsent[message_id] = body
            await self._send_unsent()
            if len(self._sent) % CONFIRM_EVERY == 0:
                await self._question(*self._new_query())

    async def beat(self, status: dict[str, Any]) -> None:
        """A heartbeat tells how we are, an open connection that we are; nothing needs to be sent
        again. What was sent lately is confirmed by the way."""
        async with self._sending:
            link = await self._joined()
            with contextlib.suppress(OSError):
                await link.write(self._me.encode(self._me.ids.new(), "heartbeat", status))
            if self._sent or self._unsent:
                await self._send_unsent()
                await self._question(*self._new_query())

    async def ask(self, message_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._ask(message_id, "query", payload)

    async def _ask(
        self, message_id: str, message_type: str, payload: dict[str, Any]
    ) -> dict[str, Any]:
        body = self._me.encode(message_id, message_type, payload)
        with self._replies.expected(message_id) as reply:
            async with self._sending:
                await self._question(message_id, body)
            async with asyncio.timeout(REPLY_WAIT_S):
                return answer_in(await reply)

    async def confirm(self) -> None:
        self.life.check()
        waited_for = {*self._sent, *self._unsent}
        while not waited_for.isdisjoint({*self._sent, *self._unsent}):
            await self._is_confirmed()

    async def _is_confirmed(self) -> bool:
        """Have a query answered, or REPLY_WAIT_S pass; whether it was answered."""
        message_id, body = self._new_query()
        with self._replies.expected(message_id) as reply:
            async with self._sending:
                await self._send_unsent()
                await self._question(message_id, body)
            await asyncio.wait([reply], timeout=REPLY_WAIT_S)
            return reply.done()

    def _new_query(self) -> tuple[str, bytes]:
        message_id = self._me.ids.new()
        return message_id, self._me.encode(message_id, "query", COUNTS)

    # what follows is for who holds the lock

    async def _send_unsent(self) -> None:
        """Send what is to be sent, and keep it until it is confirmed."""
        while self._unsent:
            link = await self._joined()
            if self._is_too_fast:
                self._is_too_fast = False
                await asyncio.sleep(RATE_PAUSE_S)
                continue
            message_id, body = self._unsent.popitem(last=False)
            self._sent[message_id] = body
            self._sent_bytes += len(body)
            with contextlib.suppress(OSError):  # it is sent again on the next connection
                await link.write(body)

    async def _question(self, message_id: str, body: bytes) -> None:
        """Send what will be answered, and note what was sent before it: when a query is answered,
        that has taken effect."""
        link = await self._joined()
        self._asked[message_id] = next(reversed(self._sent), "")
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        with contextlib.suppress(OSError):
            await link.write(body)

    def _forget(self, message_id: str) -> bytes:
        """It is confirmed, or was not taken; its body, b"" if it is none that is kept."""
        body = self._sent.pop(message_id, b"")
        self._sent_bytes -= len(body)
        return body

    def _confirm_before(self, message_id: str) -> None:
        last = self._asked.pop(message_id, "")
        while last in self._sent:
            self._forget(next(iter(self._sent)))

    # -- receiving ---------------------------------------------------------------------------------

    async def receive(self) -> Message | None:
        if self._has_missed and self._mailbox.has_room:
            self._drop()  # on the next connection comes again what found no room
        message = await self._mailbox.take()
        if message is not None:
            self._taken = self._offsets.popleft()
        return message

    def _take(self, told: dict[str, Any]) -> None:
        """Take in what the gateway sent."""
        self._is_silent = False
        try:
            offset = cursor_of(told.pop("offset"))
            stream = self._stream_of(offset, told)
            n = getattr(offset, stream or "inbox")
            message = Message(**told, stream=stream or "inbox", n=n)
            in_reply_to = str(message.payload.get("in_reply_to") or "")
            code = str(message.payload["code"]) if message.message_type == "error" else ""
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s: ignored a line that is none of coord's", self._me.ai_id)
            return
        is_new = self._is_news(offset) or stream is None
        self._position = offset
        if message.sender_id == HUB and _is_for_the_door(code, in_reply_to):
            if is_new:
                self._heed(code, in_reply_to, message.payload)
            return
        is_answer = self._replies.take(in_reply_to, told)
        if code and in_reply_to == self._hello_id:
            # The gateway hangs up behind it: who said hello may never get to read its answer.
            self.life.fail(refusal(message.payload))
        elif code and stream is None and not is_answer and in_reply_to in self._put_ids:
            pass  # one chunk was refused before, and that ended the put
        elif message.message_type == "query_result":
            self._confirm_before(in_reply_to)
        elif stream or not is_answer:
            if is_new and message.sender_id == HUB:
                self._hear(message)
            self._put(message, offset)

    def _stream_of(self, offset: Cursor, told: dict[str, Any]) -> StreamName | None:
        """Which stream this message is from; None if it is kept in none.

        What is not meant for us is passed over in silence: either number may have gone on by that.
        """
        if told["message_type"] == "gap":
            stream: StreamName = told["payload"]["stream"]
            return stream
        before = self._position
        is_ours = told["target_ai"] == self._me.ai_id
        if before is None or offset.inbox == before.inbox:
            return None if is_ours and told["sender_id"] == HUB else "log"
        return "inbox" if is_ours or offset.log == before.log else "log"

    def _is_news(self, offset: Cursor) -> bool:
        """Whether this was never heard, on no connection."""
        heard = self._heard
        if heard is None or heard.epoch != offset.epoch:
            self._heard = offset
        else:
            log_n, inbox_n = max(heard.log, offset.log), max(heard.inbox, offset.inbox)
            self._heard = Cursor(epoch=offset.epoch, log=log_n, inbox=inbox_n)
        return self._heard != heard

    def _heed(self, code: str, in_reply_to: str, payload: dict[str, Any]) -> None:
        """Do what an error asks of the door."""
        if code == RATE_LIMITED and in_reply_to:
            self._is_too_fast = True
            if body := self._forget(in_reply_to):
                self._unsent[in_reply_to] = body
        elif code == "revoked" and self._token_may_change:
            self._token_refusal = refusal(payload)
            self._drop()
        elif code in FINAL_CODES:
            self.life.fail(refusal(payload))
        else:
            log.info("%s: the gateway says: %s", self._me.ai_id, payload["detail"])
        if code in REJOIN_CODES:
            self._drop()

    def _put(self, message: Message, offset: Cursor) -> None:
        """What finds no room comes again on another connection, once there is room."""
        self._has_missed = self._has_missed or self._mailbox.is_full
        if not self._has_missed:
            self._mailbox.put(message, after=None)
            self._offsets.append(offset)
            self._next = offset

    # -- artifacts ---------------------------------------------------------------------------------

    async def put_artifact(
        self,
        message_id: str,
        artifact: Artifact,
        data: bytes,
        more: dict[str, Any],
        target_ai: str | None,
    ) -> None:
        """A gateway keeps the chunks of one connection together: it is all of them again when that
        breaks."""
        sender = replace(self._me, max_bytes=2 * CHUNK_BYTES)  # a chunk is no message yet
        starts = range(0, max(1, len(data)), CHUNK_BYTES)
        told = {"artifact": artifact.sha256, "count": len(starts), "bytes": artifact.bytes, **more}
        self._put_ids.append(message_id)
        with self._replies.expected(message_id) as reply:
            while not reply.done():
                link = await self._joined()
                with contextlib.suppress(OSError):
                    for index, start in enumerate(starts):
                        if reply.done():
                            break
                        chunk = base64.b64encode(data[start : start + CHUNK_BYTES]).decode()
                        payload = {**told, "index": index, "data": chunk}
                        body = sender.encode(message_id, "payload", payload, target_ai)
                        async with self._sending:
                            await link.write(body)
                for _ in range(WAITS_PER_ARTIFACT):
                    if self._link is link and not reply.done():
                        await asyncio.wait([reply], timeout=REPLY_WAIT_S)
            answer_in(reply.result())
        while not await self._is_confirmed():
            pass  # the gateway has passed on that it is there; what comes of that is heard by then

    async def get_artifact(self, owner: str, sha256: str) -> bytes:
        chunks: list[bytes] = []
        count = 1
        while len(chunks) < count:
            wanted = {"artifact": sha256, "index": len(chunks)}
            with contextlib.suppress(TimeoutError):
                chunk = await self._ask(self._me.ids.new(), "payload", wanted)
                count = chunk["count"]
                chunks.append(base64.b64decode(chunk["data"]))
        return b"".join(chunks)

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, reason: CoordError) -> None:
        self._mailbox.close(reason)
        self._changed.set()

    async def leave(self) -> None:
        self._mailbox.close()
        self._changed.set()
        await self.life.end()


def _is_for_the_door(code: str, in_reply_to: str) -> bool:
    """Whether an error is no affair of the caller's: it answers nothing, or the door mends it."""
    if not code:
        return False
    return not in_reply_to or code in REJOIN_CODES | EXPELLED_CODES | {RATE_LIMITED}
