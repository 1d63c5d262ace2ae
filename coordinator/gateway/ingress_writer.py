"""The gateway's own ingress: what its AIs say, in order, through every outage, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from redis.asyncio import Redis

from coordinator.clock import Clock
from coordinator.doors import add_entry
from coordinator.keys import Keys
from coordinator.outages import Patience

MAX_BATCH = 256
MAX_QUEUED_BYTES = 4 * 1024 * 1024
MAX_UNSETTLED_BYTES = 64 * 1024 * 1024
MAX_UNSETTLED = 50_000
SETTLED_AFTER_S = 5.0
COMMITTED_POLL_S = 0.05


class _Entry(NamedTuple):
    body: bytes
    instance: str
    n: int | None
    ai: str | None


class IngressWriter:
    """Entries are numbered by ``add`` from 1 in the order they are written.

    An entry is *settled* when its effect, or its refusal, is known to the gateway; what may have to
    be sent again must be remembered until then. While too much is not settled, or waits for the
    server, ``is_full``: whoever adds should read no more from his client until ``on_room``.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        door: str,
        clock: Clock,
        patience: Patience,
        on_room: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._door = door
        self._clock = clock
        self._patience = patience
        self._on_room = on_room
        self._queue: deque[_Entry] = deque()
        self._queued_bytes = 0
        self._has_some = asyncio.Event()
        self._unsettled: deque[int] = deque()
        self._unsettled_bytes = 0
        self._committed: deque[tuple[float, int]] = deque()
        self._was_full = False
        self._last_committed = 0
        self._asking = asyncio.Lock()
        self.added = 0
        self.written = 0
        self.settled = 0

    @property
    def is_full(self) -> bool:
        is_full = (
            self._queued_bytes > MAX_QUEUED_BYTES
            or self._unsettled_bytes > MAX_UNSETTLED_BYTES
            or len(self._unsettled) > MAX_UNSETTLED
        )
        self._was_full = self._was_full or is_full
        return is_full

    def add(self, body: bytes, instance: str, n: int | None, ai: str | None) -> int:
        """The number of the entry. It is written soon; ``ai`` None: the gateway itself speaks."""
        self._queue.append(_Entry(body, instance, n, ai))
        self._queued_bytes += len(body)
        self._unsettled.append(len(body))
        self._unsettled_bytes += len(body)
        self._has_some.set()
        self.added += 1
        return self.added

    async def run(self) -> None:
        """Write what is added. Raises ServerUnusable when the server refuses it for good."""
        while True:
            await self._has_some.wait()
            batch = [self._queue[i] for i in range(min(MAX_BATCH, len(self._queue)))]
            await self._patience.through_outages(partial(self._write, batch))
            for entry in batch:
                self._queue.popleft()
                self._queued_bytes -= len(entry.body)
            self.written += len(batch)
            if not self._queue:
                self._has_some.clear()
            self._tell_of_room()

    async def note_committed(self, is_heard: bool) -> None:
        """Ask how far the coordinator has come. ``is_heard``: what it says reaches the gateway."""
        committed = await self._read_committed()
        now_s = self._clock.elapsed_s()
        if not is_heard:
            self._committed.clear()
            return
        self._committed.append((now_s, committed))
        while self._committed and now_s - self._committed[0][0] >= SETTLED_AFTER_S:
            self._settle(self._committed.popleft()[1])
        self._tell_of_room()

    async def wait_until_committed(self, number: int) -> None:
        """Wait until the coordinator has dealt with entry ``number``. Raises RedisError."""
        async with self._asking:  # one asks for all
            while number > self._last_committed and await self._read_committed() < number:
                await asyncio.sleep(COMMITTED_POLL_S)

    async def drain(self) -> None:
        """Wait until all that was added is written."""
        while self.written < self.added:
            await asyncio.sleep(0.005)

    async def _read_committed(self) -> int:
        """The number of the last entry that the coordinator has dealt with."""
        written = self.written
        waiting = await self._redis.xlen(self._keys.ingress(self._door))
        self._last_committed = max(self._last_committed, written - waiting)
        return self._last_committed

    def _settle(self, number: int) -> None:
        while self.settled < number:
            self.settled += 1
            self._unsettled_bytes -= self._unsettled.popleft()

    def _tell_of_room(self) -> None:
        if self._was_full and not self.is_full:
            self._was_full = False
            self._on_room()

    async def _write(self, batch: list[_Entry]) -> None:
        """All of it or nothing: a number that came after a lower one had failed would bar it."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for entry in batch:
                add_entry(
                    pipe, self._keys, self._door, entry.body, entry.instance, entry.n, entry.ai
                )
            await pipe.execute()
