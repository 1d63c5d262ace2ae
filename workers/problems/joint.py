"""A cache and a CPU scheduler on one machine, each run by a policy of its own specialization.

Whoever reads a block that the cache does not hold waits for the disk and leaves the CPU to others;
a hit costs nothing. So the cache decides who can run, the scheduler decides whose blocks are asked
for next and how many processes share the cache meanwhile, and what is best for one depends on the
other. The cost is the mean response time (end - arrival) of the processes, in seconds. Baseline is
LRU with round robin of 10 ms. The miss ratio is reported beside the cost.

A workload is one or two recorded runs of real programs (`traces/reads-*`, made by
`scripts/record_processes.py --reads`): when each process arrived, its reads, and the CPU time
before each. A read is taken block by block (4 KiB), one after the other, without reading ahead. The
disk serves one block at a time, in the order in which they were asked for, DISK_READ_US each. A
block takes its place in the cache when it is asked for; who wants it while it is on its way waits
for the same read. The cache is empty at first.

Which part of a run is replayed is one rule for all: its first processes, as many as together make
no more references than REFERENCES a workload, in equal shares of its runs. The cache holds
CACHE_FRACTION of the distinct blocks among them. The times between arrivals are stretched or
compressed, by one factor a run, until the busier of CPU and disk is asked for LOAD of its time up
to the last arrival, the disk for what LRU would read if the processes ran one after the other.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, pairwise
from statistics import fmean

from workers.problems import file_system_policy, process_manager_policy
from workers.problems.cpu import (
    RoundRobin,
    SchedulerPolicy,
    replay,
    shortest_remaining_first,
)
from workers.problems.file_system import (
    BLOCK_BYTES,
    FILE_SHIFT,
    BufferCache,
    CachePolicy,
    give_up,
    lru_misses,
)
from workers.problems.material import (
    development,
    filled_source,
    held_out,
    recorded_workloads,
    recording,
)
from workers.problems.problem import Parameter, ProblemError, Score, check_values
from workers.problems.process_manager import BASELINE_QUANTUM_US, CpuScheduler, mean_response_s

DISK_READ_US = 500
"""Between a solid-state disk in the machine (about 0.1 ms) and one behind a network or a hard disk
(1 to 10 ms)."""
REFERENCES = 8_000
CACHE_FRACTION = 1 / 8
LOAD = 0.8
PROGRAMS = ("compile", "search")
WORKLOADS = recorded_workloads(PROGRAMS)
CACHE, SCHEDULER = "cache.", "scheduler."


@dataclass(frozen=True)
class Process:
    """What one process does: a burst of CPU time before each block that it reads, and one after.

    `bursts_us` is longer than `blocks` by one; a block is file << FILE_SHIFT | index.
    """

    arrival_us: int
    bursts_us: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def cpu_us(self) -> int:
        return sum(self.bursts_us)


@dataclass(frozen=True)
class Scenario:
    """One recorded run on a machine with a cache of some blocks; see `Outcome` for the baseline.

    `bound` is a mean response time in seconds.
    """

    name: str
    processes: tuple[Process, ...]
    capacity_blocks: int
    baseline: Outcome
    bound: float


@dataclass(frozen=True)
class Outcome:
    """What a replay showed: mean response time in seconds, misses / references in 0..1."""

    mean_response_s: float
    miss_ratio: float


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


class Machine:
    """The cache and the disk, and how far each process has come with its reads."""

    def __init__(
        self, processes: Sequence[Process], policy: CachePolicy, capacity_blocks: int
    ) -> None:
        self.processes = processes
        self.policy = policy
        self.capacity_blocks = capacity_blocks
        self.done = [0] * len(processes)
        self.resident: set[int] = set()
        self.here_us: dict[int, int] = {}
        self.disk_free_us = 0
        self.misses = 0

    def after_burst(self, process: int, now_us: int) -> tuple[int, int] | None:
        """The process reads its next block, or ends; see `cpu.AfterBurst`."""
        does, place = self.processes[process], self.done[process]
        if place == len(does.blocks):
            return None
        self.done[process] = place + 1
        block = does.blocks[place]
        if block in self.resident:
            self.policy.hit(block)
        else:
            self._fetch(block, now_us)
        return max(now_us, self.here_us[block]), does.bursts_us[place + 1]

    def _fetch(self, block: int, now_us: int) -> None:
        """Queue a block at the disk, and make room for it."""
        self.misses += 1
        self.disk_free_us = max(now_us, self.disk_free_us) + DISK_READ_US
        self.here_us[block] = self.disk_free_us
        if len(self.resident) < self.capacity_blocks:
            self.policy.insert(block)
        else:
            give_up(self.resident, self.policy.replace(block))
        self.resident.add(block)


def run(
    processes: Sequence[Process],
    capacity_blocks: int,
    cache_policy: CachePolicy,
    scheduler_policy: SchedulerPolicy,
) -> Outcome:
    """Replay processes under two policies. Raises ProblemError if one breaks its rules."""
    machine = Machine(processes, cache_policy, capacity_blocks)
    arrivals_us = [process.arrival_us for process in processes]
    first_us = [process.bursts_us[0] for process in processes]
    ends_us = replay(arrivals_us, first_us, scheduler_policy, machine.after_burst)
    references = sum(len(process.blocks) for process in processes)
    return Outcome(mean_response_s(arrivals_us, ends_us), machine.misses / references)


def bound_s(processes: Sequence[Process]) -> float:
    """A mean response time that no cache and no scheduler can beat, in seconds.

    A block that one process alone reads must be fetched from the disk while that process waits, as
    the cache is empty at first. The largest of three that each leave something out:

    - the CPU alone: as if all reads were hits, by the schedule that is optimal then;
    - the disk alone: as if only those blocks were read and no CPU time was needed, by the order
      that is optimal then;
    - no queues: as if each process had CPU and disk for itself.
    """
    readers = Counter(chain.from_iterable(set(process.blocks) for process in processes))
    arrivals_us = [process.arrival_us for process in processes]
    cpu_us = [process.cpu_us for process in processes]
    disk_us = [
        DISK_READ_US * sum(readers[block] == 1 for block in set(process.blocks))
        for process in processes
    ]
    alone_us = map(sum, zip(arrivals_us, cpu_us, disk_us, strict=True))
    return max(
        mean_response_s(arrivals_us, ends_us)
        for ends_us in (
            shortest_remaining_first(arrivals_us, cpu_us),
            shortest_remaining_first(arrivals_us, disk_us),
            list(alone_us),
        )
    )


def recorded_process(line: str) -> Process:
    """A line of a recording; a block that follows itself in a process counts once."""
    arrival_us, cpu_us, *numbers = map(int, line.split())
    blocks: list[int] = []
    read_us = [0]
    for before_us, file, offset_bytes, length_bytes in zip(*[iter(numbers)] * 4, strict=True):
        base = file << FILE_SHIFT
        end = (offset_bytes + length_bytes - 1) // BLOCK_BYTES
        for block in range(base + offset_bytes // BLOCK_BYTES, base + end + 1):
            if not blocks or block != blocks[-1]:
                blocks.append(block)
                read_us.append(before_us)
    bursts_us = tuple(after - before for before, after in pairwise([*read_us, cpu_us]))
    return Process(arrival_us, bursts_us, tuple(blocks))


def first_processes(text: str, references: int) -> Iterator[Process]:
    """The first processes of a recording, up to so many references to blocks in all."""
    for line in text.splitlines():
        process = recorded_process(line)
        references -= len(process.blocks)
        if references < 0:
            return
        yield process


@cache
def load_workload(workload: str) -> tuple[Scenario, ...]:
    """The scenarios of the workload of that name; raises ProblemError if unknown."""
    if workload not in WORKLOADS:
        raise ProblemError(f"unknown workload {workload!r}")
    runs = WORKLOADS[workload]
    return tuple(scenario(run, REFERENCES // len(runs)) for run in runs)


def scenario(run_name: str, references: int) -> Scenario:
    """The scenario of the first processes of a recorded run."""
    recorded = list(first_processes(recording(f"reads-{run_name}"), references))
    blocks = [block for process in recorded for block in process.blocks]
    capacity = round(len(set(blocks)) * CACHE_FRACTION)
    cpu_us = sum(process.cpu_us for process in recorded)
    disk_us = DISK_READ_US * lru_misses(blocks, (), capacity)
    factor = max(cpu_us, disk_us) / (LOAD * recorded[-1].arrival_us)
    processes = tuple(
        replace(process, arrival_us=round(process.arrival_us * factor)) for process in recorded
    )
    baseline = run(processes, capacity, LeastRecentlyUsed(), RoundRobin(BASELINE_QUANTUM_US))
    name = f"{run_name}/{capacity} blocks"
    return Scenario(name, processes, capacity, baseline, bound_s(processes))


def prefixed(prefix: str, parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    return tuple(replace(one, name=prefix + one.name) for one in parameters)


def part(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """The values of one of the two policies, by the names that it knows them by."""
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


class CacheAndScheduler:
    """The joint problem of `file_system` and `process_manager`; see `problem.JointProblem`."""

    specializations = ("file_system", "process_manager")
    name = "cache_and_scheduler"
    cost_unit = "s"
    parameters = (
        *prefixed(CACHE, BufferCache.parameters),
        *prefixed(SCHEDULER, CpuScheduler.parameters),
    )
    training_workloads = PROGRAMS
    validation_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The score of both policies' values on a workload; costs are mean response times, seconds.

        `beside` has `miss_ratio` and `baseline_miss_ratio`. Raises ProblemError for an unknown
        workload and for missing, unknown or bad values.
        """
        checked = check_values(self.parameters, values)
        of_cache, of_scheduler = part(CACHE, checked), part(SCHEDULER, checked)
        return self.evaluate_policies(
            lambda capacity_blocks: file_system_policy.Policy(capacity_blocks, of_cache),
            lambda: process_manager_policy.Policy(of_scheduler),
            workload,
        )

    def evaluate_policies(
        self,
        make_cache_policy: Callable[[int], CachePolicy],
        make_scheduler_policy: Callable[[], SchedulerPolicy],
        workload: str,
    ) -> Score:
        """The score of any two policies, made anew for each scenario; see `evaluate`.

        Raises ProblemError for an unknown workload and for a policy that breaks the rules.
        """
        scenarios = load_workload(workload)
        outcomes = [
            run(
                one.processes,
                one.capacity_blocks,
                make_cache_policy(one.capacity_blocks),
                make_scheduler_policy(),
            )
            for one in scenarios
        ]
        costs = {
            one.name: (outcome.mean_response_s, one.baseline.mean_response_s, one.bound)
            for one, outcome in zip(scenarios, outcomes, strict=True)
        }
        beside = {
            "miss_ratio": fmean(outcome.miss_ratio for outcome in outcomes),
            "baseline_miss_ratio": fmean(one.baseline.miss_ratio for one in scenarios),
        }
        return Score.from_costs(costs, beside)

    def joined(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """The values of both policies, from those of each by specialization.

        Raises ProblemError if it is not the two, or for missing, unknown or bad values.
        """
        if set(parts) != set(self.specializations):
            raise ProblemError(f"{sorted(parts)} are not {list(self.specializations)}")
        values = {
            prefix + name: value
            for prefix, specialization in zip((CACHE, SCHEDULER), self.specializations, strict=True)
            for name, value in parts[specialization].items()
        }
        return check_values(self.parameters, values)

    def component_sources(self, values: Mapping[str, float]) -> dict[str, str]:
        """By specialization, the module of its policy as text, with its values as PARAMETERS."""
        checked = check_values(self.parameters, values)
        return {
            "file_system": filled_source("file_system_policy", part(CACHE, checked)),
            "process_manager": filled_source("process_manager_policy", part(SCHEDULER, checked)),
        }
