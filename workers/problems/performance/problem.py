"""The memory allocator: where in an address space the objects of a program lie.

A workload is one or two recorded runs of real programs (`traces/mallocs-*`, made by
`scripts/record_mallocs.py`): the sizes of the objects that a program made, and when each of them
was free again. Each run is one scenario; its first OBJECTS objects are placed. `heap` says which
pages are held for them.

Each run has two costs, and counts as two scenarios: the most pages ever held, and the number of
pages held on average, whenever an object was just made. At the peak there is little to learn: M. S.
Johnstone and P. R. Wilson (The Memory Fragmentation Problem: Solved?, ISMM 1998) found that best
fit and first fit by address waste next to nothing there, and so it is here: in all recordings that
choices were made on, they came within a page of the bound. Allocators differ in what they hold the
rest of the time.

Baseline is the binary buddy system, the bound is the bytes of the live objects in whole pages. What
was recorded in which run, and what each is for, is as in `file_system`.

A generated workload has PROGRAMS_A_MODEL programs of each model in `mallocs`, of OBJECTS objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from workers.problems.draws import Draws
from workers.problems.material import (
    development,
    held_out,
    recorded_workloads,
    recording,
    table_parameters,
)
from workers.problems.performance import policy as performance_policy
from workers.problems.performance.heap import INTERFACE, Buddy, Held, fewest, replay
from workers.problems.performance.mallocs import FATES, allocations
from workers.problems.policies import Maker
from workers.problems.problem import About, Scenarios, Score
from workers.problems.single import SingleProblem

OBJECTS = 1_200
PROGRAMS_A_MODEL = 3
PROGRAMS = ("compile", "history", "words", "script")
WORKLOADS = recorded_workloads(PROGRAMS)


@dataclass(frozen=True)
class Scenario:
    """The objects of one run, with what is held for them whatever the policy; see `heap.replay`."""

    name: str
    events: tuple[int, ...]
    baseline: Held
    bound: Held


def first_objects(events: Sequence[int], objects: int) -> tuple[int, ...]:
    """The events until so many objects were made."""
    made = [place for place, event in enumerate(events) if event > 0]
    return tuple(events[: made[:objects][-1] + 1])


def recorded_events(run: str) -> tuple[int, ...]:
    """The events of a recorded run that are replayed."""
    events = [int(line) for line in recording(f"mallocs-{run}").splitlines()]
    return first_objects(events, OBJECTS)


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """Programs of each model, each with kinds of objects of its own."""
    for model, program in product(FATES, range(PROGRAMS_A_MODEL)):
        name = f"{model}-{program}"
        yield scenario(name, allocations(model, OBJECTS, Draws(seed, f"mallocs/{name}")))


def scenario(name: str, events: tuple[int, ...]) -> Scenario:
    """The scenario of these events."""
    return Scenario(name, events, replay(events, Buddy()), fewest(events))


class MemoryAllocator(SingleProblem):
    """The problem of the specialization `performance`; costs are pages held, at the peak and on
    average."""

    specialization = "performance"
    name = "memory_allocator"
    cost_unit = "pages"
    about = About(
        decides="where in memory an object lies",
        workload="recorded sizes and lifetimes of objects",
        baseline="the binary buddy system",
        bound="the bytes that are live, in whole pages; loose",
    )
    interface = INTERFACE
    policy = performance_policy
    parameters = table_parameters(
        performance_policy.PARAMETERS,
        classes_per_doubling=(1.0, 256.0, "log"),
        run_bytes=(16.0, 8192.0, "log"),
        searched=(1, 16, "integer"),
        address_weight=(0.00001, 10.0, "log"),
        new_page_bytes=(1.0, 100_000.0, "log"),
        short_life=(1.0, 1024.0, "log"),
        life_memory=(0.0, 1.0),
    )
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        return tuple(scenario(run, recorded_events(run)) for run in WORKLOADS[workload])

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of the models of `mallocs`."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> Held:
        """The pages that any policy holds."""
        return replay(scenario.events, make_policy())

    def score(self, scenarios: Scenarios, measured: Sequence[Held]) -> Score:
        """The score of what `measure` gave for the scenarios, two of each."""
        costs: dict[str, tuple[float, float, float]] = {}
        for one, held in zip(scenarios, measured, strict=True):
            baseline, bound = one.baseline, one.bound
            costs[f"{one.name}/mean"] = (held.mean_pages, baseline.mean_pages, bound.mean_pages)
            costs[f"{one.name}/peak"] = (held.peak_pages, baseline.peak_pages, bound.peak_pages)
        return Score.from_costs(costs)
