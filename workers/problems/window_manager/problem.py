"""Merging damage: which damaged rectangles of a screen are repainted as one.

A compositor repaints the bounding boxes of groups of rectangles. Large boxes cost pixels that are
painted in vain, and small ones are many: the cost of a frame is the pixels of its boxes, and
BOX_COST_PIXELS for each. Baseline is one box around all; the bound is the best grouping, which
`damage` finds.

A workload is one or two recorded runs (`traces/damage-*`, made by `scripts/record_damage.py`): real
programs in terminals, which are windows of one desktop. Which part is replayed is one rule for all:
FRAMES a workload in equal shares of its runs, evenly from the first to the last of the frames with
2 to EXACT_RECTS rectangles. With one there is nothing to decide, and for more the bound would be
loose. Each run is one scenario.

A generated workload has SCREENS screens of each model in `screens`, with GENERATED frames each, of
2 to MOST_GENERATED_RECTS rectangles: what a validator bounds anew should take no second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from workers.problems.draws import Draws
from workers.problems.material import (
    development,
    held_out,
    recorded_workloads,
    recording,
    table_parameters,
)
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem
from workers.problems.window_manager import policy as window_manager_policy
from workers.problems.window_manager.damage import (
    EXACT_RECTS,
    INTERFACE,
    Frame,
    bounding_box,
    fewest_pixels,
    painted_pixels,
    policy_pixels,
)
from workers.problems.window_manager.screens import MODELS

FRAMES = 160
GENERATED, SCREENS, MOST_GENERATED_RECTS = 50, 3, 12
RECTS = range(2, EXACT_RECTS + 1)
PROGRAMS = ("write", "watch", "read", "mixed")
WORKLOADS = recorded_workloads(PROGRAMS)


@dataclass(frozen=True)
class Scenario:
    """The damage of one run, frame by frame; baseline and bound are pixels a frame."""

    name: str
    frames: tuple[Frame, ...]
    baseline: float
    bound: float


def recorded_frames(text: str) -> list[Frame]:
    """The frames of a recording."""
    return [recorded_frame(line) for line in text.splitlines()]


def recorded_frame(line: str) -> Frame:
    """A line of a recording, of whole numbers: four for each rectangle."""
    numbers = iter(map(int, line.split()))
    return tuple(zip(numbers, numbers, numbers, numbers, strict=True))


def spread(frames: Sequence[Frame], count: int) -> tuple[Frame, ...]:
    """So many of the frames that have RECTS, evenly from the first to the last; all if fewer."""
    some = [frame for frame in frames if len(frame) in RECTS]
    count = min(count, len(some))
    return tuple(some[place * len(some) // count] for place in range(count))


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Of each model SCREENS scenarios, with GENERATED frames of their own."""
    for model, screen in product(MODELS, range(SCREENS)):
        frames = MODELS[model](Draws(seed, f"{model}/{screen}"))
        usable = (frame for frame in frames if 1 < len(frame) <= MOST_GENERATED_RECTS)
        yield scenario(f"{model}-{screen}", tuple(islice(usable, GENERATED)))


def scenario(name: str, frames: tuple[Frame, ...]) -> Scenario:
    """The scenario of some frames."""
    baseline = sum(painted_pixels([bounding_box(frame)]) for frame in frames) / len(frames)
    bound = sum(map(fewest_pixels, frames)) / len(frames)
    return Scenario(name, frames, baseline, bound)


class DamageMerging(SingleProblem):
    """The problem of the specialization `window_manager`; costs are pixels a frame."""

    specialization = "window_manager"
    name = "damage_merging"
    cost_unit = "pixels"
    about = About(
        decides="which damaged rectangles of a screen are repainted as one",
        workload="recorded damage of terminals on a desktop",
        baseline="one bounding box around all",
        bound="the best grouping of all; exact",
    )
    interface = INTERFACE
    policy = window_manager_policy
    parameters = table_parameters(
        window_manager_policy.PARAMETERS,
        most_rects=(1, 40, "integer"),
        whole_waste=(0.0, 1.0),
        first=(0, 4, "integer"),
        join_pixels=(100.0, 1_000_000.0, "log"),
        merge_pixels=(100.0, 1_000_000.0, "log"),
        most_waste=(0.0, 1.0),
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        runs = WORKLOADS[workload]
        return tuple(
            scenario(run, spread(recorded_frames(recording(f"damage-{run}")), FRAMES // len(runs)))
            for run in runs
        )

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `screens`."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """Pixels that any policy lets be painted, a frame."""
        return policy_pixels(make_policy(), scenario.frames)
