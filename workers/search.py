"""Search for a problem's best parameters by CMA-ES."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy
from cmaes import CMA  # type: ignore[import-untyped]

from workers.problems.problem import Score, Trainable, check_values, defaults, from_unit, to_unit

FIRST_STEP = 0.25
STALE_GENERATIONS = 12


@dataclass(frozen=True)
class Found:
    """The best so far: parameter values by name, their score, and the evaluations it took.

    `evaluations` counts all evaluations made until now, the one of the start included.
    """

    values: dict[str, float]
    score: Score
    evaluations: int


OnProgress = Callable[[Found], None]


class Best:
    """Evaluates points of the unit cube, and keeps the best that was found."""

    def __init__(
        self, problem: Trainable, workload: str, start: Mapping[str, float] | None
    ) -> None:
        self.problem = problem
        self.workload = workload
        values = check_values(problem.parameters, start or defaults(problem.parameters))
        self.found = Found(values, problem.evaluate(values, workload), 1)

    def point(self) -> list[float]:
        return to_unit(self.problem.parameters, self.found.values)

    def try_point(self, point: Sequence[float]) -> float:
        values = from_unit(self.problem.parameters, point)
        score = self.problem.evaluate(values, self.workload)
        is_better = score.gap_closed > self.found.score.gap_closed
        self.found = Found(
            values if is_better else self.found.values,
            score if is_better else self.found.score,
            self.found.evaluations + 1,
        )
        return score.gap_closed


def search_steps(
    problem: Trainable, workload: str, seed: int, start: Mapping[str, float] | None = None
) -> Iterator[Found]:
    """CMA-ES in the unit cube without end: yields the best so far after each evaluation.

    The first evaluation is that of `start` (the defaults if None), whatever was claimed of it, so
    the best is never worse than the start. CMA-ES (N. Hansen, A. Ostermeier, Evolutionary
    Computation 9(2), 2001; library `cmaes`) begins around it with a step of FIRST_STEP of each
    parameter's range. When STALE_GENERATIONS bring nothing better than it had itself, or the
    library says that it has converged, it begins again with twice the population (A. Auger,
    N. Hansen, CEC 2005), in turns from a random point and from the best.

    Deterministic by `seed`. Raises ProblemError for an unknown workload or bad start values.
    """
    best = Best(problem, workload, start)
    yield best.found
    draw = random.Random(seed)
    population: int | None = None
    mean = best.point()
    for run in itertools.count(1):
        optimizer = new_optimizer(mean, draw.randrange(2**32), population)
        yield from _converge(optimizer, best)
        population = 2 * optimizer.population_size
        mean = [draw.random() for _ in mean] if run % 2 else best.point()


def new_optimizer(mean: Sequence[float], seed: int, population_size: int | None) -> CMA:
    """CMA-ES in the unit cube around `mean`; the library chooses a population size of None."""
    return CMA(
        mean=numpy.array(mean),
        sigma=FIRST_STEP,
        bounds=numpy.array([[0.0, 1.0]] * len(mean)),
        seed=seed,
        population_size=population_size,
    )


def _converge(optimizer: CMA, best: Best) -> Iterator[Found]:
    """Let one CMA-ES run until it has converged or its own best is stale."""
    own_best = -math.inf
    stale = 0
    while stale < STALE_GENERATIONS and not optimizer.should_stop():
        solutions = []
        for _ in range(optimizer.population_size):
            point = optimizer.ask()
            solutions.append((point, -best.try_point(point)))
            yield best.found
        optimizer.tell(solutions)
        reached = max(-cost for _, cost in solutions)
        stale = 0 if reached > own_best else stale + 1
        own_best = max(own_best, reached)


def search(
    problem: Trainable,
    workload: str,
    evaluations: int,
    seed: int,
    start: Mapping[str, float] | None = None,
    on_progress: OnProgress | None = None,
) -> Found:
    """The best of `evaluations` (at least 1) evaluations of `search_steps`.

    `on_progress` is called with the best so far after each evaluation.
    """
    if evaluations < 1:
        raise ValueError(f"at least 1 evaluation is needed, not {evaluations}")
    for found in itertools.islice(search_steps(problem, workload, seed, start), evaluations):
        if on_progress is not None:
            on_progress(found)
    return found
