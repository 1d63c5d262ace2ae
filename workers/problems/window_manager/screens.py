"""What changes on a screen, by models instead of recordings.

Each model goes on for ever, frame by frame. They are ours: no source says how often what changes,
so those numbers are round ones, and none was chosen by how any policy scores. Terminals tell their
damage as in the recordings (`scripts/record_damage.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from workers.problems.draws import ByRank, Draws
from workers.problems.window_manager.damage import Frame, Rect

WIDTH_PIXELS, HEIGHT_PIXELS = 1_920, 1_080
CELL_WIDTH, CELL_HEIGHT = 8, 16
WINDOWS, SMALLEST_PART = 5, 0.3
MOST_AT_ONCE = 3
SCROLLED, REDRAWN = 0.1, 0.3
TYPED_CELLS, STATUS_CELLS = 8, 16
WIDGETS, MOST_WIDGETS = 40, 30
MOVERS, MOVED, FASTEST_PIXELS = 8, 0.5, 48
SMALLEST_PIXELS, LARGEST_PIXELS = 16, 480


def windows(draws: Draws) -> list[Rect]:
    """The screen in WINDOWS, as a tiling window manager divides it: always the largest of them, at
    a cell somewhere along its longer side."""
    parts = [(0, 0, WIDTH_PIXELS, HEIGHT_PIXELS)]
    while len(parts) < WINDOWS:
        parts.sort(key=lambda part: part[2] * part[3])
        x, y, width, height = parts.pop()
        share = SMALLEST_PART + draws.uniform() * (1 - 2 * SMALLEST_PART)
        if width > height:
            left = int(width * share) // CELL_WIDTH * CELL_WIDTH
            parts += [(x, y, left, height), (x + left, y, width - left, height)]
        else:
            top = int(height * share) // CELL_HEIGHT * CELL_HEIGHT
            parts += [(x, y, width, top), (x, y + top, width, height - top)]
    return parts


class Terminal:
    """A window with lines of text, of which a redraw changes some and not others."""

    def __init__(self, window: Rect, draws: Draws) -> None:
        self.x, self.y, width, height = self.window = window
        self.draws = draws
        self.columns, self.rows = width // CELL_WIDTH, height // CELL_HEIGHT
        self.redrawn_share = draws.uniform()

    def change(self) -> Iterator[Rect]:
        """It scrolls, or lines are redrawn, or something is typed and the status line tells it."""
        draws = self.draws
        kind = draws.uniform()
        if kind < SCROLLED:
            yield self.window
        elif kind < SCROLLED + REDRAWN:
            for row in range(self.rows):
                if draws.happens(self.redrawn_share):
                    first, last = sorted(draws.below(self.columns) for _ in range(2))
                    yield self._cells(row, first, last - first + 1)
        else:
            for row, most_cells in (
                (draws.below(self.rows - 1), TYPED_CELLS),
                (self.rows - 1, STATUS_CELLS),
            ):
                count = 1 + draws.below(most_cells)
                yield self._cells(row, draws.below(self.columns - count + 1), count)

    def _cells(self, row: int, column: int, count: int) -> Rect:
        x, y = self.x + column * CELL_WIDTH, self.y + row * CELL_HEIGHT
        return x, y, count * CELL_WIDTH, CELL_HEIGHT


def terminals(draws: Draws) -> Iterator[Frame]:
    """Terminals of which up to MOST_AT_ONCE change in a frame, some more often than others."""
    some = [Terminal(window, draws) for window in windows(draws)]
    which = ByRank(len(some), draws)
    while True:
        changed = {which.choose() for _ in range(1 + draws.below(MOST_AT_ONCE))}
        yield tuple(rect for place in sorted(changed) for rect in some[place].change())


def sizes(count: int, draws: Draws) -> list[tuple[int, int]]:
    """Widths and heights, many small ones and a few large ones."""
    widths, heights = (
        map(int, draws.heavy_tailed(count, SMALLEST_PIXELS, LARGEST_PIXELS)) for _ in range(2)
    )
    return list(zip(widths, heights, strict=True))


def widgets(draws: Draws) -> Iterator[Frame]:
    """Buttons, bars, pictures, each at its place in a window; some change more often than others,
    and those of a window are neighbours."""
    areas = windows(draws)
    some = [within(areas[draws.below(WINDOWS)], size, draws) for size in sizes(WIDGETS, draws)]
    which = ByRank(WIDGETS, draws)
    while True:
        changed = {which.choose() for _ in range(1 + draws.below(MOST_WIDGETS))}
        yield tuple(some[place] for place in sorted(changed))


def within(area: Rect, size: tuple[int, int], draws: Draws) -> Rect:
    """A rectangle of a size, or as large as there is room for, anywhere within an area."""
    x, y, most_wide, most_high = area
    width, height = min(size[0], most_wide), min(size[1], most_high)
    left, top = draws.below(most_wide - width + 1), draws.below(most_high - height + 1)
    return x + left, y + top, width, height


@dataclass
class Mover:
    """Something that moves over the screen, some pixels a frame, and turns back at its edges."""

    rect: Rect
    right_pixels: int
    down_pixels: int

    def move(self) -> Iterator[Rect]:
        """What is damaged: where it was, and where it is now."""
        yield self.rect
        x, y, width, height = self.rect
        if not 0 <= x + self.right_pixels <= WIDTH_PIXELS - width:
            self.right_pixels = -self.right_pixels
        if not 0 <= y + self.down_pixels <= HEIGHT_PIXELS - height:
            self.down_pixels = -self.down_pixels
        self.rect = (x + self.right_pixels, y + self.down_pixels, width, height)
        yield self.rect


def moves(draws: Draws) -> Iterator[Frame]:
    """Windows that are dragged, a pointer, sprites: each moves in some frames and not in others."""
    screen = (0, 0, WIDTH_PIXELS, HEIGHT_PIXELS)
    speeds = range(-FASTEST_PIXELS, FASTEST_PIXELS + 1)
    some = [
        Mover(within(screen, size, draws), *(speeds[draws.below(len(speeds))] for _ in range(2)))
        for size in sizes(MOVERS, draws)
    ]
    while True:
        yield tuple(rect for one in some if draws.happens(MOVED) for rect in one.move())


MODELS: MappingProxyType[str, Callable[[Draws], Iterator[Frame]]] = MappingProxyType(
    {"terminals": terminals, "widgets": widgets, "moves": moves}
)
