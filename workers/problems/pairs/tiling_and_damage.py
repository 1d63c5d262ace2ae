"""A screen whose damage is merged by one policy and painted from a texture by another's walks.

What is damaged in a frame is grouped, and the box around each group is filled from a texture. Each
box has its cost, whatever its size, so how much may be painted in vain to have one box less depends
on what a pixel takes, which is up to layout and walks; and the boxes are what layout and walks must
be good for. So what is best for one policy depends on the other. The cost is what is fetched from
memory, in bytes a frame, and BOX_COST_BYTES for each box. Baseline is one box around all that is
damaged, filled row by row from a texture that is stored row by row.

A workload is one or two recorded runs of `window_manager`, FRAMES of their frames in equal shares,
evenly from the first to the last. CACHES show them in turns, one scenario each. The texture lies
turned, as pages do (see `views`), and otherwise in each frame, as if it had been moved between any
two of them; that is drawn by the name of the run. To be quick to paint, the screen is 1 / SCALE as
wide and as high as it was when it was recorded, and boxes grow to whole pixels.

A generated workload has the models in `screens`, each by each cache, GENERATED frames a scenario.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from types import MappingProxyType

from workers.problems.draws import Draws
from workers.problems.graphics.problem import CACHES as ALONE
from workers.problems.graphics.problem import TextureWalk
from workers.problems.graphics.texture import (
    LINE_BYTES,
    LINE_SHAPES,
    ROW_BY_ROW,
    SIDE,
    Cache,
    Texture,
    TexturePolicy,
    View,
    fetched_lines,
    lines_of,
    lines_read,
    row_by_row,
    texels,
)
from workers.problems.graphics.views import page
from workers.problems.material import development, held_out, recorded_workloads, recording
from workers.problems.pair import PairProblem
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem
from workers.problems.window_manager.damage import (
    BOX_COST_PIXELS,
    Frame,
    MergePolicy,
    Rect,
    bounding_box,
    boxes_of,
)
from workers.problems.window_manager.problem import (
    MOST_GENERATED_RECTS,
    DamageMerging,
    recorded_frames,
    spread,
)
from workers.problems.window_manager.screens import MODELS

SCALE = 16
CACHES = tuple(Cache(2 * lines, ways) for lines, ways in ALONE)
"""Larger than those of `graphics` as boxes are: up to the whole screen."""
BOX_COST_BYTES = BOX_COST_PIXELS // SCALE**2 * LINE_BYTES
"""What a box costs beside its pixels: as much as so many pixels, as for `window_manager`, and here
each of these as if it had fetched a line."""
FRAMES = 72
GENERATED = 24
PROGRAMS = ("write", "watch", "read", "mixed")
WORKLOADS = recorded_workloads(PROGRAMS)
TEXTURE, DAMAGE = "texture.", "damage."


@dataclass(frozen=True)
class Picture:
    """What was damaged in a frame, and the part of the screen around it.

    That begins at `left`, `top`, in pixels of the smaller screen; `view` is how it lies in the
    texture, `read` the texels of its pixels row by row.
    """

    rects: Frame
    left: int
    top: int
    view: View
    read: tuple[int, ...]

    def part(self, box: Rect) -> tuple[View, list[int]]:
        """The view of a box in it, and the texels of that; boxes are in pixels of the recording."""
        x, y, width, height = smaller(box)
        row = self.view.width
        begin = (y - self.top) * row + x - self.left
        rows = (self.read[at : at + width] for at in range(begin, begin + height * row, row))
        return self.view._replace(width=width, height=height), list(chain.from_iterable(rows))


@dataclass(frozen=True)
class Outcome:
    """What painting showed, each a frame: the cost in bytes, boxes, and pixels painted."""

    cost: float
    boxes: float
    pixels: float


@dataclass(frozen=True)
class Scenario:
    """Pictures and a cache; see `Outcome` for the baseline. `bound` is bytes a frame."""

    name: str
    cache: Cache
    pictures: tuple[Picture, ...]
    baseline: Outcome
    bound: float


def smaller(box: Rect) -> Rect:
    """The pixels of the smaller screen that a box has a part in."""
    x, y, width, height = box
    left, top = x // SCALE, y // SCALE
    return left, top, -(-(x + width) // SCALE) - left, -(-(y + height) // SCALE) - top


def picture(rects: Frame, draws: Draws) -> Picture:
    """What was damaged in a frame, on a screen that shows the texture turned somehow."""
    left, top, width, height = smaller(bounding_box(rects))
    view = page(draws)._replace(width=width, height=height)
    return Picture(rects, left, top, view, texels(view))


def paint(
    pictures: Sequence[Picture],
    its_cache: Cache,
    texture_policy: TexturePolicy,
    merge_policy: MergePolicy,
) -> Outcome:
    """Paint pictures under two policies. Raises ProblemError if one breaks its rules."""
    texture = Texture(texture_policy, its_cache)
    lines = boxes = pixels = 0
    for one in pictures:
        for box in boxes_of(merge_policy, one.rects):
            view, read = one.part(box)
            lines += texture.fill(view, read)
            boxes += 1
            pixels += len(read)
    return outcome(len(pictures), lines, boxes, pixels)


def outcome(frames: int, lines: int, boxes: int, pixels: int) -> Outcome:
    """The outcome of so many frames, from what they took together."""
    cost_bytes = lines * LINE_BYTES + boxes * BOX_COST_BYTES
    return Outcome(cost_bytes / frames, boxes / frames, pixels / frames)


def painted_plainly(pictures: Sequence[Picture], its_cache: Cache) -> Outcome:
    """The baseline: what is around all damage, row by row."""
    lines = sum(
        fetched_lines(lines_read(ROW_BY_ROW, row_by_row(one.view), one.view, one.read), its_cache)
        for one in pictures
    )
    count = len(pictures)
    return outcome(count, lines, count, sum(len(one.read) for one in pictures))


def bound_bytes(pictures: Sequence[Picture]) -> float:
    """What no two policies can beat, in bytes a frame; loose.

    For the shape of lines that is best for all frames together: a frame is painted as one box, and
    so fetches each line of that once at least; or as two or more, which hold all that is damaged,
    and so fetch each line of the damage once at least. It is the less of these, with what one box
    or two cost. Left out is what boxes paint in vain, and what the cache cannot keep.
    """
    damage = [set(damaged(one)) for one in pictures]
    return min(
        sum(
            min(
                lines_in(shape, one.read) * LINE_BYTES + BOX_COST_BYTES,
                lines_in(shape, read) * LINE_BYTES + 2 * BOX_COST_BYTES,
            )
            for one, read in zip(pictures, damage, strict=True)
        )
        for shape in map(lines_of, LINE_SHAPES)
    ) / len(pictures)


def damaged(one: Picture) -> Iterator[int]:
    """The texels of what is damaged in a picture."""
    for rect in one.rects:
        yield from one.part(rect)[1]


def lines_in(shape: Sequence[int], read: Iterable[int]) -> int:
    """How many lines have these texels; `shape` has the line of each texel."""
    return len(set(map(shape.__getitem__, read)))


def recorded_scenarios(run: str, count: int) -> Iterator[Scenario]:
    """So many frames of a recorded run, by the caches in turns."""
    frames = spread(recorded_frames(recording(f"damage-{run}")), count)
    for place, its_cache in enumerate(CACHES):
        draws = Draws(run.encode(), f"screen/{place}")
        yield scenario(run, its_cache, frames[place :: len(CACHES)], draws)


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Each model by each cache, with frames of its own."""
    for model, its_cache in product(MODELS, CACHES):
        screen = f"{model}/{its_cache.lines}/{its_cache.ways}"
        frames = MODELS[model](Draws(seed, f"screen/{screen}"))
        usable = (frame for frame in frames if 1 < len(frame) <= MOST_GENERATED_RECTS)
        views = Draws(seed, f"turned/{screen}")
        yield scenario(model, its_cache, list(islice(usable, GENERATED)), views)


