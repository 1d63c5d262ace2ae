"""Components for tests: policies of both specializations, and how to spoil them."""

from __future__ import annotations

LRU = """from collections import OrderedDict

SPECIALIZATION = "file_system"


class Policy:
    def __init__(self, capacity_blocks):
        self.resident = OrderedDict()

    def hit(self, block):
        self.resident.move_to_end(block)

    def insert(self, block):
        self.resident[block] = None

    def replace(self, block):
        victim, _ = self.resident.popitem(last=False)
        self.resident[block] = None
        return victim
"""
ROUND_ROBIN = """from collections import deque

SPECIALIZATION = "process_manager"


class Policy:
    def __init__(self):
        self.queue = deque()

    def ready(self, process):
        self.queue.append(process)
        return False

    def choose(self, now_us):
        return self.queue.popleft(), 10_000

    def yielded(self, process, ran_us):
        self.queue.append(process)

    def waits(self, process, ran_us):
        pass

    def ended(self, process, ran_us):
        pass
"""


def lru_with(what: str, instead: str) -> str:
    """The policy LRU with a part of its text replaced, which must be there once."""
    return spoilt(LRU, what, instead)


def spoilt(text: str, what: str, instead: str) -> str:
    assert text.count(what) == 1, f"{what!r} is not there once"
    return text.replace(what, instead)
