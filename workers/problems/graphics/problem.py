"""Texture mapping: how a texture lies in memory, and in what order rectangles are filled from it.

A scenario is one texture, a small cache, and VIEWS views of the texture by a model in `views`. The
policy chooses the layout before it knows of any view, and then, view by view, the order of the
pixels; `texture` says what is fetched. The cost is what is fetched from memory, in bytes a pixel.
Each view begins with an empty cache, as if much else was drawn between two of them.

Baseline is a texture that is stored row by row, and rectangles that are filled row by row, each as
a whole. For most views that takes a larger cache, since a row of pixels reads more lines than it
holds. The bound counts each line once that a view has a texel of, for the shape of lines that is
best for all views together (see `texture.fewest_lines`). That is exact for a cache that holds all
that a view reads, and loose for smaller ones.

Nothing is recorded. Training, development and held-out workloads have each views of their own,
drawn by the workload's name. A workload has CACHES, one scenario each; so has a generated one, for
each model, with other views in each scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.problems.draws import Draws
from workers.problems.graphics import policy as graphics_policy
from workers.problems.graphics.texture import (
    INTERFACE,
    LINE_BYTES,
    ROW_BY_ROW,
    SIDE,
    Cache,
    Texture,
    View,
    fetched_lines,
    fewest_lines,
    lines_read,
    row_by_row,
    texels,
)
from workers.problems.graphics.views import MODELS
from workers.problems.material import development, drawn_workloads, held_out, table_parameters
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem

VIEWS = 10
CACHES = (Cache(lines=4, ways=1), Cache(lines=8, ways=1), Cache(lines=8, ways=2))
USES = tuple(MODELS)
WORKLOADS = drawn_workloads(USES)


@dataclass(frozen=True)
class Scenario:
    """A cache, and views of a texture with the texels they read; costs are bytes a pixel."""

    name: str
    cache: Cache
    views: tuple[View, ...]
    reads: tuple[tuple[int, ...], ...]
    baseline: float
    bound: float


def bytes_a_pixel(lines: int, views: Sequence[View]) -> float:
    """What it costs to fetch so many lines for all these views."""
    return lines * LINE_BYTES / sum(view.width * view.height for view in views)


def scenarios(seed: bytes, use: str) -> Iterator[Scenario]:
    """A texture of that use at each cache, with views of its own."""
    for its_cache in CACHES:
        draws = Draws(seed, f"texture/{use}/{its_cache.lines}/{its_cache.ways}")
        yield scenario(use, its_cache, [MODELS[use](draws) for _ in range(VIEWS)])


def scenario(use: str, its_cache: Cache, views: Sequence[View]) -> Scenario:
    """The scenario of views by a cache."""
    reads = tuple(map(texels, views))
    baseline = sum(
        fetched_lines(lines_read(ROW_BY_ROW, row_by_row(view), view, read), its_cache)
        for view, read in zip(views, reads, strict=True)
    )
    return Scenario(
        f"{use}/{its_cache.lines} lines in sets of {its_cache.ways}",
        its_cache,
        tuple(views),
        reads,
        bytes_a_pixel(baseline, views),
        bytes_a_pixel(fewest_lines(reads), views),
    )


class TextureWalk(SingleProblem):
    """The problem of the specialization `graphics`; costs are bytes fetched a pixel."""

    specialization = "graphics"
    name = "texture_walk"
    cost_unit = "bytes/pixel"
    about = About(
        decides="how a texture lies in memory, and in what order rectangles are filled from it",
        workload="views of textures by models, by three small caches",
        baseline="texture and rectangles row by row",
        bound="each line that a view needs fetched once, in the best shape of lines; loose",
    )
    interface = INTERFACE
    policy = graphics_policy
    parameters = table_parameters(
        graphics_policy.PARAMETERS,
        line_width_log2=(0, 4, "integer"),
        block_tiles_log2=(0, 3, "integer"),
        padding_lines=(0, 7, "integer"),
        strip_share=(0.1, 4.0, "log"),
        depth_lines=(0.1, 4.0, "log"),
        turn_bias=(0.125, 8.0, "log"),
        curve=(0, 2, "integer"),
        correction=(1.0, 2.0, "log"),
    )
    training_workloads = USES
    development_workloads = development(USES)
    held_out_workloads = held_out(USES)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        return tuple(scenarios(workload.encode(), WORKLOADS[workload]))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `views`, by each cache."""
        return tuple(one for use in USES for one in scenarios(seed, use))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """The bytes a pixel that any policy fetches."""
        texture = Texture(make_policy(SIDE, *scenario.cache), scenario.cache)
        fetched = map(texture.fill, scenario.views, scenario.reads)
        return bytes_a_pixel(sum(fetched), scenario.views)
