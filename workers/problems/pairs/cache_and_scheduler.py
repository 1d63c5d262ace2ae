"""A cache and a CPU scheduler on one machine, each run by a policy of its own specialization.

Whoever reads a block that the cache does not hold waits for the disk and leaves the CPU to others;
a hit costs nothing. So the cache decides who can run, the scheduler decides whose blocks are asked
for next and how many processes share the cache meanwhile, and what is best for one depends on the
other. The cost is the mean response time (end - arrival) of the processes, in seconds. Baseline is
LRU with round robin of 10 ms. The miss ratio is reported beside the cost.

A workload is one or two recorded runs of real programs (`traces/reads-*`, made by
`scripts/record_processes.py --reads`): when each process arrived, its reads, and the CPU time
before each. `machine` says what becomes of them.

Which part of a run is replayed is one rule for all: its first processes, as many as together make
no more references than REFERENCES a workload, in equal shares of its runs. The cache holds
CACHE_FRACTION of the distinct blocks among them. The times between arrivals are stretched or
compressed, by one factor a run, until the busier of CPU and disk is asked for LOAD of its time up
to the last arrival, the disk for what LRU would read if the processes ran one after the other.

A generated workload has processes that arrive and compute by the models in `arrivals`, and read
what the programs in `reads` do: MACHINES scenarios for each model of arrivals, of GENERATED
processes each. These are so few, and the scenarios so many, because what the programs of a scenario
happen to have in common decides how hard it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from types import MappingProxyType

from workers.problems.draws import Draws
from workers.problems.file_system.problem import (
    BLOCK_BYTES,
    FILE_SHIFT,
    BufferCache,
    LeastRecentlyUsed,
    lru_misses,
)
from workers.problems.file_system.reads import Programs
from workers.problems.material import (
    development,
    held_out,
    recorded_workloads,
    recording,
)
from workers.problems.pair import PairProblem
from workers.problems.pairs.machine import (
    DISK_READ_US,
    Outcome,
    Process,
    bound_s,
    run,
)
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.process_manager.arrivals import MODELS, cpu_times_us
from workers.problems.process_manager.cpu import RoundRobin
from workers.problems.process_manager.problem import BASELINE_QUANTUM_US, CpuScheduler
from workers.problems.single import SingleProblem

REFERENCES = 8_000
GENERATED, MACHINES = 75, 4
CACHE_FRACTION = 1 / 8
LOAD = 0.8
PROGRAMS = ("compile", "search")
WORKLOADS = recorded_workloads(PROGRAMS)
CACHE, SCHEDULER = "cache.", "scheduler."


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


def recorded_scenario(run_name: str, references: int) -> Scenario:
    """The scenario of the first processes of a recorded run."""
    return scenario(run_name, list(first_processes(recording(f"reads-{run_name}"), references)))


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """For each model of arrivals MACHINES, with GENERATED processes and programs of their own."""
    for model, machine in product(MODELS, range(MACHINES)):
        draws = Draws(seed, f"joint/{model}/{machine}")
        arrivals_us = MODELS[model](GENERATED, draws)
        yield scenario(f"{model}-{machine}", list(generated_processes(arrivals_us, draws)))


def generated_processes(arrivals_us: Sequence[int], draws: Draws) -> Iterator[Process]:
    """Processes that run programs of `reads` for as long as `arrivals` says.

    Each spends as much CPU time before each block as after the last.
    """
    programs = Programs(draws)
    for arrival_us, cpu_us in zip(arrivals_us, cpu_times_us(len(arrivals_us), draws), strict=True):
        blocks = tuple(programs.run())
        at_us = [cpu_us * part // (len(blocks) + 1) for part in range(len(blocks) + 2)]
        bursts_us = tuple(after - before for before, after in pairwise(at_us))
        yield Process(arrival_us, bursts_us, blocks)


def scenario(name: str, came: Sequence[Process]) -> Scenario:
    """The scenario of processes that came at some times: at LOAD, with a cache of its size."""
    blocks = [block for process in came for block in process.blocks]
    capacity = round(len(set(blocks)) * CACHE_FRACTION)
    cpu_us = sum(process.cpu_us for process in came)
    disk_us = DISK_READ_US * lru_misses(blocks, (), capacity)
    factor = max(cpu_us, disk_us) / (LOAD * came[-1].arrival_us)
    processes = tuple(
        replace(process, arrival_us=round(process.arrival_us * factor)) for process in came
    )
    baseline = run(processes, capacity, LeastRecentlyUsed(), RoundRobin(BASELINE_QUANTUM_US))
    return Scenario(f"{name}/{capacity} blocks", processes, capacity, baseline, bound_s(processes))


class CacheAndScheduler(PairProblem):
    """The joint problem of `file_system` and `process_manager`; costs are mean response times,
    seconds. `Score.beside` has `miss_ratio` and `baseline_miss_ratio`.
    """

    name = "cache_and_scheduler"
    cost_unit = "s"
    about = About(
        decides="which block a full cache gives up, and which process runs meanwhile",
        workload="recorded processes with their reads, on one CPU with one disk",
        baseline="LRU with round robin of 10 ms",
        bound="the CPU alone, the disk alone, or no queues, whichever is most; loose",
    )
    parts: Mapping[str, SingleProblem] = MappingProxyType(
        {CACHE: BufferCache(), SCHEDULER: CpuScheduler()}
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)
    beside = ("miss_ratio",)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        runs = WORKLOADS[workload]
        return tuple(recorded_scenario(run, REFERENCES // len(runs)) for run in runs)

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `arrivals` and `reads`."""
        return tuple(generated_scenarios(seed))

    def replay(
        self, scenario: Scenario, make_cache_policy: Maker, make_scheduler_policy: Maker
    ) -> Outcome:
        """What a replay under any two policies shows."""
        capacity = scenario.capacity_blocks
        return run(
            scenario.processes, capacity, make_cache_policy(capacity), make_scheduler_policy()
        )
