"""Reading the fleet again and again, beside the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import redis
from textual.message import Message

from cli.output import plain
from cli.top.snapshot import Snapshot, Snapshots
from coordinator.clock import Clock
from coordinator.connection import unusable

END_S = 2.0
"""So long the end waits for a read that is under way."""


class Fresh(Message):
    """The fleet was read."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class Away(Message):
    """The server could not be read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Broken(Message):
    """Reading has a fault of its own, and ends."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Reader:
    """Reads ``snapshots`` every ``every_s`` in a thread, but at most half of the time, and gives
    what came of it to ``post``, which may be called from any thread. It reads again only once that
    was ``taken``."""

    def __init__(
        self,
        snapshots: Snapshots,
        where: str,
        clock: Clock,
        every_s: float,
        post: Callable[[Message], object],
    ) -> None:
        self._snapshots = snapshots
        self._where = where
        self._clock = clock
        self._every_s = every_s
        self._post = post
        self._is_over = threading.Event()
        self._is_taken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coord top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def taken(self) -> None:
        self._is_taken.set()

    def stop(self) -> None:
        self._is_over.set()
        self._is_taken.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._is_over.wait(pause_s):
            began_s = self._clock.elapsed_s()
            message = self._read()
            self._is_taken.clear()
            if not self._is_over.is_set():
                with suppress(RuntimeError):  # the loop ended just now
                    self._post(message)
            if isinstance(message, Broken):
                return
            if not self._is_over.is_set():
                self._is_taken.wait()
            took_s = self._clock.elapsed_s() - began_s
            pause_s = max(self._every_s - took_s, took_s)

    def _read(self) -> Message:
        try:
            return Fresh(self._snapshots.read())
        except redis.RedisError as error:
            return Away(plain(unusable(self._where, error).detail))
        except Exception as error:
            return Broken(error)
