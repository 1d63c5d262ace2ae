"""What comes from a gateway: each message once and in order, over all connections."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, NamedTuple

from coordinator.mailbox import Mailbox, Message, StreamName
from coordinator.messages import HUB, Cursor
from coordinator.tcp.link import cursor_of

log = logging.getLogger("coord.client")


class Arrival(NamedTuple):
    """A message as it came, with the ``offset`` after it.

    ``in_reply_to`` and the ``code`` of an error are "" if it has none. ``is_kept`` says whether it
    is in a stream, ``is_new`` whether it was never heard, on no connection.
    """

    message: Message
    offset: Cursor
    in_reply_to: str
    code: str
    is_kept: bool
    is_new: bool


class TcpReader:
    """Feeds the mailbox. ``taken`` is how far messages were received, ``kept`` how far they found
    room: what came later comes again on a connection that begins there."""

    def __init__(self, ai_id: str, cursor: Cursor | None) -> None:
        self._ai_id = ai_id
        self._position: Cursor | None = None
        self._heard = cursor
        self._has_missed = False
        self._offsets: deque[Cursor] = deque()
        self.mailbox = Mailbox()
        self.kept = cursor
        self.taken = cursor

    def begin(self, start: Cursor) -> None:
        """A connection is new, on which nothing came yet: all since ``kept``, else ``start``."""
        self._position = self.kept or start
        self._has_missed = False

    @property
    def wants_again(self) -> bool:
        """Whether there is room for what found none: it comes again on another connection."""
        return self._has_missed and self.mailbox.has_room

    async def receive(self) -> Message | None:
        """The next message; None when the mailbox is closed. Raises why it was closed."""
        message = await self.mailbox.take()
        if message is not None:
            self.taken = self._offsets.popleft()
        return message

    def keep(self, arrival: Arrival) -> None:
        """For who receives, if there is room."""
        self._has_missed = self._has_missed or self.mailbox.is_full
        if not self._has_missed:
            self.mailbox.put(arrival.message, after=None)
            self._offsets.append(arrival.offset)
            self.kept = arrival.offset

    def read(self, told: dict[str, Any]) -> Arrival | None:
        """What came, of which the offset is taken out; None for a line that is none of coord's."""
        try:
            offset = cursor_of(told.pop("offset"))
            stream = self._stream_of(offset, told)
            n = getattr(offset, stream or "inbox")
            message = Message(**told, stream=stream or "inbox", n=n)
            in_reply_to = str(message.payload.get("in_reply_to") or "")
            code = str(message.payload["code"]) if message.message_type == "error" else ""
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s: ignored a line that is none of coord's", self._ai_id)
            return None
        is_new = self._is_news(offset) or stream is None
        self._position = offset
        return Arrival(message, offset, in_reply_to, code, stream is not None, is_new)

    def _stream_of(self, offset: Cursor, told: dict[str, Any]) -> StreamName | None:
        """Which stream this message is from; None if it is kept in none.

        What is not meant for us is passed over in silence: either number may have gone on by that.
        """
        if told["message_type"] == "gap":
            stream: StreamName = told["payload"]["stream"]
            return stream
        before = self._position
        is_ours = told["target_ai"] == self._ai_id
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
