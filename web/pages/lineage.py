"""Who built on whom, drawn: what a record was begun from at its left, what was begun from it at its
right, a column for each generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from coordinator.keys import RecordKey
from coordinator.lineage import Edge
from coordinator.lineage_reads import Lineage
from coordinator.messages import one_line
from coordinator.reads import Item
from coordinator.validation.models import shown_word
from reports import formats

BOX_WIDTH, BOX_HEIGHT = 176, 42
STEP_X, STEP_Y = 232, 54
BEND = (STEP_X - BOX_WIDTH) // 2
MARGIN = 6
NAME_CHARS = 21


class Box(NamedTuple):
    """A record of the picture, ``generation`` steps after the root, before it if that is below 0.
    ``x`` and ``y`` are of its upper left corner, in pixels; ``parents`` are those in the picture.
    """

    key: RecordKey
    node: Item
    generation: int
    x: int
    y: int
    parents: Sequence[RecordKey]
    width: int = BOX_WIDTH
    height: int = BOX_HEIGHT

    @property
    def short_name(self) -> str:
        """Its id as far as there is room: beginning and end, which tell most ids apart."""
        shown = one_line(self.key.id)
        half = (NAME_CHARS - 1) // 2
        return shown if len(shown) <= NAME_CHARS else f"{shown[:half]}…{shown[-half:]}"

    @property
    def standing(self) -> str:
        """How it was judged, in a word or a score."""
        if self.node["is_gone"]:
            return "taken back"
        if self.node["quality_score"] is not None:
            return formats.percent(self.node["quality_score"])
        return formats.name(shown_word(self.node["verdict"] or self.key.kind))

    @property
    def about(self) -> str:
        """All of it in a line."""
        maker = f" of {formats.name(self.node['contributor'])}" if self.node["contributor"] else ""
        return f"{self.key.kind} {formats.name(self.key.id)}{maker}: {self.standing}"


class Line(NamedTuple):
    """``path`` leads from a parent to its child; a use, if that is of another AI."""

    path: str
    is_use: bool


class Picture(NamedTuple):
    """The records by generation, the oldest first; ``is_cut`` says that there are more."""

    width: int
    height: int
    boxes: Sequence[Box]
    lines: Sequence[Line]
    is_cut: bool


def picture_of(found: Lineage) -> Picture:
    """``found`` around its one root."""
    (root,) = found.roots
    edges = list(dict.fromkeys([*found.ancestry, *found.progeny]))
    columns = _columns(root, found)
    tallest = max(map(len, columns.values()))
    corners = {
        key: (MARGIN + n * STEP_X, MARGIN + row * STEP_Y)
        for n, column in enumerate(columns.values())
        for row, key in enumerate(column)
    }
    boxes = [
        Box(key, found.nodes[key], generation, *corners[key], _parents_of(key, edges))
        for generation, column in columns.items()
        for key in column
    ]
    lines = [Line(_path(corners[one.parent], corners[one.child]), one.is_use) for one in edges]
    width = (len(columns) - 1) * STEP_X + BOX_WIDTH + BEND + 2 * MARGIN
    height = (tallest - 1) * STEP_Y + BOX_HEIGHT + 2 * MARGIN
    return Picture(width, height, boxes, lines, found.is_cut)


def _columns(root: RecordKey, found: Lineage) -> dict[int, list[RecordKey]]:
    """The records of each generation, the oldest first. Strangers may have written a circle: what
    comes before the root is not after it, too."""
    before = _levels(root, ((one.child, one.parent) for one in found.ancestry))
    after = _levels(root, ((one.parent, one.child) for one in found.progeny))
    ancestors = {key for level in before for key in level}
    columns = {-n: level for n, level in reversed([*enumerate(before, 1)])} | {0: [root]}
    columns |= {
        n: [key for key in level if key not in ancestors] for n, level in enumerate(after, 1)
    }
    return {generation: column for generation, column in columns.items() if column}


def _levels(root: RecordKey, steps: Iterable[tuple[RecordKey, RecordKey]]) -> list[list[RecordKey]]:
    """What ``steps`` lead to from the ``root``, by how many there are on the shortest way. In each
    level records stand in the order of those that lead to them, so that few lines cross."""
    next_of: dict[RecordKey, list[RecordKey]] = {}
    for near, far in steps:
        next_of.setdefault(near, []).append(far)
    levels: list[list[RecordKey]] = []
    seen, level = {root}, [root]
    while level:
        places: dict[RecordKey, list[int]] = {}
        for place, near in enumerate(level):
            for far in next_of.get(near, ()):
                if far not in seen:
                    places.setdefault(far, []).append(place)
        level = sorted(places, key=lambda key: (fmean(places[key]), key))
        seen.update(level)
        levels.append(level)
    return levels


def _parents_of(key: RecordKey, edges: Iterable[Edge]) -> list[RecordKey]:
    return [one.parent for one in edges if one.child == key]


def _path(parent: tuple[int, int], child: tuple[int, int]) -> str:
    """From the right of one box to the left of the other, or to its right if there is no way."""
    (x0, y0), (x1, y1) = parent, child
    is_onward = x1 > x0
    x0, y0, y1 = x0 + BOX_WIDTH, y0 + BOX_HEIGHT // 2, y1 + BOX_HEIGHT // 2
    x1 += 0 if is_onward else BOX_WIDTH
    bend = -BEND if is_onward else BEND
    return f"M{x0} {y0}C{x0 + BEND} {y0} {x1 + bend} {y1} {x1} {y1}"
