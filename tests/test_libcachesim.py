"""Miss ratios of this project beside those of libCacheSim, on whole recordings."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest

from bench.textbook import CACHES
from workers.problems.file_system.problem import (
    WORKLOADS,
    BufferCache,
    belady_misses,
    block_references,
    lru_misses,
    policy_misses,
)
from workers.problems.material import recording

HAS_WHEEL = (sys.platform, platform.machine()) == ("linux", "x86_64") and sys.version_info < (3, 14)
libcachesim = (
    importlib.import_module("libcachesim") if HAS_WHEEL else pytest.importorskip("libcachesim")
)

NEVER = 2**62
HASH_BITS = 14
SMALLEST_BLOCKS = 20
"""In a smaller cache the small queue of S3-FIFO, a tenth of it, has room for one block, and
libCacheSim lets in nothing that is as large as that queue."""
SIZES = [
    (run, scenario.capacity_blocks)
    for workload, runs in WORKLOADS.items()
    for run in runs
    for scenario in BufferCache().recorded(workload)
    if scenario.name.startswith(f"{run}/")
]


@cache
def references(run: str) -> tuple[int, ...]:
    return tuple(block_references(recording(run)))


def next_uses(blocks: Sequence[int]) -> list[int]:
    """For each reference the place of the next to the same block."""
    upcoming: dict[int, int] = {}
    uses = []
    for place in range(len(blocks) - 1, -1, -1):
        uses.append(upcoming.get(blocks[place], NEVER))
        upcoming[blocks[place]] = place
    return uses[::-1]


def their_misses(algorithm: str, blocks: Sequence[int], capacity_blocks: int) -> int:
    """What libCacheSim counts, from an empty cache; every block has the size 1."""
    their_cache = getattr(libcachesim, algorithm)(capacity_blocks, hashpower=HASH_BITS)
    requests: Iterator[object] = (
        libcachesim.Request(obj_id=block, obj_size=1, clock_time=now, next_access_vtime=use)
        for now, (block, use) in enumerate(zip(blocks, next_uses(blocks), strict=True))
    )
    return sum(not their_cache.get(request) for request in requests)


def textbook_misses(name: str) -> Callable[[Sequence[int], Sequence[int], int], int]:
    def misses(blocks: Sequence[int], start: Sequence[int], capacity_blocks: int) -> int:
        return policy_misses(CACHES[name](capacity_blocks), blocks, start, capacity_blocks)

    return misses


OURS = {
    "LRU": lru_misses,
    "Belady": belady_misses,
    "FIFO": textbook_misses("FIFO"),
    "Sieve": textbook_misses("SIEVE"),
    "S3FIFO": textbook_misses("S3-FIFO"),
}


def test_the_sizes_are_those_of_the_problem() -> None:
    assert len(SIZES) == len(set(SIZES)) == 3 * len({run for run, _ in SIZES}) == 60


@pytest.mark.parametrize("algorithm", ["LRU", "Belady", "FIFO", "Sieve"])
def test_misses_are_theirs(algorithm: str) -> None:
    for run, capacity_blocks in SIZES:
        ours = OURS[algorithm](references(run), (), capacity_blocks)
        assert ours == their_misses(algorithm, references(run), capacity_blocks)


def test_s3_fifo_misses_as_many_within_half_a_point() -> None:
    for run, capacity_blocks in SIZES:
        if capacity_blocks >= SMALLEST_BLOCKS:
            ours = OURS["S3FIFO"](references(run), (), capacity_blocks)
            theirs = their_misses("S3FIFO", references(run), capacity_blocks)
            assert abs(ours - theirs) / len(references(run)) <= 0.005
