"""One client's connection: lines in, lines out, and neither without bounds."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from coordinator.gateway import keepalive
from coordinator.gateway.timers import Timers

READ_BYTES = 64 * 1024
LINGER_S = 1.0
"""A client that is shown the door has this long to read why."""

AFTER_EOF_S = 10.0
"""What a client sent before it closed its side is dealt with for this long."""

SKIPPED_LINES = 4
"""A line that is longer than this many of the longest is the last one."""


class Owner(Protocol):
    """Whom a connection belongs to, and what it is told."""

    def take_line(self, line: bytes) -> bool:
        """A line without its end. False, with a hold in force: not now, but when that is over."""

    def line_too_long(self) -> None:
        """A line was longer than ``max_line_bytes``; it is left out."""

    def has_said_all(self) -> None:
        """The client has closed its side, and all its lines are taken: end the connection, once it
        has been answered. It may be told more than once."""

    def can_write_again(self) -> None:
        """The client has read what it had not."""

    def is_slow(self) -> None:
        """The client has not read for as long as it may."""

    def connection_lost(self) -> None:
        """The connection is gone."""


class Connection(asyncio.BufferedProtocol):
    """``read_buffer`` is shared by all connections of a loop: what is read is copied at once.

    While anybody ``hold``s it, nothing is read and no line is taken.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        read_buffer: memoryview,
        keepalive_s: int,
        out_buffer_bytes: int,
        slow_reader_s: float,
    ) -> None:
        self.address = address
        self.is_open = False
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.lost = asyncio.Event()
        self.owner: Owner | None = None
        self.max_line_bytes = 0
        self._sock = sock
        self._read_buffer = read_buffer
        self._keepalive_s = keepalive_s
        self._unheard_s = slow_reader_s + keepalive_s  # a slow reader is to hear why
        self._out_buffer_bytes = out_buffer_bytes
        self._slow_reader_s = slow_reader_s
        self._transport: asyncio.Transport | None = None
        self._pending = bytearray()
        self._searched = 0
        self._skipped = 0
        self._holds: set[str] = set()
        self._is_taking = False
        self._is_ending = False
        self._has_eof = False
        self._timers = Timers()
        keepalive.keep_alive(sock, keepalive_s, self._unheard_s)

    @property
    def is_paused(self) -> bool:
        """Whether the client has more to read than it should: what can wait is not sent now."""
        return not self.can_write.is_set()

    def belong_to(self, owner: Owner, max_line_bytes: int) -> None:
        """From now on ``owner`` takes the lines; what came before him is his as well."""
        self.owner = owner
        self.max_line_bytes = max_line_bytes
        self._take_lines()

    @property
    def is_ending(self) -> bool:
        """Whether nothing more is taken, or sent."""
        return self._is_ending

    # -- sending -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bounded only by whoever looks at ``is_paused``."""
        if self._transport is not None and not self._is_ending:
            self._transport.write(data)

    def end(self, last: bytes = b"") -> None:
        """Say ``last``, take no more, and be gone soon, whether or not the client reads."""
        if self._transport is None or self._is_ending:
            return
        self._transport.write(last)
        self._is_ending = True
        self._pending.clear()
        self._resume()
        self._timers.start("end", LINGER_S, self._transport.abort)
        if self._has_eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        try:  # a close with unread bytes is a reset, which would take `last` with it
            self._transport.write_eof()
        except OSError:  # the peer is gone
            self._transport.abort()

    def abort(self) -> None:
        """Be gone now."""
        if self._transport is not None:
            self._is_ending = True
            self._transport.abort()

    # -- holding -----------------------------------------------------------------------------------

    def hold(self, reason: str) -> None:
        """Read nothing, and take no line, until every hold is released."""
        if not self._holds and not self._is_ending and self._transport is not None:
            self._transport.pause_reading()
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        if reason not in self._holds:
            return
        self._holds.discard(reason)
        if not self._holds and not self._is_ending:
            self._resume()
            self._take_lines()

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- is somebody there? ------------------------------------------------------------------------

    def probe(self) -> None:
        """Try the peer; if it is gone, the connection is ``lost`` within ``keepalive.PROBE_S``."""
        if not self._is_ending and not self._timers.is_running("probe"):
            keepalive.probe(self._sock)
            self._timers.start("probe", keepalive.PROBE_S, self._end_probe)

    def _end_probe(self) -> None:
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # unseen while held
            self.abort()
        else:
            keepalive.keep_alive(self._sock, self._keepalive_s, self._unheard_s)

    # -- asyncio's calls ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._out_buffer_bytes)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._is_ending = True
        self._timers.cancel_all()
        self._pending.clear()
        self.can_write.set()
        self.lost.set()
        if self.owner:
            self.owner.connection_lost()

    def pause_writing(self) -> None:
        self.can_write.clear()
        if self.owner:
            self._timers.start("slow", self._slow_reader_s, self.owner.is_slow)

    def resume_writing(self) -> None:
        self.can_write.set()
        self._timers.cancel("slow")
        if self.owner and not self._is_ending:
            self.owner.can_write_again()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._is_ending:
            self._pending += self._read_buffer[:nbytes]
            self._take_lines()

    def eof_received(self) -> bool:
        """A client may close its side and still wait for answers to what it has sent."""
        if self._is_ending or not self._transport or not self._transport.can_write_eof():
            return False
        if not self._has_eof:
            self._has_eof = True
            self._timers.start("eof", AFTER_EOF_S, self._transport.abort)
            self._take_lines()
        return True

    # -- lines -------------------------------------------------------------------------------------

    def _take_lines(self) -> None:
        if self._is_taking or self.owner is None:
            return
        self._is_taking = True
        try:
            start = 0
            while not self._holds and not self._is_ending:
                end = self._pending.find(b"\n", max(start, self._searched))
                if end < 0:
                    break
                if not self._take(start, end):
                    break
                start = end + 1
                self._searched = start
        finally:
            self._is_taking = False
        if self._is_ending:
            return
        del self._pending[:start]
        self._searched = 0
        if not self._holds:
            self._look_at_the_rest()

    def _take(self, start: int, end: int) -> bool:
        assert self.owner is not None
        if self._skipped:
            self._skipped = 0
            return True
        if end - start > self.max_line_bytes:
            self.owner.line_too_long()
            return True
        return self.owner.take_line(bytes(self._pending[start:end]))

    def _look_at_the_rest(self) -> None:
        """What is left is a line without an end."""
        assert self.owner is not None
        self._searched = len(self._pending)
        if self._skipped or len(self._pending) > self.max_line_bytes:
            if not self._skipped:
                self.owner.line_too_long()
            self._skipped += len(self._pending)
            self._pending.clear()
            self._searched = 0
            if self._skipped > self.max_line_bytes * SKIPPED_LINES:
                self.end()
        if self._has_eof:
            self.owner.has_said_all()
