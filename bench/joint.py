"""What tuning cache and scheduler together is worth, against tuning each by itself.

    python -m bench.joint --evaluations 100 --seeds 10 --processes 2

Each policy is tuned alone on the training workload, from its default values, and the two results
are joined. From there both are tuned together, for as many evaluations again as were made so far.
What that is compared with costs the same: each policy tuned alone for twice as long, and then
joined. All by CMA-ES. What a policy tuned alone aims at is one of

    own     what its specialist sees: misses, with no scheduler; response time, with no disk
    joint   the joint cost, while the other policy keeps its default values

Prints Markdown, a table for each: gap closed of the joint problem, means over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from statistics import mean

from bench.alone import CacheAlone, SchedulerAlone
from bench.machine import describe_machine
from bench.search import SEARCH_PACKAGES, row
from workers.problems.cache_and_scheduler import CACHE, SCHEDULER, CacheAndScheduler
from workers.problems.problem import Score, Trainable, defaults
from workers.search import search, search_steps


class Half:
    """One policy of the joint problem, whose cost counts, while the other has its defaults."""

    problem = CacheAndScheduler()
    cost_unit = problem.cost_unit
    training_workloads = problem.training_workloads
    development_workloads = problem.development_workloads
    held_out_workloads = problem.held_out_workloads

    def __init__(self, prefix: str) -> None:
        self.name = f"{prefix}{self.problem.name}"
        self.parameters = tuple(p for p in self.problem.parameters if p.name.startswith(prefix))
        self.others = defaults(self.problem.parameters)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        return self.problem.evaluate({**self.others, **values}, workload)


ALONE: dict[str, Callable[[], tuple[Trainable, Trainable]]] = {
    "own": lambda: (CacheAlone(), SchedulerAlone()),
    "joint": lambda: (Half(CACHE), Half(SCHEDULER)),
}
Gaps = tuple[float, float, float]


@dataclass(frozen=True)
class Tuned:
    """Gaps closed by one seed: joined, joined after twice as long, and together."""

    workload: int
    training: Gaps
    held_out: Gaps


def tune(aim: str, workload: int, seed: int, evaluations: int) -> Tuned:
    problem = CacheAndScheduler()
    training, held_out = problem.training_workloads[workload], problem.held_out_workloads[workload]
    searches = [search_steps(alone, training, seed) for alone in ALONE[aim]()]
    once = [next(islice(steps, evaluations - 1, None)).values for steps in searches]
    twice = [next(islice(steps, evaluations - 1, None)).values for steps in searches]
    joined = once[0] | once[1]
    together = search(problem, training, 2 * evaluations, seed, start=joined).values

    def gaps(scored: str) -> Gaps:
        first, second, third = (
            problem.evaluate(values, scored).gap_closed
            for values in (joined, twice[0] | twice[1], together)
        )
        return first, second, third

    return Tuned(workload, gaps(training), gaps(held_out))


def print_table(aim: str, tuned: Sequence[Tuned], evaluations: int) -> None:
    problem = CacheAndScheduler()
    print(f"\nTuned alone for {evaluations} evaluations, by `{aim}`:\n")
    heads = ("scored on", "defaults", "joined", "joined, twice as long", "together", "won")
    print(row(heads))
    print(row("---" for _ in heads))
    pairs = zip(problem.training_workloads, problem.held_out_workloads, strict=True)
    for place, (training, held_out) in enumerate(pairs):
        runs = [one for one in tuned if one.workload == place]
        for name, gaps in (
            (training, [one.training for one in runs]),
            (held_out, [one.held_out for one in runs]),
        ):
            start = problem.evaluate(defaults(problem.parameters), name).gap_closed
            means = [f"{mean(column):.3f}" for column in zip(*gaps, strict=True)]
            won = sum(together > twice for _, twice, together in gaps)
            print(row([name, f"{start:.3f}", *means, f"{won} of {len(gaps)}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aims", nargs="+", choices=ALONE, default=list(ALONE))
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"Machine: {describe_machine(*SEARCH_PACKAGES)}. Seeds 0..{arguments.seeds - 1}.")
    for aim in arguments.aims:
        places = range(len(CacheAndScheduler.training_workloads))
        with ProcessPoolExecutor(arguments.processes) as pool:
            futures = [
                pool.submit(tune, aim, workload, seed, arguments.evaluations)
                for seed, workload in product(range(arguments.seeds), places)
            ]
            tuned = [future.result() for future in futures]
        print_table(aim, tuned, arguments.evaluations)


if __name__ == "__main__":
    main()
