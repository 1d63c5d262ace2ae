"""References to blocks as programs make them, by models instead of recordings.

Each model goes on for ever. What it rests on is said beside it; what no source gives is a round
number. File numbers are drawn at random, so that no two streams have a block in common.
`docs/benchmarks.md` says how far scores on models and on recordings agree, and what was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

from workers.problems.draws import ByRank, Draws
from workers.problems.file_system.policy import FILE_SHIFT

FILE_NUMBERS = 2**32
FILES, LARGEST_FILE_BLOCKS = 256, 64
PROGRAMS, FEWEST_READS, MOST_READS = 16, 4, 64
EXPECTED_SHARE = 0.72
TREE_PARTS, DESCENT_SHARE, SMALLEST_TREE_FILES = 4, 0.5, 16
RELATION_BLOCKS = (25, 50, 100, 200)
INNER_SCANS, LOOKUPS, INDEX_FANOUT, HOT_SHARE = 3, 50, 20, 0.2


def new_file(size_blocks: int, draws: Draws) -> range:
    """The blocks of a file that nobody else has."""
    first = draws.below(FILE_NUMBERS) << FILE_SHIFT
    return range(first, first + size_blocks)


def new_files(draws: Draws) -> list[range]:
    """FILES files, from a block to 256 KiB, 17 KiB on average.

    Sizes have a heavy tail: M. E. Crovella, A. Bestavros, Self-Similarity in World Wide Web
    Traffic, SIGMETRICS 1996.
    """
    sizes = draws.heavy_tailed(FILES, 1, LARGEST_FILE_BLOCKS + 1)
    return [new_file(int(size), draws) for size in sizes]


class Programs:
    """Programs that are run again and again, some more often than others.

    Each reads "more or less the same set of files in roughly the same order every time" (T. Yeh, D.
    D. E. Long, S. A. Brandt, Caching Files with a Program-Based Last N Successors Model, WCED
    2001). Which file is next is what it was the last time in 72 % of cases (T. M. Kroeger, D. D. E.
    Long, The Case for Efficient File Access Pattern Modeling, HotOS 1999); otherwise it is any.
    Programs have files in common, as libraries are. Files are read as a whole, as most are (M. G.
    Baker et al., Measurements of a Distributed File System, SOSP 1991).
    """

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.files = new_files(draws)
        self.which_file = ByRank(FILES, draws)
        self.which_program = ByRank(PROGRAMS, draws)
        reads = draws.heavy_tailed(PROGRAMS, FEWEST_READS, MOST_READS)
        self.programs = [[self._any_file() for _ in range(int(count))] for count in reads]

    def run(self) -> Iterator[int]:
        """The blocks that one run of one of the programs reads."""
        for file in self.programs[self.which_program.choose()]:
            is_expected = self.draws.happens(EXPECTED_SHARE)
            yield from file if is_expected else self._any_file()

    def _any_file(self) -> range:
        return self.files[self.which_file.choose()]


def programs(draws: Draws) -> Iterator[int]:
    """Runs of programs, one after the other; see `Programs`."""
    some = Programs(draws)
    while True:
        yield from some.run()


def walks(draws: Draws) -> Iterator[int]:
    """Searches through a tree of files: all of it, or a part of it, or a part of that, and so on.

    What is read again and again in the same order is the looping reference of `queries`.
    """
    files = new_files(draws)
    while True:
        first, count = 0, FILES
        while count > SMALLEST_TREE_FILES and draws.happens(DESCENT_SHARE):
            count //= TREE_PARTS
            first += count * draws.below(TREE_PARTS)
        for file in files[first : first + count]:
            yield from file


def queries(draws: Draws) -> Iterator[int]:
    """A database that answers queries one after the other: a scan, a join, lookups, in any order.

    A join reads its inner relation INNER_SCANS times. Straight sequential, looping sequential and
    looping hierarchical references are three that H.-T. Chou, D. J. DeWitt, An Evaluation of Buffer
    Management Strategies for Relational Database Systems, VLDB 1985, make queries from.
    """
    relations = [new_file(size, draws) for size in RELATION_BLOCKS]
    index = new_file(1 + INDEX_FANOUT, draws)
    while True:
        scanned, inner = (relations[draws.below(len(relations))] for _ in range(2))
        parts: list[Sequence[int]] = [
            scanned,
            [*inner] * INNER_SCANS,
            [*lookups(index, relations[-1], draws)],
        ]
        draws.shuffle(parts)
        for part in parts:
            yield from part


def lookups(index: range, relation: range, draws: Draws) -> Iterator[int]:
    """The root of an index, a block below it, and the block of a record, LOOKUPS times.

    Of the records 20 % are wanted by 80 %, and of these 20 % again (J. Gray, P. Sundaresan, S.
    Englert, K. Baclawski, P. J. Weinberger, Quickly Generating Billion-Record Synthetic Databases,
    SIGMOD 1994).
    """
    for _ in range(LOOKUPS):
        first, count = 0, len(relation)
        while count > 1:
            hot = max(1, int(count * HOT_SHARE))
            if draws.happens(1 - HOT_SHARE):
                count = hot
            else:
                first, count = first + hot, count - hot
        yield from (index[0], index[1 + first % INDEX_FANOUT], relation[first])


MODELS: MappingProxyType[str, Callable[[Draws], Iterator[int]]] = MappingProxyType(
    {"programs": programs, "walks": walks, "queries": queries}
)
