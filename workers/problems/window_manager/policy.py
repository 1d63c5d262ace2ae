"""A compositor's merging of damaged rectangles, in two quick passes. Standard library only.

Browsers do it by simple rules. WebKit paints the bounding box of all if there are more than ten
rectangles, or if no more than three quarters of that box would be painted in vain
(`shouldPaintBoundsRect` of its drawing areas; half of it in its `LegacyTileCache`). Firefox joins
rows of rectangles as long as that adds no more than 100 * 100 pixels
(`nsRegion::SimplifyOutwardByArea`). The default values are theirs.

A rectangle is x, y, width, height, a box is left, top, right, bottom; all in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SPECIALIZATION = "window_manager"

PARAMETERS: Mapping[str, float] = {
    "most_rects": 10,
    "whole_waste": 0.75,
    "first": 1,
    "join_pixels": 10000.0,
    "merge_pixels": 10000.0,
    "most_waste": 0.5,
}

Box = tuple[int, int, int, int]


class Policy:
    """Decides which rectangles of a frame are painted as one; whoever calls it paints.

    most_rects    more rectangles than this are painted as one
    whole_waste   so are all if no more than this share of their bounding box is not damaged
    first         whose turn it is first: 0 what came first, 1 the topmost, 2 the leftmost, 3 the
                  largest, 4 the smallest
    join_pixels   a rectangle joins the group where that wastes the fewest pixels, if these are no
                  more than so many; otherwise it begins a group
    merge_pixels  the same for the groups that come of it, which join each other
    most_waste    nothing joins where it wastes more than this share of the box that comes of it

    What a join wastes is the area of the new box without those of the two that are in it.
    """

    def __init__(self, parameters: Mapping[str, float] = PARAMETERS) -> None:
        self.most_rects = int(parameters["most_rects"])
        self.whole_waste = parameters["whole_waste"]
        self.first = int(parameters["first"])
        self.join_pixels = parameters["join_pixels"]
        self.merge_pixels = parameters["merge_pixels"]
        self.most_waste = parameters["most_waste"]

    def merge(self, rects: Sequence[Sequence[int]]) -> list[int]:
        """A frame is painted: the group of each rectangle."""
        boxes = [(x, y, x + width, y + height) for x, y, width, height in rects]
        if len(boxes) > self.most_rects or self._wastes_little(boxes):
            return [0] * len(boxes)
        joined, around = self._join(boxes, self.join_pixels)
        merged, _ = self._join(around, self.merge_pixels)
        return [merged[group] for group in joined]

    def _wastes_little(self, boxes: list[Box]) -> bool:
        """Whether one box around all does."""
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        whole = area((min(lefts), min(tops), max(rights), max(bottoms)))
        return whole - sum(map(area, boxes)) <= self.whole_waste * whole

    def _join(self, boxes: list[Box], most_pixels: float) -> tuple[list[int], list[Box]]:
        """The group of each box, and the box around each group."""
        groups = [0] * len(boxes)
        around: list[Box] = []
        for place in self._order(boxes):
            box = boxes[place]
            group = self._group_for(box, around, most_pixels)
            groups[place] = group
            if group == len(around):
                around.append(box)
            else:
                around[group] = joint(box, around[group])
        return groups, around

    def _order(self, boxes: list[Box]) -> list[int]:
        """The places of the boxes, in the order of their turns."""
        areas = list(map(area, boxes))
        keys = [
            range(len(boxes)),
            [top for _, top, _, _ in boxes],
            [left for left, _, _, _ in boxes],
            [-pixels for pixels in areas],
            areas,
        ][self.first]
        return sorted(range(len(boxes)), key=keys.__getitem__)

    def _group_for(self, box: Box, around: list[Box], most_pixels: float) -> int:
        """The group that a box joins: one of those around which there are boxes, or the next."""
        pixels = area(box)
        best, fewest = len(around), most_pixels
        for group, other in enumerate(around):
            new_pixels = area(joint(box, other))
            wasted = new_pixels - area(other) - pixels
            if wasted <= fewest and wasted <= self.most_waste * new_pixels:
                best, fewest = group, wasted
        return best


def area(box: Box) -> int:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def joint(box: Box, other: Box) -> Box:
    """The box around two."""
    left, top, right, bottom = box
    other_left, other_top, other_right, other_bottom = other
    return (
        left if left < other_left else other_left,
        top if top < other_top else other_top,
        right if right > other_right else other_right,
        bottom if bottom > other_bottom else other_bottom,
    )
