"""A buffer cache policy that gives up the block it expects back last. Standard library only.

For each block it keeps when its next use is due: its last use plus its usual interval, in
references. When room is needed, either the block that is due farthest in the future goes, or the
one that is overdue most, whichever is the farther from now: a block that did not come when it was
due is not likely to come soon. That rule is Mockingjay's (I. Shah, A. Jain, C. Lin, Effective
Mimicry of Belady's MIN Policy, HPCA 2022), which learns intervals for processor caches; evicting
by estimated interval goes back to LIRS (S. Jiang, X. Zhang, SIGMETRICS 2002). Blocks given up
are remembered for a while, as 2Q does (T. Johnson, D. Shasha, VLDB 1994), because most intervals
are longer than a block stays.

A block is one integer: file << FILE_SHIFT | index of the block in the file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from heapq import heappop, heappush, heapreplace

SPECIALIZATION = "file_system"

PARAMETERS: Mapping[str, float] = {
    "first_interval": 1.0,
    "scan_interval": 4.0,
    "scan_run": 4.0,
    "overdue_weight": 1.0,
    "history_ratio": 2.0,
    "frequency_weight": 0.3,
}

FILE_SHIFT = 20
INTERVAL_MEMORY = 0.5
FILE_WEIGHT = 0.3
FILE_MEMORY = 0.75
COUNTED_USES = 32


class Block:
    """What is known of a block: times and intervals in references."""

    __slots__ = ("due", "interval", "last", "uses")

    def __init__(self) -> None:
        self.due = 0.0
        self.interval = 0.0
        self.last = 0
        self.uses = 1


class Policy:
    """Decides which block a full cache gives up; whoever calls it holds the cache itself.

    `capacity_blocks` is the size of the cache. Of the parameters (see `PARAMETERS`),
    `first_interval`, `scan_interval` and `history_ratio` are in units of that size.

    first_interval    expected interval of a block seen for the first time
    scan_interval     the same for a block that continues a sequential run of misses ...
    scan_run          ... of at least this many blocks
    overdue_weight    how much a reference of being overdue counts against one of being early
    history_ratio     how many blocks that were given up are remembered
    frequency_weight  a block used n times is expected after its interval / n ** frequency_weight

    Of a block's old interval INTERVAL_MEMORY stays when a new one is seen; a new block's leans
    by FILE_WEIGHT to what is usual in its file, of which FILE_MEMORY stays (all 0..1).
    """

    def __init__(self, capacity_blocks: int, parameters: Mapping[str, float] = PARAMETERS) -> None:
        self.first_interval = parameters["first_interval"] * capacity_blocks
        self.scan_interval = parameters["scan_interval"] * capacity_blocks
        self.scan_run = parameters["scan_run"]
        self.overdue_weight = parameters["overdue_weight"]
        self.history_blocks = int(parameters["history_ratio"] * capacity_blocks)
        frequency_weight = parameters["frequency_weight"]
        self.shares = [0.0] + [n**-frequency_weight for n in range(1, COUNTED_USES + 1)]
        self.now = 0
        self.resident: dict[int, Block] = {}
        self.history: OrderedDict[int, Block] = OrderedDict()
        self.file_intervals: dict[int, float] = {}
        self.runs: dict[int, tuple[int, int]] = {}
        self.latest_due: list[tuple[float, int]] = []
        self.earliest_due: list[tuple[float, int]] = []

    def hit(self, block: int) -> None:
        """A resident block was used."""
        self.now += 1
        known = self.resident[block]
        self._used_again(block, known)
        heappush(self.latest_due, (-known.due, block))

    def insert(self, block: int) -> None:
        """A block came in, and there was room."""
        self.now += 1
        file = block >> FILE_SHIFT
        before, run = self.runs.get(file, (-1, 0))
        run = run + 1 if block == before + 1 else 0
        self.runs[file] = (block, run)
        known = self.history.pop(block, None)
        if known is None:
            known = Block()
            interval = self.scan_interval if run >= self.scan_run else self.first_interval
            usual = self.file_intervals.get(file)
            if usual is not None:
                interval *= (usual / interval) ** FILE_WEIGHT
            known.last = self.now
            known.due = self.now + interval
        else:
            self._used_again(block, known)
        self.resident[block] = known
        heappush(self.latest_due, (-known.due, block))
        heappush(self.earliest_due, (known.due, block))

    def replace(self, block: int) -> int:
        """A block came in, and the cache is full: the resident block that goes."""
        now = self.now + 1
        early_due, early = self._due_latest()
        late_due, late = self._due_earliest()
        is_early = early_due - now > self.overdue_weight * (now - late_due)
        victim = early if is_early else late
        self.history[victim] = self.resident.pop(victim)
        if len(self.history) > self.history_blocks:
            self.history.popitem(last=False)
        self.insert(block)
        return victim

    def _used_again(self, block: int, known: Block) -> None:
        now = self.now
        interval: float = now - known.last
        known.last = now
        if known.uses > 1:
            interval += (known.interval - interval) * INTERVAL_MEMORY
        known.interval = interval
        if known.uses < COUNTED_USES:
            known.uses += 1
        known.due = now + interval * self.shares[known.uses]
        file = block >> FILE_SHIFT
        usual = self.file_intervals.get(file, interval)
        self.file_intervals[file] = interval + (usual - interval) * FILE_MEMORY

    def _due_latest(self) -> tuple[float, int]:
        """When the resident block that is due last is due, and the block."""
        heap, resident = self.latest_due, self.resident
        while True:
            negative, block = heap[0]
            known = resident.get(block)
            if known is not None and known.due == -negative:
                return known.due, block
            heappop(heap)

    def _due_earliest(self) -> tuple[float, int]:
        """When the resident block that is due first is due, and the block.

        An entry may be older than the block's last use. It is then too early, never too late:
        a use moves the due time on, or the block is entered anew.
        """
        heap, resident = self.earliest_due, self.resident
        while True:
            due, block = heap[0]
            known = resident.get(block)
            if known is None:
                heappop(heap)
            elif known.due == due:
                return due, block
            else:
                heapreplace(heap, (known.due, block))
