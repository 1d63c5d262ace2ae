"""Requests in, answers out: one line each, bounded, and by the clock outside."""

from __future__ import annotations

import os
import select
import time

from workers.sandbox.answers import shown
from workers.sandbox.failures import PolicyFailed
from workers.sandbox.limits import Limits
from workers.sandbox.process import Process

CHUNK_BYTES = 65536
KEPT_OUTPUT_BYTES = 16384


class Ended(Exception):
    """Nobody answers any more."""


class Channel:
    """Talks with a process; what it prints meanwhile is counted, and its first bytes are kept."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._requests, self._answers = process.requests, process.answers
        self._output = process.output
        self._limits = limits
        self._printed = b""
        self._printed_bytes = 0
        self._watched = select.poll()
        self._watched.register(self._answers, select.POLLIN)
        self._watched.register(self._output, select.POLLIN)

    @property
    def printed(self) -> str:
        """The first of what it printed, on one line."""
        return shown(self._printed.decode(errors="replace"))

    def exchange(self, request: bytes, limit_s: float) -> bytes:
        """The line that answers ``request``, which is a line, without its end.

        Raises PolicyFailed, and Ended if the process is gone.
        """
        ends_s = time.monotonic() + limit_s
        self._send(request, ends_s)
        answer = b""
        while True:
            for descriptor, _ in self._events(self._watched, ends_s):
                if descriptor == self._output:
                    if not self.read_output():  # it closed its output
                        self._watched.unregister(self._output)
                    continue
                answer += self._read_answer()
                end = answer.find(b"\n")
                if end == len(answer) - 1 <= self._limits.answer_bytes:
                    return answer[:end]
                if end >= 0 and end < len(answer) - 1:
                    raise PolicyFailed("bad_answer", "it answered more than it was asked")
                if len(answer) > self._limits.answer_bytes:
                    rule = f"an answer may have {self._limits.answer_bytes} bytes"
                    raise PolicyFailed("bad_answer", f"its answer is too long: {rule}")

    def read_to_end(self, limit_s: float) -> bytes:
        """All that it prints until it closes its output. Raises PolicyFailed."""
        ends_s = time.monotonic() + limit_s
        watched = select.poll()
        watched.register(self._output, select.POLLIN)
        while self._events(watched, ends_s) and self.read_output():
            pass
        return self._printed

    def read_output(self) -> bool:
        """Read some of what it printed; whether there was any. Raises PolicyFailed."""
        try:
            data = os.read(self._output, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return False
        self._printed = (self._printed + data)[:KEPT_OUTPUT_BYTES]
        self._printed_bytes += len(data)
        if self._printed_bytes > self._limits.output_bytes:
            raise PolicyFailed(
                "too_much_output",
                f"it printed more than {self._limits.output_bytes} bytes: {self.printed}",
            )
        return True

    def _read_answer(self) -> bytes:
        data = os.read(self._answers, CHUNK_BYTES)
        if not data:
            raise Ended
        return data

    def _send(self, request: bytes, ends_s: float) -> None:
        """Write it all, and read what is printed while there is no room for it."""
        rest = self._write(request)
        if not rest:
            return
        watched = select.poll()
        watched.register(self._requests, select.POLLOUT)
        watched.register(self._output, select.POLLIN)
        while rest:
            for descriptor, _ in self._events(watched, ends_s):
                if descriptor == self._requests:
                    rest = self._write(rest)
                elif not self.read_output():
                    watched.unregister(self._output)

    def _write(self, data: bytes) -> bytes:
        """Write what there is room for; gives the rest."""
        try:
            return data[os.write(self._requests, data) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            raise Ended from None

    def _events(self, watched: select.poll, ends_s: float) -> list[tuple[int, int]]:
        left_s = ends_s - time.monotonic()
        events = watched.poll(left_s * 1000) if left_s > 0 else []
        if not events:
            raise PolicyFailed("timeout", "it took longer than it may")
        return events
