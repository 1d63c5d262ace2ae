"""The CPU scheduler: which process runs next, and for how long.

A workload is one or two recorded runs of real programs (`traces/processes-*`, made by
`scripts/record_processes.py`): when each process arrived, and the CPU time it needed. They are
replayed on one CPU. The cost is the mean response time (end - arrival) of the processes, in
seconds. Baseline is round robin with a quantum of 10 ms; the bound always runs the process that
has the least left, which takes knowing the future, and switches at no cost. Policy and baseline
pay CONTEXT_SWITCH_US for every switch. The mean slowdown, response time / CPU time, which counts
short processes as much as long ones, is reported beside the cost, and not searched for.

Which part of a run is replayed is one rule for all: its first processes, PROCESSES a workload in
equal shares of its runs (fewer if a run was shorter). How close arrivals are depends on the machine
that was recorded on, so the times between them are stretched or compressed, by one factor a run,
until the CPU is asked for LOADS of its time on average, up to the last arrival. Each load is one
scenario. Processes arrive when they were created, whatever the replay does to those before them.

A generated workload has GENERATED processes of each model in `arrivals` at each load, and others in
each scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

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
from workers.problems.process_manager import policy as process_manager_policy
from workers.problems.process_manager.arrivals import MODELS, cpu_times_us
from workers.problems.process_manager.cpu import (
    INTERFACE,
    RoundRobin,
    replay,
    shortest_remaining_first,
)
from workers.problems.single import SingleProblem

PROCESSES = 500
GENERATED = 1_000
LOADS = (0.7, 0.9)
BASELINE_QUANTUM_US = 10_000
PROGRAMS = ("compile", "search", "tests", "mixed")
WORKLOADS = recorded_workloads(PROGRAMS)


@dataclass(frozen=True)
class Outcome:
    """What a replay shows: mean response time in seconds, and mean slowdown."""

    cost: float
    mean_slowdown: float


@dataclass(frozen=True)
class Scenario:
    """One load on one recorded run: microseconds by process, in the order of arrival.

    Baseline and bound are mean response times in seconds.
    """

    name: str
    arrivals_us: tuple[int, ...]
    cpu_us: tuple[int, ...]
    baseline: Outcome
    bound: float


def recorded_processes(text: str, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first processes of a recording: (arrivals, CPU times), microseconds, CPU at least 1."""
    rows = [line.split() for line in text.splitlines()[:count]]
    return tuple(int(row[0]) for row in rows), tuple(max(1, int(row[1])) for row in rows)


def at_load(arrivals_us: Sequence[int], cpu_us: Sequence[int], load: float) -> tuple[int, ...]:
    """The arrivals moved by one factor, so that CPU time / time of the last arrival is `load`."""
    factor = sum(cpu_us) / (load * arrivals_us[-1])
    return tuple(round(arrival_us * factor) for arrival_us in arrivals_us)


def mean_response_s(arrivals_us: Sequence[int], ends_us: Sequence[int]) -> float:
    """The mean of end - arrival, in seconds."""
    return (sum(ends_us) - sum(arrivals_us)) / len(ends_us) / 1e6


def mean_slowdown(
    arrivals_us: Sequence[int], cpu_us: Sequence[int], ends_us: Sequence[int]
) -> float:
    """The mean of (end - arrival) / CPU time; 1 is a process that never waits."""
    return fmean(
        (end_us - arrival_us) / needed_us
        for arrival_us, needed_us, end_us in zip(arrivals_us, cpu_us, ends_us, strict=True)
    )


def scenarios(run: str, count: int) -> Iterator[Scenario]:
    """The scenarios of the first processes of a recorded run."""
    arrivals_us, cpu_us = recorded_processes(recording(f"processes-{run}"), count)
    for load in LOADS:
        yield scenario(run, arrivals_us, cpu_us, load)


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Each model at each load, with GENERATED processes of its own."""
    for model, load in product(MODELS, LOADS):
        draws = Draws(seed, f"{model}/{load}")
        cpu_us = cpu_times_us(GENERATED, draws)
        yield scenario(model, MODELS[model](GENERATED, draws), cpu_us, load)


def scenario(name: str, came_us: Sequence[int], cpu_us: tuple[int, ...], load: float) -> Scenario:
    """The scenario of processes that came at some times, at a load."""
    arrivals_us = at_load(came_us, cpu_us, load)
    ends_us = replay(arrivals_us, cpu_us, RoundRobin(BASELINE_QUANTUM_US))
    return Scenario(
        f"{name}/load {load}",
        arrivals_us,
        cpu_us,
        outcome(arrivals_us, cpu_us, ends_us),
        mean_response_s(arrivals_us, shortest_remaining_first(arrivals_us, cpu_us)),
    )


def outcome(arrivals_us: Sequence[int], cpu_us: Sequence[int], ends_us: Sequence[int]) -> Outcome:
    """What processes with these ends come to."""
    slowdown = mean_slowdown(arrivals_us, cpu_us, ends_us)
    return Outcome(mean_response_s(arrivals_us, ends_us), slowdown)


class CpuScheduler(SingleProblem):
    """The problem of the specialization `process_manager`; costs are mean response times, seconds.

    `Score.beside` has `mean_slowdown` and `baseline_mean_slowdown`.
    """

    specialization = "process_manager"
    name = "cpu_scheduler"
    cost_unit = "s"
    about = About(
        decides="which process runs next, and for how long",
        workload="recorded processes, at two loads of the CPU",
        baseline="round robin with a quantum of 10 ms",
        bound="shortest remaining time first, which knows the future; exact but for the switches",
    )
    interface = INTERFACE
    policy = process_manager_policy
    parameters = table_parameters(
        process_manager_policy.PARAMETERS,
        levels=(1, 8, "integer"),
        first_quantum_ms=(0.5, 100.0, "log"),
        quantum_growth=(1.0, 16.0, "log"),
        allotment_quanta=(1, 8, "integer"),
        boost_ms=(50.0, 100_000.0, "log"),
        preempt_margin=(1, 8, "integer"),
        interrupted_first=(0, 1, "integer"),
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)
    beside = ("mean_slowdown",)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        runs = WORKLOADS[workload]
        return tuple(
            scenario for run in runs for scenario in scenarios(run, PROCESSES // len(runs))
        )

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `arrivals`, at each load."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> Outcome:
        """Mean response time in seconds, and mean slowdown, of any policy."""
        arrivals_us, cpu_us = scenario.arrivals_us, scenario.cpu_us
        return outcome(arrivals_us, cpu_us, replay(arrivals_us, cpu_us, make_policy()))
