"""One thread follows a fleet for all who look, however many, and keeps the last of what it read."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Event as Flag
from threading import RLock, Thread
from typing import NamedTuple

import redis

from coordinator.clock import Clock
from coordinator.following import follow_lines
from coordinator.history import Cursor, Follower, Line, read_end
from coordinator.keys import Keys
from coordinator.lag import Lag, read_lag
from web.live.pulse import Pulse, Pulses
from web.live.told import Told

log = logging.getLogger("coord.http")

LINES_KEPT = 20_000
LOOKED_BACK = 5_000
"""So many entries of the log, and as many events, are read to begin with."""
PULSE_S = 1.0
LAG_PAUSES = 20
"""So many times as long as it took is waited until the lag is read again."""
RETRY_S = 1.0
"""The pause before it begins again after a fault."""

Listener = Callable[[Sequence[Line]], None]


class Tail(NamedTuple):
    """The lines after some point, oldest first; ``missed`` says that there were more between it and
    the first of them. The last that was told then, whether it is among them or not, is number
    ``seq``, and the history is read as far as ``cursor`` with it."""

    lines: list[Told]
    missed: bool
    seq: int
    cursor: Cursor


class Feed:
    """``listeners`` are given all lines as they are read, in the feed's thread."""

    def __init__(
        self,
        connection: redis.Redis,
        keys: Keys,
        clock: Clock,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._redis = connection
        self._keys = keys
        self._clock = clock
        self._listeners = listeners
        self._pulses = Pulses(connection, keys, clock)
        self._lock = RLock()  # a signal may ``end`` it in a thread that has the lock already
        self._told: deque[Told] = deque()
        self._seq = 0
        self._origin: Cursor | None = None
        self._lag: Lag | None = None
        self._lag_again_s = 0.0
        self._cursor = Cursor()
        self._watchers: set[Callable[[], None]] = set()
        self._done = Flag()
        self._thread = Thread(target=self._run, name="coord-feed", daemon=True)

    # -- for who looks -----------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Nothing more is told: the process is about to end."""
        return self._done.is_set()

    @property
    def pulse(self) -> Pulse:
        """The newest."""
        return self._pulses.newest

    @property
    def outage(self) -> str:
        """Why the server does not answer; "" if it does, or nobody has asked yet."""
        return self.pulse.outage if self.pulses() else ""

    @property
    def lag(self) -> Lag | None:
        """How far the coordinator was behind a moment ago; None if nobody has asked yet."""
        return self._lag

    def pulses(self) -> Sequence[Pulse]:
        """Those of the last ten minutes, one a second, oldest first."""
        return self._pulses.recent

    def last(self, limit: int, wanted: Callable[[Told], bool] = lambda _: True) -> Tail:
        """The newest lines of those that are wanted."""
        with self._lock:
            lines, seq, cursor = list(self._told), self._seq, self._cursor
        found = filter(wanted, reversed(lines))
        return Tail(list(islice(found, limit))[::-1], False, seq, cursor)

    def after(self, seq: int) -> Tail:
        """What was told after that number, as far as it is kept."""
        with self._lock:
            count = self._seq - seq
            lines = list(islice(reversed(self._told), count))[::-1]
            return Tail(lines, len(lines) < count, self._seq, self._cursor)

    def since(self, cursor: Cursor) -> Tail:
        """What was told after ``cursor``, which somebody has read to, perhaps from another one."""
        with self._lock:
            lines, origin = list(self._told), self._origin
            seq, end = self._seq, self._cursor
        if origin is None:
            return Tail([], False, seq, end)
        places = [n for n, line in enumerate(lines) if line.cursor.epoch == cursor.epoch]
        if not places and cursor.epoch != origin.epoch:
            return Tail(lines, True, seq, end)
        last = places[-1] if places else -1
        later = [line for n, line in enumerate(lines) if n > last or _is_after(line, cursor)]
        is_older = cursor.log < origin.log or cursor.events < origin.events
        return Tail(later, cursor.epoch == origin.epoch and is_older, seq, end)

    @contextmanager
    def watched(self, wake: Callable[[], None]) -> Iterator[None]:
        """``wake`` is called in the feed's thread whenever there is something new."""
        with self._lock:
            self._watchers.add(wake)
        try:
            yield
        finally:
            with self._lock:
                self._watchers.discard(wake)

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    # -- the thread --------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """It is over for whoever watches at once, its thread ends soon."""
        self._done.set()
        self._wake()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self._follow()
            except redis.RedisError as error:
                self._note_outage(error)
            except Exception:
                log.exception("the feed begins again after a fault of coord's own")
            self._done.wait(RETRY_S)

    def _follow(self) -> None:
        """Until it is over. Raises RedisError where no history can be begun."""
        self._take_pulse()
        follower = Follower(self._redis, self._keys)
        follower.resume(self._begin())
        pulse_s = self._clock.elapsed_s()
        for lines in follow_lines(follower, self._done.wait, self._note_outage):
            if self._done.is_set():
                return
            if lines:
                self._take(lines)
            if self._clock.elapsed_s() - pulse_s >= PULSE_S:
                pulse_s = self._clock.elapsed_s()
                self._take_pulse()

    def _begin(self) -> Cursor:
        """Where it was, or a little before the end of the history."""
        if self._origin is None:
            end = read_end(self._redis, self._keys)
            before = (max(0, end.log - LOOKED_BACK), max(0, end.events - LOOKED_BACK))
            self._cursor = self._origin = Cursor(end.epoch, *before)
        return self._cursor

    def _take(self, lines: Sequence[Line]) -> None:
        with self._lock:
            for line in lines:
                self._cursor = self._cursor.after(line)
                if self._seq or line.kind != "gap":  # what was cut before it began is no news
                    self._seq += 1
                    self._told.append(Told.of(line, self._seq, self._cursor))
            while len(self._told) > LINES_KEPT:
                self._origin = self._told.popleft().cursor
        self._wake()
        for listener in self._listeners:
            try:
                listener(lines)
            except Exception:
                log.exception("%d lines were not taken in, by a fault of coord's own", len(lines))

    def _take_pulse(self) -> None:
        try:
            self._pulses.take()
            self._take_lag()
            self._wake()
        except redis.RedisError as error:
            self._note_outage(error)

    def _take_lag(self) -> None:
        """Seldom where it takes long: most of the time is for the history."""
        began_s = self._clock.elapsed_s()
        if began_s >= self._lag_again_s:
            self._lag = read_lag(self._redis, self._keys)
            self._lag_again_s = began_s + LAG_PAUSES * (self._clock.elapsed_s() - began_s)

    def _note_outage(self, error: redis.RedisError | None) -> None:
        if error is not None:
            self._pulses.miss(str(error))
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for wake in watchers:
            wake()


def _is_after(line: Told, cursor: Cursor) -> bool:
    """Whether a line of the same epoch comes after it."""
    if line.cursor.epoch != cursor.epoch or line.kind == "epoch":
        return False
    return line.n > (cursor.log if line.source == "log" else cursor.events)
