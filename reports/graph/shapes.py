"""What a drawing is made of, in pixels from its upper left corner; colours are names of a theme's
parts or #rrggbb."""

from __future__ import annotations

import math
import unicodedata
from typing import Literal, NamedTuple

Tone = Literal["ink", "muted"]
Anchor = Literal["start", "middle", "end"]
ROUNDING = 5.0
"""Of a plate's corners."""


class Point(NamedTuple):
    x: float
    y: float


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, at: Point) -> bool:
        return self.left < at.x < self.right and self.top < at.y < self.bottom

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Curve(NamedTuple):
    """A line bent towards ``bend``, so ``thick`` and with so much ``opacity`` (0 to 1). A shape
    leads to ``href``, "" for nowhere."""

    start: Point
    bend: Point
    end: Point
    thick: float
    opacity: float
    title: str
    href: str = ""

    def at(self, part: float) -> Point:
        """The point at which ``part`` of the way (0 to 1) lies behind."""
        a, b, c = (1 - part) ** 2, 2 * part * (1 - part), part**2
        return Point(
            a * self.start.x + b * self.bend.x + c * self.end.x,
            a * self.start.y + b * self.bend.y + c * self.end.y,
        )

    def moved(self, x: float, y: float) -> Curve:
        start, bend, end = (Point(at.x + x, at.y + y) for at in self[:3])
        return self._replace(start=start, bend=bend, end=end)


class Disc(NamedTuple):
    centre: Point
    radius: float
    colour: str
    title: str
    href: str = ""

    @property
    def box(self) -> Box:
        (x, y), r = self.centre, self.radius
        return Box(x - r, y - r, x + r, y + r)

    def moved(self, x: float, y: float) -> Disc:
        return self._replace(centre=Point(self.centre.x + x, self.centre.y + y))


class Plate(NamedTuple):
    """A piece of paper that keeps the words on it apart from what lies below."""

    box: Box

    def moved(self, x: float, y: float) -> Plate:
        left, top, right, bottom = self.box
        return Plate(Box(left + x, top + y, right + x, bottom + y))


class Words(NamedTuple):
    """A line of text whose middle is as high as ``at``. ``turn`` is in degrees, clockwise around
    ``at``."""

    at: Point
    text: str
    size: float
    anchor: Anchor = "start"
    tone: Tone = "ink"
    turn: float = 0.0
    is_bold: bool = False
    title: str = ""
    href: str = ""

    @property
    def box(self) -> Box:
        """What it covers; of turned text the upright box around it."""
        width, half = width_of(self.text, self.size, self.is_bold), self.size * 0.6
        before = {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        x, y = self.at
        if not self.turn:
            return Box(x - before, y - half, x - before + width, y + half)
        return _turned_box(self.at, -before, width - before, half, self.turn)

    def moved(self, x: float, y: float) -> Words:
        return self._replace(at=Point(self.at.x + x, self.at.y + y))


Shape = Curve | Disc | Plate | Words


class Drawing(NamedTuple):
    """Shapes from the lowest to the uppermost; ``title`` and ``about`` say what can be seen."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    title: str
    about: str


def width_of(text: str, size: float, is_bold: bool = False) -> float:
    """About how wide a text is in the fonts it may be shown in, rather more than less."""
    return size * (1.13 if is_bold else 1.0) * sum(map(_width_of, text))


def _width_of(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if character in " .,:;!|'()[]/ijltfr-":
        return 0.4
    return 0.9 if character in "mwMWQ@%" else 0.68 if character.isupper() else 0.6


def _turned_box(at: Point, begin: float, end: float, half: float, turn: float) -> Box:
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [
        (at.x + along * cosine - across * sine, at.y + along * sine + across * cosine)
        for along in (begin, end)
        for across in (-half, half)
    ]
    xs, ys = zip(*corners, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))
