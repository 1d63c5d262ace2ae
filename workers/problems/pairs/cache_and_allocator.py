"""A cache and a memory allocator that share one memory, each with a policy of its specialization.

Every frame that the heap takes is one less for the blocks of files, and every page of the heap that
must go is read back from swap. So the allocator decides how many pages are wanted, and which of
them again and again, and the cache decides who gives way. `memory` says what becomes of both. The
cost is the number of reads from the disk, for misses and from swap, for each reference to a file.
Baseline is LRU with the binary buddy system.

The bound is Belady's optimum for the references to files, as if the memory were theirs alone: who
leaves the touches of the heap out of a replay has blocks of files in as many frames or fewer at any
time, and as many misses, so that it is a replay of the references alone. It is loose: to reach it
the heap would have to do without frames.

A workload is one or two runs of real programs: the first REFERENCES references after the warm-up
of the recordings that `file_system` has of one kind of program, and the events until OBJECTS
objects were made of those that `performance` has of another, as PROGRAMS says; both on the same
tree of sources. The memory has MEMORY_FRACTION of the distinct blocks among the references, and
of the pages that the objects need at least at their peak. It begins as in `file_system`, without a
heap.

A generated workload has each model of `reads` with each model of `mallocs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from types import MappingProxyType

from workers.problems.draws import Draws
from workers.problems.file_system.problem import (
    WARM_UP,
    BufferCache,
    LeastRecentlyUsed,
    belady_misses,
    block_references,
    last_distinct,
)
from workers.problems.file_system.reads import MODELS
from workers.problems.material import (
    development,
    held_out,
    recorded_workloads,
    recording,
)
from workers.problems.pair import PairProblem
from workers.problems.pairs.memory import Outcome, run
from workers.problems.performance.heap import Buddy, fewest
from workers.problems.performance.mallocs import FATES, allocations
from workers.problems.performance.problem import MemoryAllocator, first_objects, recorded_events
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem

REFERENCES, OBJECTS = 1_500, 1_000
MEMORY_FRACTION = 1 / 8
PROGRAMS = MappingProxyType({"compile": "compile", "database": "words", "mixed": "history"})
"""Whose references to files meet whose objects."""
WORKLOADS = recorded_workloads(tuple(PROGRAMS))
CACHE, ALLOCATOR = "cache.", "allocator."


@dataclass(frozen=True)
class Scenario:
    """References to files and events of a heap in one memory; see `memory.run`.

    `baseline` and `bound` are reads from the disk for each reference.
    """

    name: str
    references: tuple[int, ...]
    events: tuple[int, ...]
    start: tuple[int, ...]
    capacity: int
    baseline: Outcome
    bound: float


def recorded_scenario(run_name: str) -> Scenario:
    """The scenario of a recorded run, with the objects of another program on the same tree."""
    program, _, tree = run_name.partition("-")
    references = block_references(recording(run_name))
    events = recorded_events(f"{PROGRAMS[program]}-{tree}")
    return scenario(run_name, references[: WARM_UP + REFERENCES], events)


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Each model of references with each model of objects."""
    for reads, objects in product(MODELS, FATES):
        name = f"{reads}-{objects}"
        draws = Draws(seed, f"memory/{name}")
        references = list(islice(MODELS[reads](draws), WARM_UP + REFERENCES))
        yield scenario(name, references, allocations(objects, OBJECTS, draws))


def scenario(name: str, references: Sequence[int], events: Sequence[int]) -> Scenario:
    """The scenario of references of which the first WARM_UP are not counted."""
    counted, events = tuple(references[WARM_UP:]), first_objects(events, OBJECTS)
    wanted = len(set(counted)) + fewest(events).peak_pages
    capacity = round(wanted * MEMORY_FRACTION)
    start = last_distinct(references[:WARM_UP], capacity)
    baseline = run(counted, events, start, capacity, LeastRecentlyUsed(), Buddy())
    bound = belady_misses(counted, start, capacity) / len(counted)
    return Scenario(f"{name}/{capacity} frames", counted, events, start, capacity, baseline, bound)


class CacheAndAllocator(PairProblem):
    """The joint problem of `file_system` and `performance`; costs are reads a reference.

    `Score.beside` has the parts of the cost and the pages held, also of the baseline.
    """

    name = "cache_and_allocator"
    cost_unit = "reads a reference"
    about = About(
        decides="what leaves the memory, and where in it objects lie",
        workload="recorded reads of files and recorded objects, in one memory",
        baseline="LRU with the binary buddy system",
        bound="Belady's optimum for the files alone in all of the memory; loose",
    )
    parts: Mapping[str, SingleProblem] = MappingProxyType(
        {CACHE: BufferCache(), ALLOCATOR: MemoryAllocator()}
    )
    training_workloads = tuple(PROGRAMS)
    development_workloads = development(tuple(PROGRAMS))
    held_out_workloads = held_out(tuple(PROGRAMS))
    beside = ("miss_ratio", "swap_ratio", "held_pages")

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        return tuple(recorded_scenario(run) for run in WORKLOADS[workload])

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `reads` and `mallocs`."""
        return tuple(generated_scenarios(seed))

    def replay(
        self, scenario: Scenario, make_cache_policy: Maker, make_allocator_policy: Maker
    ) -> Outcome:
        """What a replay under any two policies shows."""
        return run(
            scenario.references,
            scenario.events,
            scenario.start,
            scenario.capacity,
            make_cache_policy(scenario.capacity),
            make_allocator_policy(),
        )
