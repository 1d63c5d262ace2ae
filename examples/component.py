"""A buffer cache that keeps what was read twice: a scan, read once, cannot push it out.

The segmented LRU of R. Karedla, J. S. Love and B. G. Wherry, IEEE Computer 27(3), 1994.
"""

from collections import OrderedDict

SPECIALIZATION = "file_system"


class Policy:
    """Blocks read once, and blocks read again; in both the least recently used is the first."""

    def __init__(self, capacity_blocks: int) -> None:
        self.most_again = capacity_blocks // 4
        self.once: OrderedDict[int, None] = OrderedDict()
        self.again: OrderedDict[int, None] = OrderedDict()

    def hit(self, block: int) -> None:
        """A block that is in the cache was read."""
        self.once.pop(block, None)
        self.again[block] = None
        self.again.move_to_end(block)
        if len(self.again) > self.most_again:
            oldest, _ = self.again.popitem(last=False)
            self.once[oldest] = None

    def insert(self, block: int) -> None:
        """A block came into the cache, and there was room."""
        self.once[block] = None

    def replace(self, block: int) -> int:
        """A block comes into the cache, and it is full: return the one that goes."""
        oldest, _ = (self.once or self.again).popitem(last=False)
        self.insert(block)
        return oldest


def test_a_scan_does_not_push_out_what_was_read_again() -> None:
    policy = Policy(4)
    for block in (1, 2, 3, 4):
        policy.insert(block)
    policy.hit(1)
    assert [policy.replace(block) for block in (5, 6, 7)] == [2, 3, 4]
