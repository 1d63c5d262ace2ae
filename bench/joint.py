"""What tuning two policies together is worth, against tuning each by itself, for every pair.

    python -m bench.joint --evaluations 100 --seeds 5 --processes 2

Each policy is tuned alone on a training workload, from its default values, and the two results are
joined. From there both are tuned together, for as many evaluations again as were made so far.
What that is compared with costs the same: each policy tuned alone for twice as long, and then
joined. All by CMA-ES. What a policy tuned alone aims at is one of

    own     what its specialist sees: its own problem, whose workload has the same place
    joint   the joint cost, while the other policy keeps its default values

Prints Markdown. For each pair the gap closed of the joint problem, means over the seeds; and what
each of the two gave up of its own problem for that: the gap that it closes there on held-out
workloads, when tuned by itself and when tuned together.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from statistics import mean

from bench.machine import describe_machine
from bench.search import SEARCH_PACKAGES, row
from workers.problems import JOINT_PROBLEMS, JointProblem, find_problem
from workers.problems.overall import HELD_OUT, Overall
from workers.problems.problem import Parameter, Problem, Score, defaults
from workers.search import Found, search, search_steps

AIMS = ("own", "joint")
PAIRS = {one.name: one for one in JOINT_PROBLEMS}
Values = Mapping[str, float]
Gaps = tuple[float, float, float]


class Half:
    """One policy of a joint problem by its own parameters, whose joint cost counts, while the other
    has its defaults."""

    def __init__(self, joint: JointProblem, specialization: str) -> None:
        self.joint = joint
        self.specialization = specialization
        self.name = f"{specialization} of {joint.name}"
        self.cost_unit = joint.cost_unit
        self.parameters: tuple[Parameter, ...] = own_problem(specialization).parameters
        self.training_workloads = joint.training_workloads
        self.development_workloads = joint.development_workloads
        self.held_out_workloads = joint.held_out_workloads

    @cached_property
    def others(self) -> dict[str, Values]:
        return {name: defaults(own_problem(name).parameters) for name in self.joint.specializations}

    def evaluate(self, values: Values, workload: str) -> Score:
        joined = self.joint.joined({**self.others, self.specialization: values})
        return self.joint.evaluate(joined, workload)


@dataclass(frozen=True)
class Tuned:
    """Gaps closed by one seed: joined, joined after twice as long, and together; and by
    specialization those of its own problem, tuned alone and tuned together."""

    workload: int
    training: Gaps
    held_out: Gaps
    own: dict[str, tuple[float, float]]


def own_problem(specialization: str) -> Problem:
    problem = find_problem(specialization)
    assert problem is not None
    return problem


def alone(joint: JointProblem, aim: str, name: str, workload: int, seed: int) -> Iterator[Found]:
    """The search of one policy by itself."""
    if aim == "joint":
        return search_steps(Half(joint, name), joint.training_workloads[workload], seed)
    problem = own_problem(name)
    workloads = problem.training_workloads
    return search_steps(problem, workloads[workload % len(workloads)], seed)


def tune(pair: str, aim: str, workload: int, seed: int, evaluations: int) -> Tuned:
    joint = PAIRS[pair]
    training, held_out = joint.training_workloads[workload], joint.held_out_workloads[workload]
    searches = {name: alone(joint, aim, name, workload, seed) for name in joint.specializations}
    once, twice = (
        {
            name: next(islice(steps, evaluations - 1, None)).values
            for name, steps in searches.items()
        }
        for _ in range(2)
    )
    joined, joined_after_twice = joint.joined(once), joint.joined(twice)
    together = search(joint, training, 2 * evaluations, seed, start=joined).values

    def gaps(scored: str) -> Gaps:
        first, second, third = (
            joint.evaluate(values, scored).gap_closed
            for values in (joined, joined_after_twice, together)
        )
        return first, second, third

    own = {
        name: (own_gap(name, twice[name]), own_gap(name, values))
        for name, values in joint.split(together).items()
    }
    return Tuned(workload, gaps(training), gaps(held_out), own)


def own_gap(specialization: str, values: Values) -> float:
    return Overall(own_problem(specialization)).evaluate(values, HELD_OUT).gap_closed


def print_table(joint: JointProblem, aim: str, tuned: Sequence[Tuned], evaluations: int) -> None:
    print(f"\n{joint.name}, tuned alone for {evaluations} evaluations, by `{aim}`:\n")
    heads = ("scored on", "defaults", "joined", "joined, twice as long", "together", "won")
    print(row(heads))
    print(row("---" for _ in heads))
    pairs = zip(joint.training_workloads, joint.held_out_workloads, strict=True)
    for place, (training, held_out) in enumerate(pairs):
        runs = [one for one in tuned if one.workload == place]
        for name, gaps in (
            (training, [one.training for one in runs]),
            (held_out, [one.held_out for one in runs]),
        ):
            start = joint.evaluate(defaults(joint.parameters), name).gap_closed
            means = [f"{mean(column):.3f}" for column in zip(*gaps, strict=True)]
            won = sum(together > twice for _, twice, together in gaps)
            print(row([name, f"{start:.3f}", *means, f"{won} of {len(gaps)}"]))
    for name in joint.specializations:
        before, after = (
            mean(column) for column in zip(*(one.own[name] for one in tuned), strict=True)
        )
        print(f"\n{name} by its own measure, held out: {before:.3f} alone, {after:.3f} together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--aims", nargs="+", choices=AIMS, default=list(AIMS))
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"Machine: {describe_machine(*SEARCH_PACKAGES)}. Seeds 0..{arguments.seeds - 1}.")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for pair, aim in product(arguments.pairs, arguments.aims):
            joint = PAIRS[pair]
            places = range(len(joint.training_workloads))
            futures: list[Future[Tuned]] = [
                pool.submit(tune, pair, aim, workload, seed, arguments.evaluations)
                for seed, workload in product(range(arguments.seeds), places)
            ]
            tuned = [future.result() for future in futures]
            print_table(joint, aim, tuned, arguments.evaluations)


if __name__ == "__main__":
    main()
