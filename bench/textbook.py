"""Policies of textbooks, to compare others with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from functools import partial
from random import Random

from workers.problems import Maker
from workers.problems.process_manager.cpu import RoundRobin

SLICE_US = 5_000
FOREVER_US = 10**12


class Cache(ABC):
    """A cache that gives up one block, and then has room for the new one."""

    def __init__(self, capacity_blocks: int) -> None:
        self.capacity_blocks = capacity_blocks

    def hit(self, block: int) -> None:
        """Remembers nothing, unless a policy does."""
        return

    @abstractmethod
    def insert(self, block: int) -> None: ...

    @abstractmethod
    def give_up(self, block: int) -> int:
        """Choose what goes for ``block``, and forget that it was there."""

    def replace(self, block: int) -> int:
        gone = self.give_up(block)
        self.insert(block)
        return gone


class FirstInFirstOut(Cache):
    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.order: OrderedDict[int, None] = OrderedDict()

    def insert(self, block: int) -> None:
        self.order[block] = None

    def give_up(self, block: int) -> int:
        return self.order.popitem(last=False)[0]


class MostRecentlyUsed(FirstInFirstOut):
    def hit(self, block: int) -> None:
        self.order.move_to_end(block)

    def give_up(self, block: int) -> int:
        return self.order.popitem()[0]


class AtRandom(Cache):
    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.random = Random(1)
        self.blocks: list[int] = []

    def insert(self, block: int) -> None:
        self.blocks.append(block)

    def give_up(self, block: int) -> int:
        place = self.random.randrange(len(self.blocks))
        gone = self.blocks[place]
        self.blocks[place] = self.blocks[-1]
        self.blocks.pop()
        return gone


class LeastFrequentlyUsed(Cache):
    """Of equals the least recently used; what was given up counts from 1 again."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.uses: dict[int, tuple[int, int]] = {}
        self.now = 0

    def hit(self, block: int) -> None:
        self._used(block, self.uses[block][0] + 1)

    def insert(self, block: int) -> None:
        self._used(block, 1)

    def give_up(self, block: int) -> int:
        gone = min(self.uses, key=self.uses.__getitem__)
        del self.uses[gone]
        return gone

    def _used(self, block: int, times: int) -> None:
        self.now += 1
        self.uses[block] = (times, self.now)


class LeastFrequentlyEverUsed(LeastFrequentlyUsed):
    """The same, but what was given up goes on counting when it comes back."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.ever: Counter[int] = Counter()

    def hit(self, block: int) -> None:
        self.insert(block)

    def insert(self, block: int) -> None:
        self.ever[block] += 1
        self._used(block, self.ever[block])


class Sieve(Cache):
    """Y. Zhang et al., SIEVE is Simpler than LRU, NSDI 2024."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.oldest_first: list[int] = []
        self.visited: set[int] = set()
        self.hand = 0

    def hit(self, block: int) -> None:
        self.visited.add(block)

    def insert(self, block: int) -> None:
        self.oldest_first.append(block)

    def give_up(self, block: int) -> int:
        while self.oldest_first[self.hand] in self.visited:
            self.visited.remove(self.oldest_first[self.hand])
            self.hand = (self.hand + 1) % len(self.oldest_first)
        gone = self.oldest_first.pop(self.hand)
        self.hand %= max(1, len(self.oldest_first))
        return gone


class SmallMainGhost(Cache):
    """S3-FIFO: J. Yang et al., FIFO Queues Are All You Need for Cache Eviction, SOSP 2023.

    What comes in goes to a small queue, and from there to the main one if it was used twice
    meanwhile; what was not is given up and remembered, and goes to the main queue when it comes
    back. As in the authors' simulator, libCacheSim, blocks that are too many for the small queue go
    to the main one until the cache is full.
    """

    SMALL_SHARE, MOST_USES, USES_TO_STAY = 0.1, 3, 2

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.most_small = max(1, int(capacity_blocks * self.SMALL_SHARE))
        self.most_gone = int(capacity_blocks * (1 - self.SMALL_SHARE))
        self.small: OrderedDict[int, int] = OrderedDict()
        self.main: OrderedDict[int, int] = OrderedDict()
        self.gone: OrderedDict[int, None] = OrderedDict()

    def hit(self, block: int) -> None:
        queue = self.small if block in self.small else self.main
        queue[block] = min(self.MOST_USES, queue[block] + 1)

    def insert(self, block: int) -> None:
        queue = self.main if len(self.small) >= self.most_small else self.small
        queue[block] = 0

    def replace(self, block: int) -> int:
        queue = self.main if block in self.gone else self.small
        self.gone.pop(block, None)
        gone = self.give_up(block)
        queue[block] = 0
        return gone

    def give_up(self, block: int) -> int:
        is_main_full = len(self.main) > self.capacity_blocks - self.most_small
        while self.small and not is_main_full:
            gone, uses = self.small.popitem(last=False)
            if uses < self.USES_TO_STAY:
                self._remember(gone)
                return gone
            self.main[gone] = 0
        while True:
            gone, uses = self.main.popitem(last=False)
            if not uses:
                return gone
            self.main[gone] = uses - 1

    def _remember(self, block: int) -> None:
        self.gone[block] = None
        if len(self.gone) > self.most_gone:
            self.gone.popitem(last=False)


