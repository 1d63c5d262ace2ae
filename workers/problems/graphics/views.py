"""Rectangles of the screen that show a part of a texture, by models.

Seen from not too near, a texture on a surface is moved, turned and stretched, and no more (P. S.
Heckbert, Survey of Texture Mapping, IEEE Computer Graphics and Applications 6(11), 1986); and mip
maps see to it that a pixel is about a texel apart from the next (L. Williams, Pyramidal
Parametrics, SIGGRAPH 1983). Only on floors pixels are farther apart: the mip map that is right for
them in one direction is too fine in the other. What no source gives is a round number, and none was
chosen by how any policy scores.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from types import MappingProxyType

from workers.problems.draws import Draws
from workers.problems.graphics.texture import SIDE, STEPS, View

SIZES = ((32, 72), (40, 58), (48, 48), (58, 40), (72, 32))
"""Of rectangles, in pixels: about as many in each."""
EIGHTH_TURN = sqrt(2) - 1
"""As all turns here, the tangent of half the angle: so cosine and sine take no more than + - * /,
and are the same on every machine."""
SLIGHT_TURN, SLANTED_TURN = 1 / 12, 1 / 6
SMALLEST_SCALE, LARGEST_SCALE = 0.7, 1.4
MOST_FORESHORTENED = 4.0

Direction = tuple[float, float]
"""Cosine and sine of an angle."""


def _turned(most: float, draws: Draws) -> Direction:
    """A direction within so much of upright, to either side."""
    turn = most * (2 * draws.uniform() - 1)
    return (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)


def _quarter_turns(direction: Direction, count: int) -> Direction:
    cosine, sine = direction
    for _ in range(count):
        cosine, sine = -sine, cosine
    return cosine, sine


def _view(direction: Direction, u_scale: float, v_scale: float, draws: Draws) -> View:
    """A view of any size, anywhere in the texture; scales are texels a pixel."""
    cosine, sine = direction
    width, height = SIZES[draws.below(len(SIZES))]
    u_x, u_y = round(STEPS * u_scale * cosine), round(-STEPS * u_scale * sine)
    v_x, v_y = round(STEPS * v_scale * sine), round(STEPS * v_scale * cosine)
    return View(width, height, u_x, u_y, v_x, v_y, draws.below(SIDE), draws.below(SIDE))


def page(draws: Draws) -> View:
    """Nearly upright or, one in four, on its side, as pages are, at their own size."""
    direction = _turned(SLIGHT_TURN, draws)
    return _view(_quarter_turns(direction, int(draws.happens(1 / 4))), 1, 1, draws)


def sprite(draws: Draws) -> View:
    """At any angle, smaller or larger."""
    direction = _quarter_turns(_turned(EIGHTH_TURN, draws), draws.below(4))
    scale = SMALLEST_SCALE + (LARGEST_SCALE - SMALLEST_SCALE) * draws.uniform()
    return _view(direction, scale, scale, draws)


def floor(draws: Draws) -> View:
    """Seen at a slant, so foreshortened in one direction of the texture."""
    foreshortened = 1 + (MOST_FORESHORTENED - 1) * draws.uniform()
    return _view(_turned(SLANTED_TURN, draws), 1, foreshortened, draws)


def any_of_them(draws: Draws) -> View:
    """A page, a sprite or a floor."""
    return (page, sprite, floor)[draws.below(3)](draws)


MODELS: MappingProxyType[str, Callable[[Draws], View]] = MappingProxyType(
    {"pages": page, "sprites": sprite, "floors": floor, "mixed": any_of_them}
)
"""What a view is like, by what a texture is used for."""
