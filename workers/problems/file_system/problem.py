"""The buffer cache: which block of a file to give up when another must be read.

A workload is one or two recorded runs of real programs (`traces/`, made by
`scripts/record_traces.py`), turned into references to 4 KiB blocks. Each run is replayed at
several cache sizes; each is one scenario. The cost is the miss ratio, misses / references, 0..1.
Baseline is least recently used (LRU), the bound is Belady's optimum, which knows the future.

Each kind of program was recorded in four runs, on inputs that have nothing in common:

    compile               runs a and c: what a search sees
    compile-held-out      run d: what is reported, and no choice of ours was made on
    compile-development   run b: what choices of ours (parameters, search settings) were tried on

Which part of a run is replayed is one rule for all: its first WARM_UP references fill the caches,
and the next are counted, MEASURED a workload in equal shares of its runs (fewer if a run was
shorter). The cache sizes are the fractions CACHE_FRACTIONS of the distinct blocks among those
counted. All policies start from the same contents: the blocks used last in the warm-up, least
recent first. `docs/benchmarks.md` says which scores were known when this was settled.

A generated workload has the same shape. Of each model in `reads` GENERATED references are counted
at each cache size, and each scenario has references of its own: who has seen one knows nothing of
the next. Scores of different seeds are not compared: they differ by some hundredths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, product
from typing import Protocol

from workers.problems.draws import Draws
from workers.problems.file_system import policy as file_system_policy
from workers.problems.file_system.reads import MODELS
from workers.problems.material import (
    development,
    held_out,
    recorded_workloads,
    recording,
    table_parameters,
)
from workers.problems.policies import Interface, Maker, bad_answer
from workers.problems.problem import About
from workers.problems.single import SingleProblem

BLOCK_BYTES = 4096
FILE_SHIFT = file_system_policy.FILE_SHIFT
WARM_UP = 1_500
MEASURED = 3_000
GENERATED = 3_000
CACHE_FRACTIONS = (1 / 16, 1 / 8, 1 / 4)
PROGRAMS = ("compile", "search", "database", "tests", "mixed")
WORKLOADS = recorded_workloads(PROGRAMS)
INTERFACE = Interface(("capacity_blocks",), ("hit", "insert"), {"replace": int})
"""See `CachePolicy`; the argument is the size of the cache."""


class CachePolicy(Protocol):
    """What decides which block goes. A block is one integer: file << FILE_SHIFT | index."""

    def hit(self, block: int) -> None:
        """A resident block was read."""

    def insert(self, block: int) -> None:
        """A block was read from disk and put where there was still room."""

    def replace(self, block: int) -> int:
        """A block was read from disk and the cache is full: which resident block makes room?"""


@dataclass(frozen=True)
class Scenario:
    """One cache size on one recorded run, with the costs that do not depend on the policy."""

    name: str
    references: tuple[int, ...]
    capacity_blocks: int
    start: tuple[int, ...]
    baseline: float
    bound: float


def block_references(trace: str) -> list[int]:
    """The blocks that the reads of a recording touch, in order; immediate repeats count once."""
    references: list[int] = []
    last = -1
    for line in trace.splitlines():
        file, offset_bytes, length_bytes = map(int, line.split())
        base = file << FILE_SHIFT
        end = (offset_bytes + length_bytes - 1) // BLOCK_BYTES
        for block in range(base + offset_bytes // BLOCK_BYTES, base + end + 1):
            if block != last:
                references.append(block)
                last = block
    return references


def last_distinct(references: Sequence[int], count: int) -> tuple[int, ...]:
    """The `count` (or fewer) distinct blocks referred to last, least recent first."""
    newest_first = list(dict.fromkeys(reversed(references)))[:count]
    return tuple(reversed(newest_first))


class LeastRecentlyUsed:
    """Gives up the block that was not used for longest."""

    def __init__(self) -> None:
        self.resident: OrderedDict[int, None] = OrderedDict()

    def hit(self, block: int) -> None:
        self.resident.move_to_end(block)

    def insert(self, block: int) -> None:
        self.resident[block] = None

    def replace(self, block: int) -> int:
        self.resident[block] = None
        return self.resident.popitem(last=False)[0]


def lru_misses(references: Sequence[int], start: Sequence[int], capacity_blocks: int) -> int:
    """Misses of the least-recently-used policy; `start` is least recent first."""
    resident: OrderedDict[int, None] = OrderedDict.fromkeys(start)
    misses = 0
    for block in references:
        if block in resident:
            resident.move_to_end(block)
            continue
        misses += 1
        if len(resident) >= capacity_blocks:
            resident.popitem(last=False)
        resident[block] = None
    return misses


def belady_misses(references: Sequence[int], start: Sequence[int], capacity_blocks: int) -> int:
    """The fewest misses possible when every miss is admitted.

    Evicts the block whose next use is farthest (L. A. Belady, A study of replacement algorithms
    for a virtual-storage computer, IBM Systems Journal 5(2), 1966).
    """
    never = len(references)
    next_use = [never] * len(references)
    upcoming: dict[int, int] = {}
    for time in range(len(references) - 1, -1, -1):
        next_use[time] = upcoming.get(references[time], never)
        upcoming[references[time]] = time
    resident = {block: upcoming.get(block, never) for block in start}
    farthest: list[tuple[int, int]] = []
    for block, use in resident.items():
        heappush(farthest, (-use, block))
    misses = 0
    for time, block in enumerate(references):
        if block not in resident:
            misses += 1
            if len(resident) >= capacity_blocks:
                use, victim = heappop(farthest)
                while resident.get(victim) != -use:
                    use, victim = heappop(farthest)
                del resident[victim]
        resident[block] = next_use[time]
        heappush(farthest, (-next_use[time], block))
    return misses


def give_up(resident: set[int], victim: int) -> None:
    """Take a policy's victim out of the cache; raises ProblemError if it is not in it."""
    try:
        resident.remove(victim)
        is_block = type(victim) is int
    except (KeyError, TypeError):
        is_block = False
    if not is_block:
        raise bad_answer("replace", victim, int, "a block that is in the cache")


