"""Objects as programs allocate them, by models instead of recordings.

A program makes objects of some kinds, and all objects of a kind have one size and one fate. What no
source gives is a round number, and none was chosen by how any policy scores.

P. R. Wilson, M. S. Johnstone, M. Neely, D. Boles (Dynamic Storage Allocation: A Survey and Critical
Review, IWMM 1995) describe how the live bytes of programs go: in ramps (what is made stays), in
peaks (what a phase needs is made, and goes with the phase), in plateaus (as much is made as goes).
They find that programs use few sizes, and that sizes and lifetimes belong together, which is why
kinds are drawn here and not objects: B. Zorn, D. Grunwald (Evaluating Models of Memory Allocation,
ACM TOMACS 4(1), 1994) show how far models of single objects are from programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from workers.problems.draws import ByRank, Draws

KINDS = 48
SMALLEST_BYTES, LARGEST_BYTES = 32, 32_768
SHORTEST_LIFE, LONGEST_LIFE = 32, 1_024
SHORTEST_PHASE, LONGEST_PHASE = 64, 512


class Fate(Enum):
    """When objects of a kind go."""

    ALONE = "each after a time of its own"
    PHASE = "all with the phase in which they were made"
    NEVER = "not before the program ends"


FATES = MappingProxyType(
    {
        "plateaus": (Fate.ALONE,),
        "peaks": (Fate.ALONE, Fate.PHASE),
        "ramps": (Fate.ALONE, Fate.ALONE, Fate.NEVER),
    }
)
"""The fates in a model; each has an equal share of the kinds."""


@dataclass(frozen=True)
class Kind:
    """Objects of one size; times are counted in objects made."""

    size_bytes: int
    mean_life: float
    fate: Fate


def allocations(model: str, objects: int, draws: Draws) -> tuple[int, ...]:
    """The events of a program that makes so many objects; see `heap.replay`."""
    kinds = kinds_of(FATES[model], draws)
    which = ByRank(KINDS, draws)
    phase_ends = phases(objects, draws)
    goes_at: list[list[int]] = [[] for _ in range(objects)]
    events: list[int] = []
    for made in range(objects):
        events += [gone - made for gone in goes_at[made]]
        kind = kinds[which.choose()]
        events.append(kind.size_bytes)
        if kind.fate is Fate.PHASE:
            end = phase_ends[made]
        elif kind.fate is Fate.ALONE:
            end = made + 1 + int(kind.mean_life * draws.exponential())
        else:
            end = objects
        if end < objects:
            goes_at[end].append(made)
    return tuple(events)


def kinds_of(fates: Sequence[Fate], draws: Draws) -> list[Kind]:
    """KINDS kinds, the most frequent first; sizes and lifetimes have heavy tails."""
    sizes = draws.heavy_tailed(KINDS, SMALLEST_BYTES, LARGEST_BYTES)
    lives = draws.heavy_tailed(KINDS, SHORTEST_LIFE, LONGEST_LIFE)
    shared = [fates[place % len(fates)] for place in range(KINDS)]
    draws.shuffle(shared)
    return [
        Kind(int(size_bytes), life, fate)
        for size_bytes, life, fate in zip(sizes, lives, shared, strict=True)
    ]


def phases(objects: int, draws: Draws) -> list[int]:
    """For each object the end of the phase in which it is made."""
    ends: list[int] = []
    while len(ends) < objects:
        length = SHORTEST_PHASE + draws.below(LONGEST_PHASE - SHORTEST_PHASE)
        ends += [len(ends) + length] * length
    return ends
