"""A policy that fills rectangles in strips as wide as the cache can bear. Standard library only.

The texture is stored in tiles of one cache line, and tiles in blocks, so that what is near on the
screen is near in memory whatever the angle; a rectangle is filled in blocks of pixels, so that the
lines at the end of one are still there when the next is begun (Z. S. Hakura, A. Gupta, The Design
and Analysis of a Cache Architecture for Texture Mapping, ISCA 1997). Blocks that follow one another
make a strip. How wide a strip may be is guessed from how many lines its width reads, as seen
from the view's angle and scale, and corrected by what was fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

SPECIALIZATION = "graphics"

PARAMETERS: Mapping[str, float] = {
    "line_width_log2": 2,
    "block_tiles_log2": 0,
    "padding_lines": 0,
    "strip_share": 0.5,
    "depth_lines": 1.0,
    "turn_bias": 1.0,
    "curve": 0,
    "correction": 1.1,
}

LINE_TEXELS = 16
STEPS = 1_024
NARROWEST_SHARE, WIDEST_SHARE = 0.05, 8.0
ALONG, AND_BACK, HILBERT = range(3)


class Policy:
    """Decides how a texture lies in memory and how views are filled; whoever calls it holds both.

    line_width_log2   a tile is one line, so many times 2 wide: 0 is 1 x 16 texels, 4 is 16 x 1
    block_tiles_log2  a block is so many times 2 tiles wide and high
    padding_lines     lines left unused after each row of blocks
    strip_share       a strip's width reads so many of the cache's lines (1: all of them) ...
    depth_lines       ... and is filled in blocks so long, in lines as well, pixels running along
    turn_bias         strips run down if so many times the lines across are fewer than those down
    curve             0: strips begin at the same side, 1: every second one runs back, 2: no strips,
                      blocks follow Hilbert's curve
    correction        after a view strips are made narrower or wider by this factor, the other way
                      than before when more than before was fetched for a texel; 1: never
    """

    def __init__(
        self,
        texture_side: int,
        cache_lines: int,
        ways: int,
        parameters: Mapping[str, float] = PARAMETERS,
    ) -> None:
        self.tile_width = 1 << int(parameters["line_width_log2"])
        self.tile_height = LINE_TEXELS // self.tile_width
        most_tiles = texture_side // max(self.tile_width, self.tile_height)
        self.block_tiles = min(most_tiles, 1 << int(parameters["block_tiles_log2"]))
        self.padding_lines = int(parameters["padding_lines"])
        self.cache_lines = cache_lines
        self.strip_share = parameters["strip_share"]
        self.depth_lines = parameters["depth_lines"]
        self.turn_bias = parameters["turn_bias"]
        self.curve = int(parameters["curve"])
        self.correction = parameters["correction"]
        self.expected_lines = 1.0
        self.excess = 0.0

    def layout(self) -> tuple[int, int, int, int]:
        """How the texture lies in memory."""
        return self.tile_width, self.tile_height, self.block_tiles, self.padding_lines

    def walk(
        self, width: int, height: int, u_x: int, u_y: int, v_x: int, v_y: int
    ) -> tuple[int, int, str, str]:
        """How a view is filled: the size of the blocks, their order, and that of their pixels."""
        texels = abs(u_x * v_y - u_y * v_x) / STEPS**2 * width * height
        self.expected_lines = max(1.0, texels / LINE_TEXELS)
        right, down = self._lines_a_pixel(u_x, v_x), self._lines_a_pixel(u_y, v_y)
        strip_lines = self.strip_share * self.cache_lines
        back = "_and_back" if self.curve == AND_BACK else ""
        if self.curve == HILBERT:
            wide, high, blocks, pixels = strip_lines, strip_lines, "hilbert", "rows"
        elif self.turn_bias * width * right < height * down:
            wide, high, blocks, pixels = strip_lines, self.depth_lines, f"columns{back}", "columns"
        else:
            wide, high, blocks, pixels = self.depth_lines, strip_lines, f"rows{back}", "rows"
        return _pixels(wide / right, width), _pixels(high / down, height), blocks, pixels

    def fetched(self, lines: int) -> None:
        """The view has taken so many lines from memory."""
        excess = lines / self.expected_lines
        if excess > self.excess:
            self.correction = 1 / self.correction
        self.excess = excess
        share = self.strip_share * self.correction
        self.strip_share = min(WIDEST_SHARE, max(NARROWEST_SHARE, share))

    def _lines_a_pixel(self, u: int, v: int) -> float:
        """About how many lines a step of a pixel leads on."""
        return max(1.0, abs(u) / self.tile_width + abs(v) / self.tile_height) / STEPS


def _pixels(count: float, most: int) -> int:
    """The whole number next to it, of 1..most."""
    return max(1, min(most, round(count)))
