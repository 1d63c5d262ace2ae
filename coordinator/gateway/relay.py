"""What is on its way to the gateway's AIs: one subscription, from which all of them are served."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Protocol, cast

from redis.asyncio import Redis

from coordinator.feed import EpochChanged
from coordinator.gateway.stream import Item, read_items, read_push
from coordinator.keys import Keys
from coordinator.messages import is_probe
from coordinator.outages import Patience
from coordinator.subscription import Subscription
from coordinator.tasks import Spawn

log = logging.getLogger("coord.gateway")

MAX_RECENT = 50_000
MAX_RECENT_BYTES = 16 * 1024 * 1024
MAX_ARRIVED = 10_000


class Run:
    """Broadcasts that follow each other, joined once for all who get all of them."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.first = items[0].first
        self.last = items[-1].n
        self.joined = b"".join(item.line for item in items)
        self.excluded = {ai for item in items for ai in item.exclude}


class Recipient(Protocol):
    """An AI that is served."""

    def take_run(self, run: Run) -> None:
        """What all are told."""

    def take_push(self, item: Item) -> None:
        """What this AI is told."""

    def catch_up(self) -> None:
        """Something may have been missed, of what this AI was told too."""

    def rejoin(self) -> None:
        """Another epoch began."""


class Relay:
    """Follows the log in order. A push is for speed; after a gap, or when the connection was lost,
    the stream is read.

    All that one read of the connection brings goes to each client at once: it is collected until
    the event loop comes round. ``last`` is the number of the log that was relayed last, in
    ``epoch``, which is "" before there is any.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        patience: Patience,
        guests: Mapping[str, Recipient],
        on_probe: Callable[[str], None],
        spawn: Spawn,
    ) -> None:
        self._redis = redis
        self._patience = patience
        self._keys = keys
        self._guests = guests
        self._on_probe = on_probe
        self._spawn = spawn
        self._channels = keys.channel("")
        self._subscription = Subscription(
            redis,
            (keys.broadcast_channel,),
            patience.through_outages,
            self._arrive,
            self._catch_up,
            spawn,
        )
        self._arrived: deque[tuple[bytes, bytes]] = deque()
        self._is_due = False
        self._reading: asyncio.Task[None] | None = None
        self._recent: list[Item] = []
        self._recent_bytes = 0
        self.epoch = ""
        self.last = 0

    # -- who listens -------------------------------------------------------------------------------

    async def subscribe(self, ai: str) -> None:
        """Listen for what this AI is told; TimeoutError when the server does not confirm it."""
        await self._subscription.add(self._keys.channel(ai))

    async def unsubscribe(self, ai: str) -> None:
        if ai not in self._guests:
            await self._subscription.remove(self._keys.channel(ai))

    def recent_after(self, n: int) -> Iterator[Item] | None:
        """What was relayed after number ``n``; None if it is no longer held."""
        if n >= self.last:
            return iter(())
        if not self._recent or self._recent[0].first > n + 1:
            return None
        start = bisect_right(self._recent, n, key=lambda item: item.n)
        return islice(self._recent, start, None)

    # -- the subscription --------------------------------------------------------------------------

    async def run(self) -> None:
        """Relay, through every outage. Raises ServerUnusable."""
        await self._subscription.run()

    @property
    def is_connected(self) -> bool:
        return self._subscription.is_complete

    async def _arrive(self, channel: bytes, data: bytes) -> None:
        self._arrived.append((channel, data))
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_arrived)

    async def _catch_up(self) -> None:
        """What came before the subscription is in the streams."""
        self._read_stream()
        for guest in list(self._guests.values()):
            guest.catch_up()

    async def note(self, epoch: str, last: int) -> None:
        """What ``coord:fleet`` says of the epoch and the log, looked up now and then."""
        if epoch != self.epoch:
            self._begin_epoch(epoch, last)
        elif last > self.last:
            self._read_stream()

    # -- what came ---------------------------------------------------------------------------------

    def _take_arrived(self) -> None:
        """Deal with all that has come; while the stream is being read it waits."""
        self._is_due = False
        run: list[Item] = []
        while self._arrived and self._reading is None:
            channel, data = self._arrived.popleft()
            try:
                epoch, item = read_push(data)
            except (ValueError, KeyError, TypeError, AttributeError):
                self._take_other(channel, data)
                continue
            if epoch != self.epoch:
                self._flush(run)
                run = []
                self._arrived.appendleft((channel, data))
                self._spawn_reading(self._look_up_epoch)
            elif channel == self._keys.broadcast_channel.encode():
                if item.n == self.last + 1:
                    self.last = item.n
                    run.append(item)
                elif item.n > self.last:
                    self._flush(run)
                    run = []
                    self._read_stream()
            else:
                self._hand_over(channel, item, run)
        self._flush(run)
        if len(self._arrived) > MAX_ARRIVED:
            self._arrived.clear()  # it is all in the streams
            for guest in list(self._guests.values()):
                guest.catch_up()

    def _hand_over(self, channel: bytes, item: Item, run: list[Item]) -> None:
        """To one AI, after what all were told before."""
        guest = self._guests.get(channel.decode()[len(self._channels) :])
        if guest is not None:
            if run:
                guest.take_run(Run(run))
            guest.take_push(item)

    def _take_other(self, channel: bytes, data: bytes) -> None:
        """A push that is none: another gateway asks whether an AI is still there."""
        if is_probe(data):
            self._on_probe(channel.decode()[len(self._channels) :])
        else:
            log.warning("ignored a push that is none of coord's")

    def _flush(self, items: list[Item]) -> None:
        if not items:
            return
        self._remember(items)
        run = Run(items)
        for guest in list(self._guests.values()):
            guest.take_run(run)

    def _remember(self, items: list[Item]) -> None:
        self._recent.extend(items)
        self._recent_bytes += sum(len(item.line) for item in items)
        while len(self._recent) > MAX_RECENT or self._recent_bytes > MAX_RECENT_BYTES:
            oldest = self._recent[: len(self._recent) // 8 + 1]
            del self._recent[: len(oldest)]
            self._recent_bytes -= sum(len(item.line) for item in oldest)

    # -- reading the stream ------------------------------------------------------------------------

    def _read_stream(self) -> None:
        self._spawn_reading(self._follow_stream)

    def _spawn_reading(self, read: Callable[[], Awaitable[None]]) -> None:
        if self._reading is None:
            self._reading = self._spawn(self._read_then_go_on(read))

    async def _read_then_go_on(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        finally:
            self._reading = None
        self._take_arrived()

    async def _follow_stream(self) -> None:
        try:
            while items := await self._patience.through_outages(self._page):
                self.last = items[-1].n
                self._flush(items)
        except EpochChanged:
            await self._look_up_epoch()

    async def _page(self) -> list[Item]:
        keys = self._keys
        return await read_items(self._redis, keys.log, keys.fleet, self.epoch, self.last)

    async def _look_up_epoch(self) -> None:
        read = partial(self._redis.hmget, self._keys.fleet, "epoch", "log_n")
        epoch, last = await self._patience.through_outages(cast(Any, read))
        self._begin_epoch((epoch or b"").decode(), int(last or 0))
        while self._arrived and _epoch_of(self._arrived[0][1]) not in (None, self.epoch):
            self._arrived.popleft()  # of an epoch that is over

    def _begin_epoch(self, epoch: str, last: int) -> None:
        """Where to go on only the coordinator knows: it tells each AI that says hello again."""
        if epoch == self.epoch:
            return
        is_first = not self.epoch
        self.epoch = epoch
        self.last = last
        self._recent.clear()
        self._recent_bytes = 0
        if not is_first:
            log.info("the fleet is in epoch %s", epoch)
            for guest in list(self._guests.values()):
                guest.rejoin()


def _epoch_of(data: bytes) -> str | None:
    try:
        return read_push(data)[0]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
