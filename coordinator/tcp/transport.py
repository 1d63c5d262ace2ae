"""The way into a fleet through a gateway: newline-delimited JSON over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from coordinator.errors import EXPELLED_CODES, REJOIN_CODES, CoordError, refusal
from coordinator.identity import Identity
from coordinator.life import Life
from coordinator.mailbox import Message
from coordinator.messages import HUB, Cursor
from coordinator.outages import BACKOFF
from coordinator.replies import Replies, answer_in
from coordinator.tcp.artifacts import TcpArtifacts
from coordinator.tcp.current_link import CurrentLink
from coordinator.tcp.dialer import Dialer
from coordinator.tcp.handshake import FINAL_CODES
from coordinator.tcp.link import Link, cursor_of
from coordinator.tcp.outbox import TcpOutbox
from coordinator.tcp.reader import TcpReader
from coordinator.transport import Artifact, Hear

log = logging.getLogger("coord.client")

HELLO_WAIT_S = 5.0
SILENCE_S = 15.0
"""A connection on which nothing came for so long is tried by a question."""
ANSWER_LIMIT_S = 5.0

RATE_LIMITED = "rate_limited"


class TcpTransport:
    """A Transport. ``profile`` is what the hello says, ``cursor`` how far an earlier client has
    read. Who has a token that may change logs in again when it is revoked, by another."""

    def __init__(
        self,
        me: Identity,
        dialer: Dialer,
        profile: dict[str, Any],
        cursor: Cursor | None,
        hear: Hear,
    ) -> None:
        self._me = me
        self._dialer = dialer
        self._profile = profile
        self._hear = hear
        self._hello_id = ""
        self.life = Life(me.ai_id, self._end)
        self._current = CurrentLink(self.life)
        self._replies = Replies()
        self._reader = TcpReader(me.ai_id, cursor)
        self._outbox = TcpOutbox(me, self._current, self._replies)
        self._artifacts = TcpArtifacts(me, self._current, self._replies, self._outbox)
        self.sync: dict[str, Any] = {}

    @property
    def is_joined(self) -> bool:
        return self._current.joined is not None

    @property
    def cursor(self) -> Cursor:
        if self._reader.taken is None:
            raise CoordError("there is no cursor before the first connect")
        return self._reader.taken

    # -- the connection ----------------------------------------------------------------------------

    async def join(self) -> None:
        self.life.start(self._stay_connected())
        await self._current.when_joined()

    async def _stay_connected(self) -> None:
        failures = 0
        while not self.life.failure:
            failures += 1
            try:
                link = await self._dialer.open(self._reader.kept)
                self.life.trouble = ""
                try:
                    if await self._use(link):
                        failures = 0
                finally:
                    await link.close()
            except CoordError as error:
                self.life.fail(error)
            except OSError as error:
                log.info("%s: waiting for the gateway: %s", self._me.ai_id, error)
                self.life.trouble = str(error)
            await asyncio.sleep(BACKOFF.compute(failures))

    async def _use(self, link: Link) -> bool:
        """Join on a new connection, and take what comes until it ends; whether we had joined."""
        self._current.connected = link
        self._reader.begin(link.start)
        joining = self.life.start(self._join_on(link))
        watching = self.life.start(self._watch(link))
        try:
            while not self.life.failure and (told := await link.read()) is not None:
                self._take(told)
        except OSError as error:
            log.info("%s: disconnected: %s", self._me.ai_id, error)
        finally:
            had_joined = self.is_joined
            self._current.leave()
            joining.cancel()
            watching.cancel()
        return had_joined

    async def _join_on(self, link: Link) -> None:
        """Say hello until it is answered, then send again what nobody has confirmed."""
        try:
            while (sync := await self._say_hello(link)) is None:
                pass
            await self._outbox.send_again(link)
        except CoordError as error:
            self.life.fail(error)
            link.drop()
        except OSError:
            link.drop()
        else:
            self.sync = sync
            self._reader.taken = self._reader.taken or cursor_of(sync["cursor"])
            self._dialer.revoked = None
            self._current.join(link)

    async def _say_hello(self, link: Link) -> dict[str, Any] | None:
        """The answer's payload; None when none came, for it may get lost with a server."""
        self._hello_id = message_id = self._me.ids.new()
        with self._replies.expected(message_id) as reply:
            await link.write(self._me.encode(message_id, "hello", self._profile))
            await asyncio.wait([reply], timeout=HELLO_WAIT_S)
            return answer_in(reply.result()) if reply.done() else None

    async def _watch(self, link: Link) -> None:
        """Drop a connection on which nothing comes, not even an answer."""
        while True:
            link.has_heard = False
            await asyncio.sleep(SILENCE_S)
            if not link.has_heard:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_LIMIT_S):
                        await self._outbox.have_confirmed()
            if not link.has_heard:
                log.info("%s: no sign of life from the gateway", self._me.ai_id)
                link.drop()
                return

    # -- sending -----------------------------------------------------------------------------------

    async def send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        await self._outbox.send(message_id, message_type, payload, target_ai)

    async def beat(self, status: dict[str, Any]) -> None:
        await self._outbox.beat(status)

    async def ask(self, message_id: str, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._outbox.ask(message_id, "query", payload)

    async def confirm(self) -> None:
        self.life.check()
        await self._outbox.confirm()

    async def put_artifact(
        self,
        message_id: str,
        artifact: Artifact,
        data: bytes,
        more: dict[str, Any],
        target_ai: str | None,
    ) -> None:
        await self._artifacts.put(message_id, artifact, data, more, target_ai)

    async def get_artifact(self, owner: str, sha256: str) -> bytes:
        return await self._artifacts.get(sha256)

    # -- receiving ---------------------------------------------------------------------------------

    async def receive(self) -> Message | None:
        if self._reader.wants_again:
            self._current.drop()
        return await self._reader.receive()

    def _take(self, told: dict[str, Any]) -> None:
        """Take in what the gateway sent."""
        arrival = self._reader.read(told)
        if arrival is None:
            return
        message, in_reply_to, code = arrival.message, arrival.in_reply_to, arrival.code
        if message.sender_id == HUB and _is_for_the_transport(code, in_reply_to):
            if arrival.is_new:
                self._heed(code, in_reply_to, message.payload)
            return
        is_answer = self._replies.take(in_reply_to, told)
        if code and in_reply_to == self._hello_id:
            # The gateway hangs up behind it: who said hello may never get to read its answer.
            self.life.fail(refusal(message.payload))
        elif code and not arrival.is_kept and self._artifacts.was_put(in_reply_to):
            pass  # one chunk was refused before, and that ended the put
        elif message.message_type == "query_result":
            self._outbox.unconfirmed.confirm_before(in_reply_to)
        elif arrival.is_kept or not is_answer:
            if arrival.is_new and message.sender_id == HUB:
                self._hear(message)
            self._reader.keep(arrival)

    def _heed(self, code: str, in_reply_to: str, payload: dict[str, Any]) -> None:
        """Do what an error asks of the transport."""
        if code == RATE_LIMITED and in_reply_to:
            self._outbox.note_too_fast(in_reply_to)
        elif code == "revoked" and self._dialer.token_may_change:
            self._dialer.revoked = refusal(payload)
            self._current.drop()
        elif code in FINAL_CODES:
            self.life.fail(refusal(payload))
        else:
            log.info("%s: the gateway says: %s", self._me.ai_id, payload["detail"])
        if code in REJOIN_CODES:
            self._current.drop()

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, reason: CoordError) -> None:
        self._reader.mailbox.close(reason)
        self._current.wake()

    async def leave(self) -> None:
        self._reader.mailbox.close()
        self._current.wake()
        await self.life.end()


def _is_for_the_transport(code: str, in_reply_to: str) -> bool:
    """Whether an error is no affair of the caller's: it answers nothing, or is mended here."""
    if not code:
        return False
    return not in_reply_to or code in REJOIN_CODES | EXPELLED_CODES | {RATE_LIMITED}
