"""What others send to an AI, read in the order of each stream and without loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import redis
from redis.asyncio import Redis

from coordinator.clock import iso
from coordinator.errors import REJOIN_CODES
from coordinator.feed import Cut, EpochChanged, Feed, find_reply
from coordinator.identity import Identity
from coordinator.keys import Keys
from coordinator.mailbox import Mailbox, Message, StreamName
from coordinator.messages import HUB, Cursor, Push, decode_push, is_probe
from coordinator.replies import Replies, answer_in
from coordinator.transport import Hear

log = logging.getLogger("coord.client")


class Reader:
    """Feeds the mailbox from both streams: a push is for speed, the stream is the truth.

    It follows the streams from ``start`` to ``pause``. What the hub says to the AI itself is told
    once: ``on_rejoin`` is called with the id of a message that had no effect, for the AI was not
    registered, or with "" in a new epoch; ``hear`` with anything else.
    """

    def __init__(
        self,
        me: Identity,
        connection: Redis,
        keys: Keys,
        on_rejoin: Callable[[str], None],
        hear: Hear,
    ) -> None:
        self._me = me
        self._redis = connection
        self._inbox_key = keys.inbox(me.ai_id)
        self._on_rejoin = on_rejoin
        self._hear = hear
        self._log = Feed(connection, keys.log, keys.fleet)
        self._inbox = Feed(connection, self._inbox_key, keys.fleet)
        self._feeds: dict[StreamName, Feed] = {"inbox": self._inbox, "log": self._log}
        self._reading = asyncio.Lock()
        self.replies = Replies()
        self.is_following = False
        self.mailbox = Mailbox()

    # -- where it is -------------------------------------------------------------------------------

    @property
    def read(self) -> Cursor | None:
        """How far the streams were read; None before the first ``start``."""
        if not self._log.epoch:
            return None
        return Cursor(epoch=self._log.epoch, log=self._log.last, inbox=self._inbox.last)

    @property
    def taken(self) -> Cursor:
        """How far messages were received."""
        taken = self.mailbox.taken
        return Cursor(
            epoch=self._log.epoch,
            log=taken.get("log", self._log.last),
            inbox=taken.get("inbox", self._inbox.last),
        )

    def start(self, sync: dict[str, Any]) -> None:
        """Follow the streams from where a training_sync says."""
        start = sync.get("resume", sync["cursor"])
        for name, feed in self._feeds.items():
            n = start[name]
            feed.start(start["epoch"], n)
            self.mailbox.rewind(name, n)
            forgotten = sync.get("forgot", {}).get(name, 0)
            if forgotten:
                gap = self._gap(name, Cut(n + 1, n + forgotten), "forgotten", n)
                self.mailbox.put(gap, after=None)
        self.is_following = True

    def pause(self) -> None:
        self.is_following = False

    # -- receiving ---------------------------------------------------------------------------------

    async def receive(self) -> Message | None:
        """The next message; None when the mailbox is closed. Raises why it was closed."""
        if self.mailbox.missed and self.mailbox.has_room:
            await self.catch_up_if_possible()
        return await self.mailbox.take()

    async def stored_reply(self, message_id: str) -> dict[str, Any] | None:
        """The payload of the answer to ``message_id``, if it is in the inbox already.

        Raises Refused, IdTaken.
        """
        found = await find_reply(self._redis, self._inbox_key, message_id)
        return answer_in(found) if found else None

    async def take_push(self, data: bytes) -> None:
        """Take in what a channel carried; a gateway that asks other gateways does not mean us."""
        if is_probe(data):
            return
        try:
            push = decode_push(data)
            in_reply_to = push.message["payload"].get("in_reply_to") or ""
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s: ignored a push that is none of coord's", self._me.ai_id)
            return
        is_mine = push.after is not None or push.n is None
        if is_mine and self._is_meant(push):
            self.replies.take(in_reply_to, push.message)
        if push.n is None:
            return
        name: StreamName = "inbox" if is_mine else "log"
        if self._reading.locked():
            async with self._reading:
                is_gap = self._offer(name, push)
        else:
            is_gap = self._offer(name, push)
        if is_gap:
            await self.catch_up()

    def _offer(self, name: StreamName, push: Push) -> bool:
        """Deliver ``push`` if it is the next one; whether some are missing before it."""
        if not self.is_following:
            return False
        try:
            accepted = self._feeds[name].offer(push)
        except EpochChanged:
            self._on_rejoin("")
            return False
        if accepted:
            self._deliver(name, push)
        return accepted is None

    # -- reading the streams -----------------------------------------------------------------------

    async def catch_up_if_possible(self) -> None:
        """The same as ``catch_up``; after an outage, whoever ends it does it."""
        with contextlib.suppress(redis.RedisError):
            await self.catch_up()

    async def catch_up(self) -> None:
        """Read both streams to their end, then what there was no room for, if there is now."""
        async with self._reading:
            if not self.is_following:
                return
            try:
                for name, feed in self._feeds.items():
                    while items := await feed.read():
                        for item in items:
                            self._deliver(name, item)
                for name, feed in self._feeds.items():
                    await self._read_missed(name, feed)
            except EpochChanged:
                self._on_rejoin("")

    async def _read_missed(self, name: StreamName, feed: Feed) -> None:
        missed = self.mailbox.missed
        while name in missed and self.mailbox.has_room:
            items = await feed.read_again(missed[name])
            del missed[name]
            for item in items:
                self._deliver(name, item, is_new=False)
            read = items[-1].n or 0
            if read < feed.last:
                missed.setdefault(name, read)

    def _deliver(self, name: StreamName, item: Push | Cut, is_new: bool = True) -> None:
        """Put what was read into the mailbox; what the hub wants of *us* is told once, when new."""
        if isinstance(item, Cut):
            self.mailbox.put(self._gap(name, item, "retention", item.n), after=item.first - 1)
            return
        if not self._is_meant(item):
            return
        message = Message(**item.message, stream=name, n=item.n or 0)
        is_from_hub = message.sender_id == HUB
        is_error = is_from_hub and message.message_type == "error"
        if is_error and message.payload["code"] in REJOIN_CODES:
            if is_new:
                self._on_rejoin(message.payload["in_reply_to"])
            return
        if is_from_hub and is_new:
            self._hear(message)
        self.mailbox.put(message, after=message.n - 1)

    def _gap(self, name: StreamName, cut: Cut, reason: str, n: int) -> Message:
        payload = {"stream": name, "first": cut.first, "last": cut.n, "reason": reason}
        now = iso(self._me.clock.now_ms())
        return Message(self._me.ids.new(), HUB, "gap", now, payload, self._me.ai_id, name, n)

    def _is_meant(self, push: Push) -> bool:
        return self._me.ai_id not in push.exclude and push.instance in (None, self._me.instance)
