"""What one AI is told: of both streams, in order, and no faster than its client reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from redis import RedisError

from coordinator.feed import EpochChanged
from coordinator.gateway.connection import Connection
from coordinator.gateway.relay import Run
from coordinator.gateway.shared import Shared
from coordinator.gateway.stream import Item, read_items
from coordinator.messages import Cursor, to_json

log = logging.getLogger("coord.gateway")

READ_AGAIN_S = 1.0
WRITE_BYTES = 64 * 1024

Show = Callable[[Item], bytes]


class Deliveries:
    """Follows the relay while the client reads. What was not delivered then is not kept: once
    there is room again it comes from what the relay holds, or from the streams.

    ``show`` is given each message of the inbox that is meant for this instance, and says what the
    client sees of it. ``cursor`` is the last that was delivered; a client that asked for it is told
    it as ``offset`` with every message.
    """

    def __init__(
        self,
        ai: str,
        instance: str,
        cursor: Cursor,
        has_offset: bool,
        connection: Connection,
        shared: Shared,
        show: Show,
    ) -> None:
        self._ai = ai
        self._instance = instance
        self._has_offset = has_offset
        self._connection = connection
        self._shared = shared
        self._show = show
        self._move_to(cursor)
        self._is_open = False
        self._is_following = False
        self._inbox_has_gap = False
        self._catching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def cursor(self) -> Cursor:
        return Cursor(epoch=self._epoch, log=self._log, inbox=self._inbox)

    def is_meant(self, item: Item) -> bool:
        return item.instance in (None, self._instance)

    def tell(self, line: bytes) -> None:
        """What is in no stream."""
        self._connection.send(self.with_offset(line))

    def with_offset(self, line: bytes) -> bytes:
        if not self._has_offset:
            return line
        return b'%s,"offset":{"epoch":%s,"log":%d,"inbox":%d}}\n' % (
            line[:-2],
            self._epoch_json,
            self._log,
            self._inbox,
        )

    # -- where it is -------------------------------------------------------------------------------

    def start(self, cursor: Cursor, forgot: dict[str, int], first: Item) -> None:
        """Go on after ``cursor``; ``first`` is a message of the inbox that has come already, and
        ``forgot`` how many numbers of each stream the server no longer knows."""
        self._move_to(cursor)
        for stream, n in (("log", cursor.log), ("inbox", cursor.inbox)):
            self._write([self._gap(stream, n + 1, n + forgot.get(stream, 0), "forgotten")])
        self._is_open = True
        if first.n == self._inbox + 1:
            self._deliver_inbox([first])
        else:
            self._inbox_has_gap = True
        self.go_on()

    def stop(self) -> None:
        """Deliver nothing more, until ``start``."""
        self._is_open = False
        self._is_following = False
        if self._timer is not None:
            self._timer.cancel()

    def _move_to(self, cursor: Cursor) -> None:
        self._epoch, self._log, self._inbox = cursor.epoch, cursor.log, cursor.inbox
        self._epoch_json = to_json(cursor.epoch).encode("utf-8", "replace")

    # -- what comes --------------------------------------------------------------------------------

    def take_run(self, run: Run) -> None:
        if not self._is_following or self._log >= run.last:
            return
        if self._connection.is_paused:
            self._is_following = False
        elif self._log == run.first - 1 and self._takes_whole(run):
            self._log = run.last
            self._connection.send(run.joined)
        else:
            self._deliver_log(item for item in run.items if item.n > self._log)

    def take_push(self, item: Item) -> None:
        if not self._is_open:
            return
        if item.n == 0:
            if self.is_meant(item) and not self._connection.is_paused:
                self._write([self.with_offset(item.line)])
        elif item.n == self._inbox + 1 and not self._connection.is_paused:
            self._deliver_inbox([item])
        elif item.n > self._inbox:
            self._inbox_has_gap = True
            self.go_on()

    def catch_up(self) -> None:
        """Something may have been missed, and of the inbox only its stream can tell."""
        self._inbox_has_gap = True
        self.go_on()

    def go_on(self) -> None:
        """Deliver what is missing: of the log what the relay still holds, else from the streams."""
        if not self._is_open or self._catching is not None or self._connection.is_paused:
            return
        if self._inbox_has_gap or not self._follow_relay():
            self._catching = self._shared.spawn(self._read_streams())

    # -- reading the streams -----------------------------------------------------------------------

    async def _read_streams(self) -> None:
        try:
            while self._is_open and not self._connection.is_paused:
                if self._inbox_has_gap:
                    self._inbox_has_gap = False
                    items = await self._page(self._shared.keys.inbox(self._ai), self._inbox)
                    self._inbox_has_gap = self._inbox_has_gap or bool(items)
                    self._deliver_inbox(item for item in items if item.n > self._inbox)
                elif self._follow_relay():
                    return
                else:
                    items = await self._page(self._shared.keys.log, self._log)
                    gone = Item(self._log + 1, self._shared.relay.last, b"")
                    self._deliver_log(item for item in items or [gone] if item.n > self._log)
        except (EpochChanged, RedisError, OSError) as error:
            log.info("could not read for %s: %r", self._ai, error)
            self._inbox_has_gap = True
            self._timer = asyncio.get_running_loop().call_later(READ_AGAIN_S, self.go_on)
        finally:
            self._catching = None

    async def _page(self, key: str, after: int) -> list[Item]:
        shared = self._shared
        async with shared.reads:
            return await read_items(shared.redis, key, shared.keys.fleet, self._epoch, after)

    def _follow_relay(self) -> bool:
        """Go on with the relay, if it still holds what is missing."""
        if self._epoch != self._shared.relay.epoch:
            return False
        recent = self._shared.relay.recent_after(self._log)
        if recent is None:
            return False
        self._is_following = True
        self._deliver_log(recent)
        return True

    # -- delivering --------------------------------------------------------------------------------

    def _takes_whole(self, run: Run) -> bool:
        is_small = len(run.joined) <= WRITE_BYTES
        return is_small and not self._has_offset and self._ai not in run.excluded

    def _deliver_log(self, items: Iterable[Item]) -> None:
        """In few writes, and no more of them than the client reads."""
        out: list[bytes] = []
        size_bytes = 0
        for item in items:
            if size_bytes > WRITE_BYTES:
                self._write(out)
                out, size_bytes = [], 0
                if self._connection.is_paused:
                    self._is_following = False
                    return
            self._log = item.n
            if not item.line:
                out.append(self._gap("log", item.first, item.n, "retention"))
            elif self._ai not in item.exclude:
                out.append(self.with_offset(item.line))
                size_bytes += len(item.line)
        self._write(out)

    def _deliver_inbox(self, items: Iterable[Item]) -> None:
        for item in items:
            if not self._is_open:
                return
            if self._connection.is_paused:
                self._inbox_has_gap = True
                return
            self._inbox = item.n
            if not item.line:
                self._write([self._gap("inbox", item.first, item.n, "retention")])
            elif self.is_meant(item) and (line := self._show(item)):
                self._write([self.with_offset(line)])

    def _write(self, lines: list[bytes]) -> None:
        lines = [line for line in lines if line]
        if lines:
            self._connection.send(b"".join(lines))

    def _gap(self, stream: str, first: int, last: int, reason: str) -> bytes:
        """Numbers that will not come; only a client that knows of numbers is told."""
        if not self._has_offset or last < first:
            return b""
        payload = {"stream": stream, "first": first, "last": last, "reason": reason}
        return self.with_offset(self._shared.hub_line("gap", payload, self._ai))