def scenario(name: str, its_cache: Cache, frames: Sequence[Frame], draws: Draws) -> Scenario:
    """The scenario of frames by a cache."""
    pictures = tuple(picture(rects, draws) for rects in frames)
    return Scenario(
        f"{name}/{its_cache.lines} lines in sets of {its_cache.ways}",
        its_cache,
        pictures,
        painted_plainly(pictures, its_cache),
        bound_bytes(pictures),
    )


class TilingAndDamage(PairProblem):
    """The joint problem of `graphics` and `window_manager`; costs are bytes a frame.

    `Score.beside` has `boxes` and `pixels`, what is painted a frame, and the baseline's
    `baseline_pixels`; that paints one box.
    """

    name = "tiling_and_damage"
    cost_unit = "bytes/frame"
    about = About(
        decides="which damage is painted as one box, and how boxes are filled from a texture",
        workload="recorded damage of terminals on a desktop, on a screen that is turned",
        baseline="one bounding box around all, texture and box row by row",
        bound="each line of what is damaged fetched once, and one box or two; loose",
    )
    parts: Mapping[str, SingleProblem] = MappingProxyType(
        {TEXTURE: TextureWalk(), DAMAGE: DamageMerging()}
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)
    beside = ("boxes", "pixels")

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        runs = WORKLOADS[workload]
        return tuple(one for run in runs for one in recorded_scenarios(run, FRAMES // len(runs)))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `screens`, by each cache."""
        return tuple(generated_scenarios(seed))

    def replay(
        self, scenario: Scenario, make_texture_policy: Maker, make_merge_policy: Maker
    ) -> Outcome:
        """What painting under any two policies shows."""
        texture_policy = make_texture_policy(SIDE, *scenario.cache)
        return paint(scenario.pictures, scenario.cache, texture_policy, make_merge_policy())
