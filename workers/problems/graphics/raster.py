"""The order in which the pixels of a rectangle are filled: in blocks, as rasterizers go."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

Cell = tuple[int, int]
"""Column and row, from 0, of a pixel in its block or of a block in its rectangle."""
REMEMBERED = 64


class Walk(NamedTuple):
    """The rectangle is cut into blocks of so many pixels, smaller at its right and lower ends.

    `blocks` and `pixels` name the order (see ORDERS) of the blocks, and of the pixels in each.
    """

    block_width: int
    block_height: int
    blocks: str
    pixels: str

    def is_possible(self, width: int, height: int) -> bool:
        """Whether a rectangle of so many pixels can be filled so."""
        fits = 1 <= self.block_width <= width and 1 <= self.block_height <= height
        return fits and self.blocks in ORDERS and self.pixels in ORDERS


def _rows(width: int, height: int) -> list[Cell]:
    return [(x, y) for y in range(height) for x in range(width)]


def _columns(width: int, height: int) -> list[Cell]:
    return [(x, y) for x in range(width) for y in range(height)]


def _rows_and_back(width: int, height: int) -> list[Cell]:
    return [(width - 1 - x if y % 2 else x, y) for y in range(height) for x in range(width)]


def _columns_and_back(width: int, height: int) -> list[Cell]:
    return [(x, y) for y, x in _rows_and_back(height, width)]


def _morton(side: int) -> list[Cell]:
    if side == 1:
        return [(0, 0)]
    half = side // 2
    quarter = _morton(half)
    return [(x + right, y + down) for down in (0, half) for right in (0, half) for x, y in quarter]


def _hilbert(side: int) -> list[Cell]:
    if side == 1:
        return [(0, 0)]
    half = side // 2
    quarter = _hilbert(half)
    return [
        *((y, x) for x, y in quarter),
        *((x, y + half) for x, y in quarter),
        *((x + half, y + half) for x, y in quarter),
        *((side - 1 - y, half - 1 - x) for x, y in quarter),
    ]


def _on_curve(curve: Callable[[int], list[Cell]], width: int, height: int) -> list[Cell]:
    """The cells of a rectangle as they come on a curve through the square around it."""
    side = 1 << (max(width, height) - 1).bit_length()
    return [(x, y) for x, y in curve(side) if x < width and y < height]


ORDERS: MappingProxyType[str, Callable[[int, int], list[Cell]]] = MappingProxyType(
    {
        "rows": _rows,
        "columns": _columns,
        "rows_and_back": _rows_and_back,
        "columns_and_back": _columns_and_back,
        "morton": lambda width, height: _on_curve(_morton, width, height),
        "hilbert": lambda width, height: _on_curve(_hilbert, width, height),
    }
)
"""The cells of a grid so wide and so high, each once, in an order.

Rows from left to right, the first at the top, or every second one back; columns likewise; the
curves of G. M. Morton (A Computer Oriented Geodetic Data Base, IBM, 1966) and of D. Hilbert (Ueber
die stetige Abbildung einer Linie auf ein Flaechenstueck, Mathematische Annalen 38, 1891)."""


@lru_cache(REMEMBERED)
def _cells(order: str, width: int, height: int) -> list[Cell]:
    return ORDERS[order](width, height)


@lru_cache(REMEMBERED)
def _offsets(order: str, width: int, height: int, row_pixels: int) -> list[int]:
    """How far the pixels of a block are from its first, in rectangles with rows so long."""
    return [y * row_pixels + x for x, y in _cells(order, width, height)]


def pixels(width: int, height: int, walk: Walk) -> list[int]:
    """The pixels of a rectangle in the order of a walk; one is y * width + x."""
    across, down, blocks, within = walk
    order: list[int] = []
    for column, row in _cells(blocks, -(-width // across), -(-height // down)):
        left, top = column * across, row * down
        block = _offsets(within, min(across, width - left), min(down, height - top), width)
        order.extend(map((top * width + left).__add__, block))
    return order