def policy_misses(
    policy: CachePolicy, references: Sequence[int], start: Sequence[int], capacity_blocks: int
) -> int:
    """Misses of a policy. What is resident is kept here: the policy is only told and asked.

    Raises ProblemError if the policy names something to give up that is not a resident block.
    """
    resident = set(start)
    for block in start:
        policy.insert(block)
    hit, replace, add = policy.hit, policy.replace, resident.add
    room = capacity_blocks - len(resident)
    misses = 0
    for block in references:
        if block in resident:
            hit(block)
            continue
        misses += 1
        if room:
            room -= 1
            policy.insert(block)
        else:
            give_up(resident, replace(block))
        add(block)
    return misses


def scenarios(run: str, measured: int) -> Iterator[Scenario]:
    """The scenarios of a recorded run of which `measured` references are counted."""
    recorded = block_references(recording(run))
    for fraction in CACHE_FRACTIONS:
        yield scenario(run, recorded[: WARM_UP + measured], fraction)


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Each model at each cache size, with references of its own."""
    for model, fraction in product(MODELS, CACHE_FRACTIONS):
        draws = Draws(seed, f"{model}/{fraction}")
        references = list(islice(MODELS[model](draws), WARM_UP + GENERATED))
        yield scenario(model, references, fraction)


def scenario(name: str, references: Sequence[int], fraction: float) -> Scenario:
    """The scenario of references of which the first WARM_UP are not counted."""
    warm_up, counted = references[:WARM_UP], tuple(references[WARM_UP:])
    capacity = round(len(set(counted)) * fraction)
    start = last_distinct(warm_up, capacity)
    baseline = lru_misses(counted, start, capacity) / len(counted)
    bound = belady_misses(counted, start, capacity) / len(counted)
    return Scenario(f"{name}/{capacity} blocks", counted, capacity, start, baseline, bound)


class BufferCache(SingleProblem):
    """The problem of the specialization `file_system`; costs are miss ratios, 0..1."""

    specialization = "file_system"
    name = "buffer_cache"
    cost_unit = "miss ratio"
    about = About(
        decides="which block a full cache gives up",
        workload="recorded reads of files, at three cache sizes",
        baseline="LRU: the block that was not used for longest",
        bound="Belady's optimum, which knows the future; exact",
    )
    interface = INTERFACE
    policy = file_system_policy
    parameters = table_parameters(
        file_system_policy.PARAMETERS,
        first_interval=(0.05, 50.0, "log"),
        scan_interval=(0.05, 50.0, "log"),
        scan_run=(1.0, 64.0, "log"),
        overdue_weight=(0.02, 20.0, "log"),
        history_ratio=(0.1, 10.0, "log"),
        frequency_weight=(-0.5, 1.5),
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        runs = WORKLOADS[workload]
        return tuple(scenario for run in runs for scenario in scenarios(run, MEASURED // len(runs)))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `reads`, by three cache sizes each."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """The miss ratio of any policy, 0..1."""
        references, capacity = scenario.references, scenario.capacity_blocks
        misses = policy_misses(make_policy(capacity), references, scenario.start, capacity)
        return misses / len(references)
