"""Requests in, answers out: one line each, bounded, and by the clock outside.

What comes from inside is read as what it is: hostile text.
"""

from __future__ import annotations

import json
import math
import os
import select
import time
from typing import Any, NoReturn

from coordinator.messages import one_line
from workers.sandbox.failures import Interrupted, PolicyFailed
from workers.sandbox.process import Process
from workers.sandbox.rung import Limits

CHUNK_BYTES = 65536
KEPT_OUTPUT_BYTES = 16384
DEEPEST = 16
LARGEST = 2**63
TOO_LARGE = "it has an integer of more than 64 bits"
LONGEST_DETAIL = 400
LONGEST_PRINTED = 200
LEAST_WAIT_S = 0.01
"""Who waited for a processor for a shorter time is not given it back."""
PATIENCE = 2.0
"""So many times as long as it may take is waited, at most, where others have the processors."""


class Ended(Exception):
    """Nobody answers any more."""


class BadAnswer(Exception):
    """It breaks a rule; the message says which."""


class Channel:
    """Talks with a process; what it prints meanwhile is counted, and its first bytes are kept.

    The time for which it stands in the queue for a processor is none of its own: of that
    ``given_back_s`` were added to its limits.
    """

    def __init__(self, process: Process, limits: Limits) -> None:
        self.given_back_s = 0.0
        self._ends_s = 0.0
        self._process = process
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
        return shown(self._printed.decode(errors="replace"), LONGEST_PRINTED)

    def exchange(self, request: bytes, limit_s: float) -> bytes:
        """The line that answers ``request``, which is a line, without its end.

        Raises PolicyFailed, Ended if the process is gone, and Interrupted if others have the
        processor.
        """
        self._ends_s = time.monotonic() + limit_s
        self._send(request)
        answer = b""
        while True:
            for descriptor, _ in self._events(self._watched):
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
        """All that it prints until it closes its output. Raises PolicyFailed and Interrupted."""
        self._ends_s = time.monotonic() + limit_s
        watched = select.poll()
        watched.register(self._output, select.POLLIN)
        while self._events(watched) and self.read_output():
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

    def _send(self, request: bytes) -> None:
        """Write it all, and read what is printed while there is no room for it."""
        rest = self._write(request)
        if not rest:
            return
        watched = select.poll()
        watched.register(self._requests, select.POLLOUT)
        watched.register(self._output, select.POLLIN)
        while rest:
            for descriptor, _ in self._events(watched):
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

    def _events(self, watched: select.poll) -> list[tuple[int, int]]:
        while True:
            left_s = self._ends_s - time.monotonic()
            events = watched.poll(left_s * 1000) if left_s > 0 else []
            if events:
                return events
            self._give_back()

    def _give_back(self) -> None:
        """Let it have the time for which it stood in the queue for a processor."""
        queued_s = self._process.queued_s()
        if queued_s - self.given_back_s < LEAST_WAIT_S:
            raise PolicyFailed("timeout", "it took longer than it may")
        if queued_s > (PATIENCE - 1) * self._limits.wall_s:
            raise Interrupted("this machine was too busy to run it")
        self._ends_s += queued_s - self.given_back_s
        self.given_back_s = queued_s


def parse_answer(text: str) -> Any:
    """The value of the JSON ``text``: finite numbers, integers of at most 64 bits, whole
    characters, at most DEEPEST levels. Raises BadAnswer."""
    try:
        value = _decode(text)
    except RecursionError:
        raise BadAnswer(f"it is nested deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError:
        raise BadAnswer("it is not JSON") from None
    except ValueError:  # Python reads no integer of so many digits
        raise BadAnswer(TOO_LARGE) from None
    _check(value, DEEPEST)
    return value


def shown(text: str, limit: int = LONGEST_DETAIL) -> str:
    """``text`` on one printable line, cut."""
    return one_line(" ".join(text[: 4 * limit].split()), limit)


def _check(value: Any, depth: int) -> None:
    if isinstance(value, int):
        if not -LARGEST < value < LARGEST:
            raise BadAnswer(TOO_LARGE)
    elif isinstance(value, list | dict) and depth == 0:
        raise BadAnswer(f"it is nested deeper than {DEEPEST} levels")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadAnswer("it has half a character") from None
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth)
            _check(item, depth - 1)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadAnswer("it has a number that is not finite")
    return value


def _refused(name: str) -> NoReturn:
    raise BadAnswer(f"it has {name}, which is no number")


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_refused).decode
