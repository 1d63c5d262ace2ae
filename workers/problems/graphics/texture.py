"""A texture in memory, rectangles of the screen that are filled from it, and the cache between.

The texture is a square of SIDE texels that repeats itself. It lies in memory in tiles, and the
tiles lie in blocks; within a tile, a block and the texture all is stored row by row. A cache line
is LINE_TEXELS texels that follow one another in memory. The cache is set-associative: line n has
its place in set n modulo the number of sets, and there the least recently used one goes. Layouts,
walks and caches are those of Z. S. Hakura and A. Gupta (The Design and Analysis of a Cache
Architecture for Texture Mapping, ISCA 1997): their blocked, padded blocked and 6D blocked
representations and tiled rasterization are among the choices here. A pixel reads one texel, the
nearest; filters would read four or eight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from workers.problems.graphics.raster import ORDERS, Walk, pixels
from workers.problems.policies import Interface, bad_answer, telling

SIDE = 128
LINE_TEXELS = 16
LINE_BYTES = 64
STEPS = 1_024
"""What views are measured in: so many make a texel. All of it is whole numbers."""
MOST_PADDING_LINES = 64
REMEMBERED = 64

INTERFACE = Interface(
    arguments=("texture_side", "cache_lines", "ways"),
    tells=("fetched",),
    asks={"layout": tuple[int, int, int, int], "walk": tuple[int, int, str, str]},
)
"""See `TexturePolicy`; the arguments are the texture's width and height in texels, the lines that
the cache holds, and how many of them are a set."""


class TexturePolicy(Protocol):
    """What decides how a texture lies in memory, and how rectangles are filled from it."""

    def layout(self) -> tuple[int, int, int, int]:
        """Asked once, before anything is known of the views: see `Layout`."""

    def walk(
        self, width: int, height: int, u_x: int, u_y: int, v_x: int, v_y: int
    ) -> tuple[int, int, str, str]:
        """How is a view filled? See `View` for what is known of it, and `Walk`."""

    def fetched(self, lines: int) -> None:
        """The last view has taken so many lines from memory."""


class Layout(NamedTuple):
    """How the texture lies in memory: the size of a tile in texels, how many tiles a block is wide
    and high, and how many lines are left unused after each row of blocks.

    The first three are powers of two. A tile has LINE_TEXELS or more, so a line is part of one
    tile, whatever the rest: 16 x 1 texels if the tile is as wide, 8 x 2 if it is 8 wide, and so on.
    """

    tile_width: int
    tile_height: int
    block_tiles: int
    padding_lines: int

    def is_possible(self) -> bool:
        """Whether the texture can lie so."""
        width, height, tiles, padding_lines = self
        return (
            all(0 < number <= SIDE and not number & (number - 1) for number in self[:3])
            and width * height >= LINE_TEXELS
            and max(width, height) * tiles <= SIDE
            and 0 <= padding_lines <= MOST_PADDING_LINES
        )


ROW_BY_ROW = Layout(SIDE, 1, 1, 0)
LINE_SHAPES = tuple(Layout(width, LINE_TEXELS // width, 1, 0) for width in (1, 2, 4, 8, 16))
"""A layout for each shape that lines can have."""


class View(NamedTuple):
    """A rectangle of the screen, in pixels, and how it lies in the texture.

    A pixel to the right is u_x / STEPS texels to the right and v_x / STEPS down, a pixel down is
    u_y and v_y likewise. The first pixel shows texel u_0, v_0.
    """

    width: int
    height: int
    u_x: int
    u_y: int
    v_x: int
    v_y: int
    u_0: int
    v_0: int


class Cache(NamedTuple):
    """So many lines, in sets of `ways`."""

    lines: int
    ways: int


def row_by_row(view: View) -> Walk:
    """The walk that takes a view for one block."""
    return Walk(view.width, view.height, "rows", "rows")


def texels(view: View) -> tuple[int, ...]:
    """The texel that each pixel of a view reads, row by row; one is v * SIDE + u."""
    width, height, u_x, u_y, v_x, v_y, u_0, v_0 = view
    return tuple(
        (v_0 + (v_x * x + v_y * y) // STEPS) % SIDE * SIDE
        + (u_0 + (u_x * x + u_y * y) // STEPS) % SIDE
        for y in range(height)
        for x in range(width)
    )


@lru_cache(REMEMBERED)
def lines_of(layout: Layout) -> list[int]:
    """The line that each texel of the texture is part of."""
    width, height, tiles, padding_lines = layout
    tile_texels = width * height
    block_width, block_height = width * tiles, height * tiles
    block_texels = tile_texels * tiles * tiles
    blocks_texels = SIDE // block_width * block_texels + padding_lines * LINE_TEXELS
    columns = [
        u // block_width * block_texels + u // width % tiles * tile_texels + u % width
        for u in range(SIDE)
    ]
    rows = [
        v // block_height * blocks_texels
        + v // height % tiles * tiles * tile_texels
        + v % height * width
        for v in range(SIDE)
    ]
    return [(row + column) // LINE_TEXELS for row in rows for column in columns]


def fetched_lines(lines: Iterable[int], cache: Cache) -> int:
    """How many lines are fetched when these are read in order. The cache is empty at first."""
    count = cache.lines // cache.ways
    sets = [[-1] * cache.ways for _ in range(count)]
    fetched, last = 0, -1
    for line in lines:
        if line != last:
            last = line
            kept = sets[line % count]
            if line in kept:
                kept.remove(line)
            else:
                fetched += 1
                del kept[0]
            kept.append(line)
    return fetched


def lines_read(layout: Layout, walk: Walk, view: View, read: Sequence[int]) -> Iterable[int]:
    """The lines that the pixels of a view read, in the order of a walk; `read` are its texels."""
    order = pixels(view.width, view.height, walk)
    return map(lines_of(layout).__getitem__, map(read.__getitem__, order))


def fewest_lines(reads: Sequence[Sequence[int]]) -> int:
    """The fewest lines that any layout and any walks can fetch for views with these texels, if the
    cache is empty before each.

    A view fetches each line that it has a texel of at least once, in whatever order. Which texels
    share a line depends on its shape alone (see `Layout`): tiles, blocks and padding only decide
    where it lies. So the layout that is best if nothing is fetched twice is one of LINE_SHAPES.
    """
    return min(
        sum(len(set(map(lines_of(shape).__getitem__, read))) for read in reads)
        for shape in LINE_SHAPES
    )


def _parts(answer: Any, kinds: Sequence[type]) -> tuple[Any, ...] | None:
    """The parts of an answer if they are of these types, else None."""
    is_typed = isinstance(answer, (tuple, list)) and [type(part) for part in answer] == list(kinds)
    return tuple(answer) if is_typed else None


class Texture:
    """The texture as a policy lays it out and fills views from it, by a cache.

    Raises ProblemError if the policy answers what is no layout or no walk.
    """

    def __init__(self, policy: TexturePolicy, cache: Cache) -> None:
        self.policy = policy
        self.cache = cache
        self.tell_fetched = telling(policy, "fetched")
        answer = policy.layout()
        parts = _parts(answer, (int, int, int, int))
        if parts is None or not Layout(*parts).is_possible():
            rule = (
                f"tile width, tile height, tiles a block: powers of two, tiles of {LINE_TEXELS} "
                f"texels or more, blocks of {SIDE} x {SIDE} or less; 0..{MOST_PADDING_LINES} lines"
            )
            raise bad_answer("layout", answer, tuple[int, int, int, int], rule)
        self.layout = Layout(*parts)

    def fill(self, view: View, read: Sequence[int]) -> int:
        """How many lines a view fetches; `read` are its texels. The cache is empty at first."""
        walk = self._walk(view)
        lines = fetched_lines(lines_read(self.layout, walk, view, read), self.cache)
        self.tell_fetched(lines)
        return lines

    def _walk(self, view: View) -> Walk:
        """What the policy chooses."""
        answer = self.policy.walk(*view[:6])
        parts = _parts(answer, (int, int, str, str))
        if parts is None or not Walk(*parts).is_possible(view.width, view.height):
            rule = (
                f"a block of 1..{view.width} x 1..{view.height} pixels, two of {', '.join(ORDERS)}"
            )
            raise bad_answer("walk", answer, tuple[int, int, str, str], rule)
        return Walk(*parts)
