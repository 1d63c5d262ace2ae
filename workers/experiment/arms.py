"""One arm of the experiment: trainers in one process, whose messages take no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple

from workers.experiment.one_workload import OneWorkload
from workers.experiment.strategies import STRATEGIES, Line, Strategy
from workers.problems import Problem, find_problem

SINGLE = "single"
"""The arm of one search with the evaluations of all."""
SEEDS_APART = 1_000


@dataclass(frozen=True)
class Run:
    """What one arm came to by one seed.

    `curve` has the best gap closed on the training workload after each evaluation of the fleet, as
    measured by who found it; `held_out` is the gap that the last best closes on the held-out one.
    """

    specialization: str
    arm: str
    seed: int
    workload: str
    curve: tuple[float, ...]
    held_out: float


class Told(NamedTuple):
    """A line of a trainer, by its place, after so many evaluations of its own."""

    after: int
    sender: int
    line: Line


def run_arm(specialization: str, arm: str, seed: int, trainers: int, evaluations: int) -> Run:
    """`arm` is a strategy by which so many `trainers` share, or SINGLE. `evaluations` are those of
    all together, those of offered starts included; the same number for each trainer.

    The seed chooses the training workload, in turn. A trainer begins in all arms with the default
    parameters and, by its place in the fleet and the seed, the same random numbers.
    """
    problem = find_problem(specialization)
    if problem is None:
        raise ValueError(f"there is no problem for {specialization!r}")
    if arm == SINGLE:
        return _run(problem, arm, STRATEGIES["isolated"], seed, 1, evaluations)
    return _run(problem, arm, STRATEGIES[arm], seed, trainers, evaluations // trainers)


def _run(
    problem: Problem, arm: str, strategy: Strategy, seed: int, trainers: int, evaluations: int
) -> Run:
    place = seed % len(problem.training_workloads)
    views = [OneWorkload(problem, place) for _ in range(trainers)]
    _train(views, strategy, seed, evaluations)
    in_step = zip(*(view.tried[:evaluations] for view in views), strict=True)
    tried = list(chain.from_iterable(in_step))
    values, _ = max(tried, key=lambda one: one[1])
    return Run(
        specialization=problem.specialization,
        arm=arm,
        seed=seed,
        workload=problem.training_workloads[place],
        curve=tuple(accumulate((gap for _, gap in tried), max)),
        held_out=problem.evaluate(values, problem.held_out_workloads[place]).gap_closed,
    )


def _train(views: Sequence[OneWorkload], strategy: Strategy, seed: int, evaluations: int) -> None:
    """Let a trainer work on each view, all at the same speed, until each has its evaluations.

    Whoever has evaluated least is next, up to the next line that it tells. As a real trainer does,
    it hears before that what others told meanwhile: what they told after more evaluations than it
    has made itself is yet to come.
    """
    trainers = [
        strategy.trainer(f"AI_{n}", view, seed * SEEDS_APART + n, "run")
        for n, view in enumerate(views)
    ]
    lines = [trainer.lines() for trainer in trainers]
    coming: list[list[Told]] = [[] for _ in trainers]
    while True:
        one = min(range(len(views)), key=lambda n: len(views[n].tried))
        now = len(views[one].tried)
        if now >= evaluations:
            return
        for told in coming[one]:
            if told.after <= now:
                trainers[one].hear(told.line, f"AI_{told.sender}")
        coming[one] = [told for told in coming[one] if told.after > now]
        line = next(lines[one])
        for receiver in range(len(trainers)):
            if receiver != one and strategy.hears(line, one, receiver, len(trainers)):
                coming[receiver].append(Told(len(views[one].tried), one, line))
