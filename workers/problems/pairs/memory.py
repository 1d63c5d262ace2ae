"""One memory for blocks of files and pages of a heap, which a cache policy and an allocator run.

A frame holds a block or a page, both 4 KiB, and the cache policy decides for all frames what goes.
To it a page of the heap is one more block, from HEAP on. It is touched when an object on it is made
and when that object is free again. A page with live objects on it that has gone is read back from
swap when it is touched next; a page without any begins as zeroes and is read from nowhere, but
needs a frame like any other. Nothing is read ahead, and what is written costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.problems.file_system.problem import CachePolicy, give_up
from workers.problems.performance.heap import AllocatorPolicy, Pages, Spans

HEAP = 2**52
"""The block of the page at address 0: above those of all files, and a whole number in all JSON."""


@dataclass(frozen=True)
class Outcome:
    """What a replay showed: misses and pages read back from swap for each reference to a file, and
    the pages held whenever an object was just made, on average."""

    miss_ratio: float
    swap_ratio: float
    held_pages: float

    @property
    def cost(self) -> float:
        """Reads from the disk for each reference to a file."""
        return self.miss_ratio + self.swap_ratio


class Frames:
    """What is in memory."""

    def __init__(self, capacity: int, start: Sequence[int], policy: CachePolicy) -> None:
        self.policy = policy
        self.resident = set(start)
        self.room = capacity - len(self.resident)
        for block in start:
            policy.insert(block)

    def touch(self, block: int) -> bool:
        """Make a block resident; was it? Raises ProblemError if the policy breaks its rules."""
        if block in self.resident:
            self.policy.hit(block)
            return True
        if self.room:
            self.room -= 1
            self.policy.insert(block)
        else:
            give_up(self.resident, self.policy.replace(block))
        self.resident.add(block)
        return False


class Heap:
    """The objects of a program, on pages that need frames."""

    def __init__(self, frames: Frames, policy: AllocatorPolicy) -> None:
        self.frames = frames
        self.policy = policy
        self.pages = Pages()
        self.objects: list[tuple[int, Spans]] = []
        self.swapped_in = 0
        self.held_pages = 0

    def happens(self, event: int) -> None:
        """An object is made, or free again; see `heap.replay`."""
        touch, used = self.frames.touch, self.pages.used
        if event > 0:
            address = self.policy.place(event)
            spans = self.pages.hold(address, event)
            for page, units in spans:
                is_fresh = used[page] == units
                if not touch(HEAP + page) and not is_fresh:
                    self.swapped_in += 1
            self.objects.append((address, spans))
            self.held_pages += len(used)
        else:
            address, spans = self.objects[event]
            for page, _ in spans:
                if not touch(HEAP + page):
                    self.swapped_in += 1
            self.pages.give_back(spans)
            self.policy.free(address)


def run(
    references: Sequence[int],
    events: Sequence[int],
    start: Sequence[int],
    capacity: int,
    cache_policy: CachePolicy,
    allocator_policy: AllocatorPolicy,
) -> Outcome:
    """Replay references to files and the events of a heap, these spread evenly among those.

    `start` is what is in the memory at first, least recent first; `capacity` is its size in frames.
    Raises ProblemError if a policy breaks its rules.
    """
    frames = Frames(capacity, start, cache_policy)
    heap = Heap(frames, allocator_policy)
    count, misses, done = len(references), 0, 0
    for place, block in enumerate(references, 1):
        until = place * len(events) // count
        for event in events[done:until]:
            heap.happens(event)
        done = until
        if not frames.touch(block):
            misses += 1
    held_pages = heap.held_pages / len(heap.objects)
    return Outcome(misses / count, heap.swapped_in / count, held_pages)
