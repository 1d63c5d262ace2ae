"""Damaged rectangles of a screen, and the boxes that a compositor repaints instead of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Protocol

from workers.problems.policies import Interface, WrongAnswer

Rect = tuple[int, int, int, int]
"""x, y, width, height, in pixels; a rectangle has a pixel at least."""
Frame = tuple[Rect, ...]
"""What was damaged since the last time that the screen was painted."""

BOX_COST_PIXELS = 40_000
"""What a box costs beside its pixels: as much as so many more of them. A call to draw something
takes a CPU of 1 GHz about 40 us (25,000 a second: M. Wloka, Batch, Batch, Batch: What Does It
Really Mean?, GDC 2003), in which a modest GPU, of a pixel a nanosecond, fills that many."""

EXACT_RECTS = 16
"""For so many rectangles that are close to each other the best grouping is found."""

INTERFACE = Interface(arguments=(), tells=(), asks={"merge": list[int]})
"""See `MergePolicy`."""


class MergePolicy(Protocol):
    """What decides which rectangles are painted as one."""

    def merge(self, rects: Sequence[Rect]) -> list[int]:
        """A frame is painted: the group of each of its n rectangles, 0..n - 1. The bounding box of
        each group is painted."""


def joint(one: Rect, other: Rect) -> Rect:
    """The smallest rectangle around two."""
    x, y, width, height = one
    left, top, wide, high = other
    new_x, new_y = min(x, left), min(y, top)
    right = max(x + width, left + wide)
    bottom = max(y + height, top + high)
    return new_x, new_y, right - new_x, bottom - new_y


def bounding_box(rects: Iterable[Rect]) -> Rect:
    """The smallest rectangle around one or more."""
    return reduce(joint, rects)


def painted_pixels(boxes: Iterable[Rect]) -> int:
    """What painting boxes costs; where they overlap is painted more than once."""
    return sum(width * height + BOX_COST_PIXELS for _, _, width, height in boxes)


def boxes_of(policy: MergePolicy, frame: Frame) -> list[Rect]:
    """The boxes that a policy paints, in the order of their groups' first rectangles.

    Raises ProblemError unless it names a group for each rectangle.
    """
    answer = policy.merge(frame)
    count = len(frame)
    is_allowed = type(answer) is list and len(answer) == count
    if not (is_allowed and all(type(group) is int and 0 <= group < count for group in answer)):
        rule = "a list with a group, 0..n - 1, for each of the n rectangles"
        raise WrongAnswer("merge", answer, rule)
    groups: dict[int, list[Rect]] = {}
    for group, rect in zip(answer, frame, strict=True):
        groups.setdefault(group, []).append(rect)
    return [bounding_box(group) for group in groups.values()]


def policy_pixels(policy: MergePolicy, frames: Sequence[Frame]) -> float:
    """What a policy lets be painted: pixels a frame. Raises what `boxes_of` does."""
    return sum(painted_pixels(boxes_of(policy, frame)) for frame in frames) / len(frames)


def union_pixels(rects: Iterable[Rect]) -> int:
    """The area that rectangles cover together: the strips between any two of their edges, each as
    often as it is wide."""
    rects = sorted(rects, key=lambda rect: rect[1])
    edges = sorted({edge for x, _, width, _ in rects for edge in (x, x + width)})
    area = 0
    for left, right in pairwise(edges):
        covered, reached = 0, 0
        for x, y, width, height in rects:
            if x <= left and right <= x + width and y + height > reached:
                covered += y + height - max(y, reached)
                reached = y + height
        area += covered * (right - left)
    return area


def fewest_pixels(frame: Frame) -> int:
    """What no grouping of the frame's rectangles can beat, and the best one where it is exact.

    - A rectangle within another costs nothing in the group of that one, so it is left out.
    - What is far apart is not grouped together; see `clusters`.
    - The boxes of a cluster cover the union of its rectangles. So one box is the best, or it takes
      two or more: min(bounding box, union + cost of a box) + cost of a box.
    - For a cluster of EXACT_RECTS or fewer the best grouping is found; see `best_pixels`.

    So it is exact unless a cluster has more than EXACT_RECTS rectangles and a bounding box that is
    larger than their union by more than what a box costs.
    """
    return sum(map(cluster_pixels, clusters(uncontained(frame))))


def cluster_pixels(cluster: Sequence[Rect]) -> int:
    """The bound for rectangles of which no two are far apart; see `fewest_pixels`."""
    whole = painted_pixels([bounding_box(cluster)])
    two = union_pixels(cluster) + 2 * BOX_COST_PIXELS
    if two < whole and len(cluster) <= EXACT_RECTS:
        return best_pixels(cluster)
    return min(whole, two)


def uncontained(frame: Frame) -> list[Rect]:
    """The rectangles that lie within no other, each once."""
    rects = list(dict.fromkeys(frame))
    return [
        one for one in rects if not any(one != other and contains(other, one) for other in rects)
    ]


def contains(outer: Rect, inner: Rect) -> bool:
    x, y, width, height = inner
    left, top = x - outer[0], y - outer[1]
    return 0 <= left <= outer[2] - width and 0 <= top <= outer[3] - height


def clusters(rects: list[Rect]) -> list[list[Rect]]:
    """The rectangles in parts that no best grouping needs to group together.

    A box around rectangles on both sides of an empty strip, g wide and, since it holds some of
    each side, h high at least, can be split into one of each side. As these together are narrower
    by g and neither is higher, it saves g * h pixels or more, and costs another box. So nothing is
    lost if g * h >= BOX_COST_PIXELS, where h is the least height of a rectangle, of that side where
    it is more. The same holds from top to bottom.
    """
    for axis in (0, 1):
        rects = sorted(rects, key=lambda rect: rect[axis])
        end = 0
        for place, rect in enumerate(rects):
            gap = rect[axis] - end
            sides = (rects[:place], rects[place:])
            if place and gap > 0:
                across = max(min(one[3 - axis] for one in side) for side in sides)
                if gap * across >= BOX_COST_PIXELS:
                    return [part for side in sides for part in clusters(side)]
            end = max(end, rect[axis] + rect[axis + 2])
    return [rects]


def best_pixels(rects: Sequence[Rect]) -> int:
    """What the best grouping of rectangles costs, by branch and bound over all of them.

    Groups are filled rectangle by rectangle, and the next is always the one that must cost most:
    into each group it can go, or into a group of its own. A rectangle that is added never makes
    boxes smaller, so a part of a grouping costs no more than the whole. (A. H. Land, A. G. Doig,
    An Automatic Method of Solving Discrete Programming Problems, Econometrica 28(3), 1960.)
    """
    return _best_pixels([], 0, list(rects), painted_pixels([bounding_box(rects)]))


def _best_pixels(boxes: list[Rect], painted: int, left: list[Rect], best: int) -> int:
    """`best`, or what it costs to group those that are left, with groups that have boxes, if that
    is less; these boxes cost `painted`."""
    if not left:
        return min(best, painted)
    choices = [choices_of(rect, boxes) for rect in left]
    hardest = max(range(len(left)), key=lambda place: choices[place][0])
    rest = left[:hardest] + left[hardest + 1 :]
    for more, place, box in choices[hardest]:
        if painted + more >= best:
            break
        best = _best_pixels([*boxes[:place], box, *boxes[place + 1 :]], painted + more, rest, best)
    return best


def choices_of(rect: Rect, boxes: list[Rect]) -> list[tuple[int, int, Rect]]:
    """What each choice for a rectangle costs, which box it changes, and into what; least first."""
    choices = [(painted_pixels([rect]), len(boxes), rect)]
    for place, box in enumerate(boxes):
        grown = joint(rect, box)
        choices.append((grown[2] * grown[3] - box[2] * box[3], place, grown))
    return sorted(choices)
