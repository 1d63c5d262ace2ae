"""Where AIs stand in a picture: on a ring, those of one specialization next to each other.

What they did with each other is drawn inside of it and their names outside, so that neither is in
the other's way however many they are. An AI's place depends on who else is there alone: pictures of
one fleet look alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reports.graph.graph import Edge, Node
from reports.graph.shapes import Curve, Point
from reports.palette import SPECIALIZATION_COLOURS

FEW = 12
"""So many names fit beside each other without being turned."""
MANY = 60
RANKS = {name: rank for rank, name in enumerate([*SPECIALIZATION_COLOURS, ""])}


@dataclass(frozen=True)
class Sizes:
    """Of a fleet of some size, in pixels: letters, the largest disc, how far apart two AIs stand,
    the thickest line."""

    letter: float
    disc: float
    step: float
    line: float

    @staticmethod
    def of(count: int) -> Sizes:
        if count <= FEW:
            return Sizes(letter=15, disc=24, step=78, line=9)
        if count <= MANY:
            return Sizes(letter=13, disc=13, step=30, line=7)
        return Sizes(letter=11, disc=6.5, step=15, line=4)


class Place(NamedTuple):
    """An AI's: ``turn`` is in which direction from the middle, in radians clockwise from the
    right."""

    node: Node
    turn: float
    centre: Point
    radius: float

    def out(self, distance: float) -> Point:
        """So many pixels further out than the middle of its disc."""
        return _polar(math.hypot(*self.centre) + distance, self.turn)


class Ring(NamedTuple):
    """The places by AI, on a circle around 0, 0."""

    places: dict[str, Place]
    radius: float
    sizes: Sizes


def ring_of(nodes: Sequence[Node]) -> Ring:
    """A disc grows in area with its AI's contribution."""
    sizes = Sizes.of(len(nodes))
    ordered = sorted(nodes, key=lambda node: (_rank(node), node.specialization, node.id))
    steps = _steps(ordered)
    round_trip = steps[-1] + 0.5 if steps else 1.0
    radius = max(60 + 36 * min(len(nodes), 4), round_trip * sizes.step / math.tau)
    if len(nodes) == 1:
        radius = 0.0
    begin = math.pi if len(nodes) == 2 else 0.0
    most = max((node.contribution for node in nodes), default=0.0)
    places: dict[str, Place] = {}
    for node, step in zip(ordered, steps, strict=True):
        turn = begin - math.pi / 2 + step / round_trip * math.tau
        disc = sizes.disc * _share(node.contribution, most)
        places[node.id] = Place(node, turn, _polar(radius, turn), disc)
    return Ring(places, radius, sizes)


def curve_of(edge: Edge, ring: Ring, heaviest: int) -> Curve:
    """Bent towards the middle: the more, the further its ends are from each other."""
    start, end = ring.places[edge.a].centre, ring.places[edge.b].centre
    middle = Point((start.x + end.x) / 2, (start.y + end.y) / 2)
    chord, out = math.dist(start, end), math.hypot(*middle)
    if out < 0.1 * ring.radius:  # they stand opposite: not all through one point
        bend = Point(middle.x - (end.y - start.y) * 0.1, middle.y + (end.x - start.x) * 0.1)
    else:
        rest = 1 - min(0.5, 0.7 * chord / out)
        bend = Point(middle.x * rest, middle.y * rest)
    share = math.sqrt(edge.weight / heaviest)
    thick = 1 + (ring.sizes.line - 1) * share
    return Curve(start, bend, end, thick, 0.2 + 0.5 * share, "")


def _steps(ordered: Sequence[Node]) -> list[float]:
    """Where each stands, in steps; where many are, there is a gap between specializations."""
    gap = 0.0 if len(ordered) <= FEW else 0.7
    steps, at = [], 0.5
    for n, node in enumerate(ordered):
        is_other = n > 0 and node.specialization != ordered[n - 1].specialization
        at += (n > 0) + gap * is_other
        steps.append(at)
    return steps


def _share(contribution: float, most: float) -> float:
    """Of the largest radius; a third at least, so that who contributed nothing can be seen."""
    return 0.5 if most <= 0 else 0.33 + 0.67 * math.sqrt(max(0.0, contribution) / most)


def _polar(distance: float, turn: float) -> Point:
    return Point(distance * math.cos(turn), distance * math.sin(turn))


def _rank(node: Node) -> float:
    return RANKS.get(node.specialization, len(RANKS) - 1.5)