class TwoQueues(Cache):
    """T. Johnson, D. Shasha, 2Q, VLDB 1994: what is read once goes first, and is remembered."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.once: OrderedDict[int, None] = OrderedDict()
        self.again: OrderedDict[int, None] = OrderedDict()
        self.gone: OrderedDict[int, None] = OrderedDict()

    def hit(self, block: int) -> None:
        if block in self.again:
            self.again.move_to_end(block)

    def insert(self, block: int) -> None:
        if block in self.gone:
            del self.gone[block]
            self.again[block] = None
        else:
            self.once[block] = None

    def give_up(self, block: int) -> int:
        if self.again and len(self.once) <= max(1, self.capacity_blocks // 4):
            return self.again.popitem(last=False)[0]
        gone, _ = self.once.popitem(last=False)
        self.gone[gone] = None
        if len(self.gone) > max(1, self.capacity_blocks // 2) and next(iter(self.gone)) != block:
            self.gone.popitem(last=False)
        return gone


class LeastRecentlyUsedTwice(Cache):
    """E. O'Neil, P. O'Neil, G. Weikum, The LRU-K Page Replacement Algorithm, SIGMOD 1993; K = 2."""

    def __init__(self, capacity_blocks: int) -> None:
        super().__init__(capacity_blocks)
        self.last_two: dict[int, tuple[int, int]] = {}
        self.resident: set[int] = set()
        self.now = 0

    def hit(self, block: int) -> None:
        self.insert(block)

    def insert(self, block: int) -> None:
        self.now += 1
        self.last_two[block] = (self.last_two.get(block, (-1, -1))[1], self.now)
        self.resident.add(block)

    def give_up(self, block: int) -> int:
        gone = min(self.resident, key=self.last_two.__getitem__)
        self.resident.remove(gone)
        return gone


class LeastAttainedService:
    """Whoever has had the least of the CPU runs."""

    def __init__(self) -> None:
        self.had_us: dict[int, int] = {}
        self.waiting: set[int] = set()
        self.running: int | None = None

    def ready(self, process: int) -> bool:
        had_us = self.had_us.setdefault(process, 0)
        self.waiting.add(process)
        return self.running is not None and had_us < self.had_us[self.running]

    def choose(self, now_us: int) -> tuple[int, int]:
        self.running = min(self.waiting, key=lambda process: (self.had_us[process], process))
        self.waiting.remove(self.running)
        return self.running, SLICE_US

    def yielded(self, process: int, ran_us: int) -> None:
        self.waits(process, ran_us)
        self.waiting.add(process)

    def waits(self, process: int, ran_us: int) -> None:
        self.had_us[process] += ran_us
        self.running = None

    def ended(self, process: int, ran_us: int) -> None:
        self.running = None


CACHES: dict[str, Maker] = {
    "FIFO": FirstInFirstOut,
    "MRU": MostRecentlyUsed,
    "random": AtRandom,
    "LFU": LeastFrequentlyUsed,
    "LFU with history": LeastFrequentlyEverUsed,
    "SIEVE": Sieve,
    "S3-FIFO": SmallMainGhost,
    "2Q": TwoQueues,
    "LRU-2": LeastRecentlyUsedTwice,
}
SCHEDULERS: dict[str, Maker] = {
    **{f"round robin {ms} ms": partial(RoundRobin, ms * 1_000) for ms in (1, 4, 30, 100)},
    "first come first served": partial(RoundRobin, FOREVER_US),
    "least attained service": LeastAttainedService,
}
