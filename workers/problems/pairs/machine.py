"""A machine with one CPU, a cache and a disk, which a cache policy and a scheduler run.

Whoever reads a block that the cache does not hold waits for the disk and leaves the CPU to others;
a hit costs nothing. A read is taken block by block (4 KiB), one after the other, without reading
ahead. The disk serves one block at a time, in the order in which they were asked for, DISK_READ_US
each. A block takes its place in the cache when it is asked for; who wants it while it is on its way
waits for the same read. The cache is empty at first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from workers.problems.file_system.problem import CachePolicy, give_up
from workers.problems.process_manager.cpu import SchedulerPolicy, replay, shortest_remaining_first
from workers.problems.process_manager.problem import mean_response_s

DISK_READ_US = 500
"""Between a solid-state disk in the machine (about 0.1 ms) and one behind a network or a hard disk
(1 to 10 ms)."""


@dataclass(frozen=True)
class Process:
    """What one process does: a burst of CPU time before each block that it reads, and one after.

    `bursts_us` is longer than `blocks` by one; a block is file << FILE_SHIFT | index.
    """

    arrival_us: int
    bursts_us: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def cpu_us(self) -> int:
        return sum(self.bursts_us)


@dataclass(frozen=True)
class Outcome:
    """What a replay showed: the mean response time in seconds, and misses / references, 0..1."""

    cost: float
    miss_ratio: float


class Machine:
    """The cache and the disk, and how far each process has come with its reads."""

    def __init__(
        self, processes: Sequence[Process], policy: CachePolicy, capacity_blocks: int
    ) -> None:
        self.processes = processes
        self.policy = policy
        self.capacity_blocks = capacity_blocks
        self.done = [0] * len(processes)
        self.resident: set[int] = set()
        self.here_us: dict[int, int] = {}
        self.disk_free_us = 0
        self.misses = 0

    def after_burst(self, process: int, now_us: int) -> tuple[int, int] | None:
        """The process reads its next block, or ends; see `cpu.AfterBurst`."""
        does, place = self.processes[process], self.done[process]
        if place == len(does.blocks):
            return None
        self.done[process] = place + 1
        block = does.blocks[place]
        if block in self.resident:
            self.policy.hit(block)
        else:
            self._fetch(block, now_us)
        return max(now_us, self.here_us[block]), does.bursts_us[place + 1]

    def _fetch(self, block: int, now_us: int) -> None:
        """Queue a block at the disk, and make room for it."""
        self.misses += 1
        self.disk_free_us = max(now_us, self.disk_free_us) + DISK_READ_US
        self.here_us[block] = self.disk_free_us
        if len(self.resident) < self.capacity_blocks:
            self.policy.insert(block)
        else:
            give_up(self.resident, self.policy.replace(block))
        self.resident.add(block)


def run(
    processes: Sequence[Process],
    capacity_blocks: int,
    cache_policy: CachePolicy,
    scheduler_policy: SchedulerPolicy,
) -> Outcome:
    """Replay processes under two policies. Raises ProblemError if one breaks its rules."""
    machine = Machine(processes, cache_policy, capacity_blocks)
    arrivals_us = [process.arrival_us for process in processes]
    first_us = [process.bursts_us[0] for process in processes]
    ends_us = replay(arrivals_us, first_us, scheduler_policy, machine.after_burst)
    references = sum(len(process.blocks) for process in processes)
    return Outcome(mean_response_s(arrivals_us, ends_us), machine.misses / references)


def bound_s(processes: Sequence[Process]) -> float:
    """A mean response time that no cache and no scheduler can beat, in seconds.

    A block that one process alone reads must be fetched from the disk while that process waits, as
    the cache is empty at first. The largest of three that each leave something out:

    - the CPU alone: as if all reads were hits, by the schedule that is optimal then;
    - the disk alone: as if only those blocks were read and no CPU time was needed, by the order
      that is optimal then;
    - no queues: as if each process had CPU and disk for itself.
    """
    readers = Counter(chain.from_iterable(set(process.blocks) for process in processes))
    arrivals_us = [process.arrival_us for process in processes]
    cpu_us = [process.cpu_us for process in processes]
    disk_us = [
        DISK_READ_US * sum(readers[block] == 1 for block in set(process.blocks))
        for process in processes
    ]
    alone_us = map(sum, zip(arrivals_us, cpu_us, disk_us, strict=True))
    return max(
        mean_response_s(arrivals_us, ends_us)
        for ends_us in (
            shortest_remaining_first(arrivals_us, cpu_us),
            shortest_remaining_first(arrivals_us, disk_us),
            list(alone_us),
        )
    )
