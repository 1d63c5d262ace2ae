"""A memory allocator that fills what is held before it takes more. Standard library only.

Sizes are rounded up to classes, so that what one object leaves fits another; jemalloc has four
classes between a power of two and the next. What is free is joined with what is free beside it,
and the best fit is taken, as in D. Lea's allocator (A Memory Allocator, 1996). M. S. Johnstone and
P. R. Wilson (The Memory Fragmentation Problem: Solved?, ISMM 1998) found that best fit and first
fit by address hardly waste anything; `searched` and `address_weight` lead from one to the other.
Objects that are expected to be free soon are kept apart from the others, at the upper ends of what
is free: D. A. Barrett and B. G. Zorn (Using Lifetime Predictors to Improve Memory Allocation
Performance, PLDI 1993) predict it by where a program makes an object, and this by its size.

A unit is 16 bytes; so are all addresses but those that come in and go out.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from itertools import islice

SPECIALIZATION = "performance"

PARAMETERS: Mapping[str, float] = {
    "classes_per_doubling": 4.0,
    "run_bytes": 64.0,
    "searched": 2,
    "address_weight": 0.001,
    "new_page_bytes": 16.0,
    "short_life": 8.0,
    "life_memory": 0.5,
}

UNIT_BYTES = 16
UNITS_A_PAGE = 256


class FreeSpots:
    """The spots below `top`, the end of a page, that are free; in units. Those that touch are one.

    `sizes` has a bit for each size of which there are any; `starts` has their beginnings, sorted.
    """

    def __init__(self) -> None:
        self.top = 0
        self.size_at: dict[int, int] = {}
        self.start_of: dict[int, int] = {}
        self.starts: dict[int, list[int]] = {}
        self.sizes = 0

    def give(self, start: int, size: int) -> None:
        """From now on this is free."""
        after = self.size_at.get(start + size)
        if after:
            self.take(start + size, after)
            size += after
        before = self.start_of.get(start)
        if before is not None:
            self.take(before, start - before)
            start, size = before, size + start - before
        self.size_at[start] = size
        self.start_of[start + size] = start
        if self.sizes >> size & 1:
            insort(self.starts[size], start)
        else:
            self.starts[size] = [start]
            self.sizes |= 1 << size

    def take(self, start: int, size: int) -> None:
        """A whole spot is no longer free."""
        del self.size_at[start], self.start_of[start + size]
        starts = self.starts[size]
        del starts[bisect_left(starts, start)]
        if not starts:
            self.sizes ^= 1 << size

    def extend(self, size: int) -> int:
        """Take so much at the end, and as much of it as possible from a spot that is there."""
        start = self.start_of.get(self.top, self.top)
        if start < self.top:
            self.take(start, self.top - start)
        self.top = -(-(start + size) // UNITS_A_PAGE) * UNITS_A_PAGE
        if start + size < self.top:
            self.give(start + size, self.top - start - size)
        return start

    def sizes_from(self, least: int) -> Iterator[int]:
        """The sizes of spots, from the smallest that is at least so large."""
        larger = self.sizes >> least
        while larger:
            step = (larger & -larger).bit_length()
            least += step
            larger >>= step
            yield least - 1


def new_pages(start: int, units: int, spot: int, size: int) -> int:
    """How many pages of an object lie within a free spot, so that nothing else is on them."""
    first = max(start // UNITS_A_PAGE, -(-spot // UNITS_A_PAGE))
    end = min((start + units - 1) // UNITS_A_PAGE + 1, (spot + size) // UNITS_A_PAGE)
    return max(0, end - first)


class Policy:
    """Decides where objects lie.

    classes_per_doubling  sizes between a power of two and twice as much; all are whole units
    run_bytes             what is cut at once for objects of a size: room for those that follow
    searched              how many sizes of spots are looked at, from the smallest that fits
    address_weight        a byte of the address against one that is left of a spot
    new_page_bytes        a page that was not held against a byte that is left of a spot
    short_life            an object is short-lived if those of its size were free again before so
                          many others were made
    life_memory           what stays of the old expectation when one is free again, 0..1
    """

    def __init__(self, parameters: Mapping[str, float] = PARAMETERS) -> None:
        self.classes = parameters["classes_per_doubling"]
        self.run_units = int(parameters["run_bytes"] / UNIT_BYTES)
        self.searched = int(parameters["searched"])
        self.address_weight = parameters["address_weight"]
        self.new_page_units = parameters["new_page_bytes"] / UNIT_BYTES
        self.short_life = parameters["short_life"]
        self.life_memory = parameters["life_memory"]
        self.made = 0
        self.spots = FreeSpots()
        self.units_of: dict[int, int] = {}
        self.runs: dict[int, list[int]] = {}
        self.lives: dict[int, float] = {}
        self.objects: dict[int, tuple[int, int, int]] = {}

    def place(self, size_bytes: int) -> int:
        """An object is made: the address at which it lies."""
        units = self.units_of.get(size_bytes) or self._round(size_bytes)
        run = self.runs.get(units)
        start = run.pop() if run else self._find(units, self._is_short(size_bytes))
        self.made += 1
        self.objects[start] = size_bytes, units, self.made
        return start * UNIT_BYTES

    def free(self, address: int) -> None:
        """The object at this address is no more."""
        start = address // UNIT_BYTES
        size_bytes, units, made = self.objects.pop(start)
        life: float = self.made - made
        usual = self.lives.get(size_bytes, life)
        self.lives[size_bytes] = life + (usual - life) * self.life_memory
        self.spots.give(start, units)

    def _is_short(self, size_bytes: int) -> bool:
        return self.lives.get(size_bytes, self.short_life) < self.short_life

    def _round(self, size_bytes: int) -> int:
        units = -(-size_bytes // UNIT_BYTES)
        step = max(1, int((1 << (units - 1).bit_length()) / 2 / self.classes))
        rounded = self.units_of[size_bytes] = -(-units // step) * step
        return rounded

    def _find(self, units: int, is_short: bool) -> int:
        """Take room for an object: of the spots looked at that which costs least."""
        spots, least, found = self.spots, math.inf, (0, 0, 0)
        weight = -self.address_weight if is_short else self.address_weight
        for size in islice(spots.sizes_from(units), self.searched):
            spot = spots.starts[size][-1 if is_short else 0]
            far = spot + size - units
            ends = (spot, far) if size >= UNITS_A_PAGE else (far if is_short else spot,)
            for start in ends:
                cost = size - units + weight * start
                if size >= UNITS_A_PAGE:
                    cost += self.new_page_units * new_pages(start, units, spot, size)
                if cost < least:
                    least, found = cost, (start, spot, size)
        if least == math.inf:
            return self._extend(units)
        start, spot, size = found
        spots.take(spot, size)
        if start > spot:
            spots.give(spot, start - spot)
        if start + units < spot + size:
            spots.give(start + units, spot + size - start - units)
        return start

    def _extend(self, units: int) -> int:
        """Take room at the top, and the rest of a run with it."""
        count = max(1, self.run_units // units)
        start = self.spots.extend(count * units)
        if count > 1:
            self.runs[units] = [start + units * place for place in range(count - 1, 0, -1)]
        return start
