"""One address space in which a policy places objects, and the pages that it holds for them.

A page is held while a live object lies on it: what lies on none is given back to the kernel at
once, as madvise does, and costs nothing until it is used again. Objects are never moved. Where an
object lies is a matter of bytes, but every address is a multiple of UNIT_BYTES.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from workers.problems.policies import Interface, bad_answer

PAGE_BYTES = 4096
UNIT_BYTES = 16
SPACE_BYTES = 2**40
UNITS_A_PAGE = PAGE_BYTES // UNIT_BYTES
WHOLE_PAGE = (1 << UNITS_A_PAGE) - 1

INTERFACE = Interface(arguments=(), tells=("free",), asks={"place": int})
"""See `AllocatorPolicy`."""

Spans = tuple[tuple[int, int], ...]
"""The pages on which an object lies, each with a bit for every unit of it that is the object's."""


class AllocatorPolicy(Protocol):
    """What decides where objects lie."""

    def place(self, size_bytes: int) -> int:
        """An object is made: at which address does it lie? A multiple of UNIT_BYTES, so that the
        object is within SPACE_BYTES and overlaps no other that is live."""

    def free(self, address: int) -> None:
        """The object at this address is no more."""


@dataclass(frozen=True)
class Held:
    """Pages held whenever an object was just made: on average, and at most."""

    mean_pages: float
    peak_pages: int


class Pages:
    """The pages that are held, with a bit for each unit that an object lies on."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}

    def hold(self, address: object, size_bytes: int) -> Spans:
        """Let an object lie there; raises ProblemError if that is no answer of a policy."""
        used = self.used
        if type(address) is int and 0 <= address <= SPACE_BYTES - size_bytes:
            spans = spans_of(address, size_bytes)
            is_free = not address % UNIT_BYTES
            for page, units in spans:
                before = used.get(page, 0)
                is_free = is_free and not before & units
                used[page] = before | units
            if is_free:
                return spans
        rule = f"a multiple of {UNIT_BYTES} at which {size_bytes} bytes are free, below 2**40"
        raise bad_answer("place", address, int, rule)

    def give_back(self, spans: Spans) -> None:
        """The object that `hold` let lie there is no more."""
        used = self.used
        for page, units in spans:
            rest = used[page] ^ units
            if rest:
                used[page] = rest
            else:
                del used[page]


def spans_of(address: int, size_bytes: int) -> Spans:
    """The pages on which an object of at least a byte lies, and its units on each."""
    unit = address // UNIT_BYTES
    end = (address + size_bytes - 1) // UNIT_BYTES + 1
    page, first = divmod(unit, UNITS_A_PAGE)
    if end <= (page + 1) * UNITS_A_PAGE:
        return ((page, ((1 << end - unit) - 1) << first),)
    last, rest = divmod(end, UNITS_A_PAGE)
    spans = [(page, WHOLE_PAGE >> first << first)]
    spans += [(between, WHOLE_PAGE) for between in range(page + 1, last)]
    if rest:
        spans.append((last, (1 << rest) - 1))
    return tuple(spans)


def replay(events: Sequence[int], policy: AllocatorPolicy) -> Held:
    """What a policy holds. An event is the size of an object that is made, in bytes, or -n: of
    the objects made so far the n-th last is no more.

    What lies where is kept here: the policy is only told and asked. Raises ProblemError if it
    places an object where it cannot lie.
    """
    pages = Pages()
    place, free, held = policy.place, policy.free, pages.used
    objects: list[tuple[int, Spans]] = []
    total = peak = 0
    for event in events:
        if event > 0:
            address = place(event)
            objects.append((address, pages.hold(address, event)))
            count = len(held)
            total += count
            peak = max(peak, count)
        else:
            address, spans = objects[event]
            pages.give_back(spans)
            free(address)
    return Held(total / len(objects), peak)


def fewest(events: Sequence[int]) -> Held:
    """What no policy can do with less: the bytes of the live objects, rounded up to whole pages.

    An object has the whole of each unit that it lies on for itself, since no other begins within
    a unit, and all of its units lie on pages that are held for it. So the pages held are at least
    the units of all live objects, in pages. It is loose: it is reached if live objects can always
    be as close together as if they had been moved.
    """
    sizes: list[int] = []
    live_units = total = peak = 0
    for event in events:
        if event > 0:
            units = -(-event // UNIT_BYTES)
            sizes.append(units)
            live_units += units
            pages = -(-live_units // UNITS_A_PAGE)
            total += pages
            peak = max(peak, pages)
        else:
            live_units -= sizes[event]
    return Held(total / len(sizes), peak)


class Buddy:
    """The binary buddy system: blocks are powers of two, each a half of one twice as large.

    K. C. Knowlton, A Fast Storage Allocator, Communications of the ACM 8(10), 1965; D. E. Knuth,
    The Art of Computer Programming 1, section 2.5. Of the smallest free blocks that are large
    enough the one with the lowest address is taken, and halved for as long as a half is enough;
    when both halves are free again, they become one.
    """

    def __init__(self) -> None:
        orders = SPACE_BYTES.bit_length()
        self.free_blocks: list[set[int]] = [set() for _ in range(orders)]
        self.lowest: list[list[int]] = [[] for _ in range(orders)]
        self.order_at: dict[int, int] = {}
        self._add(0, orders - 1)

    def place(self, size_bytes: int) -> int:
        wanted = (max(size_bytes, UNIT_BYTES) - 1).bit_length()
        order = wanted
        while not self.free_blocks[order]:
            order += 1
        address = heappop(self.lowest[order])
        while address not in self.free_blocks[order]:
            address = heappop(self.lowest[order])
        self.free_blocks[order].remove(address)
        while order > wanted:
            order -= 1
            self._add(address + (1 << order), order)
        self.order_at[address] = order
        return address

    def free(self, address: int) -> None:
        order = self.order_at.pop(address)
        buddy = address ^ (1 << order)
        while buddy in self.free_blocks[order]:
            self.free_blocks[order].remove(buddy)
            address = min(address, buddy)
            order += 1
            buddy = address ^ (1 << order)
        self._add(address, order)

    def _add(self, address: int, order: int) -> None:
        self.free_blocks[order].add(address)
        heappush(self.lowest[order], address)
