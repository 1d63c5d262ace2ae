"""Search for a problem's best parameters by CMA-ES."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy
from cmaes import CMA  # type: ignore[import-untyped]

from workers.evaluations import Evaluation
from workers.problems.problem import Score, Trainable, check_values, defaults, from_unit, to_unit

FIRST_STEP = 0.25
STALE_GENERATIONS = 12
LARGEST_POPULATION = 256
"""So that nothing that others tell makes a generation last for ever."""


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
        return self.try_values(from_unit(self.problem.parameters, point))

    def try_values(self, values: dict[str, float]) -> float:
        score = self.problem.evaluate(values, self.workload)
        is_better = score.gap_closed > self.found.score.gap_closed
        self.found = Found(
            values if is_better else self.found.values,
            score if is_better else self.found.score,
            self.found.evaluations + 1,
        )
        return score.gap_closed


class Search:
    """CMA-ES in the unit cube without end, a step at a time; it can take in what others evaluated.

    The first step evaluates `start` (the defaults if None), whatever was claimed of it, so the best
    is never worse than the start. CMA-ES (N. Hansen, A. Ostermeier, Evolutionary Computation 9(2),
    2001; library `cmaes`) begins around it with a step of FIRST_STEP of each parameter's range.
    When STALE_GENERATIONS bring nothing better than it had itself, or the library says that it has
    converged, it begins again with twice the population (A. Auger, N. Hansen, CEC 2005), in turns
    from a random point and from the best.

    Deterministic by `seed` and by what it is told. Raises ProblemError for bad start values, and
    whatever evaluates raises it for an unknown workload.
    """

    def __init__(
        self, problem: Trainable, workload: str, seed: int, start: Mapping[str, float] | None = None
    ) -> None:
        self._problem = problem
        self._workload = workload
        self._start = check_values(problem.parameters, start or defaults(problem.parameters))
        self._best: Best | None = None
        self._draw = random.Random(seed)
        self._runs = 0
        self._begin(to_unit(problem.parameters, self._start), None)

    @property
    def found(self) -> Found:
        """The best so far; the start is evaluated if nothing was before."""
        return self._own_best().found

    @property
    def evaluations(self) -> int:
        return 0 if self._best is None else self._best.found.evaluations

    def step(self) -> Evaluation:
        """Evaluate the next point."""
        if self._best is None:
            best = self._own_best()
            return Evaluation(best.point(), best.found.score.gap_closed)
        drawn = self._optimizer.ask()
        evaluation = Evaluation([float(unit) for unit in drawn], self._best.try_point(drawn))
        self._tell(evaluation)
        return evaluation

    def check(self, values: dict[str, float]) -> float:
        """Evaluate what somebody says is good; the gap that it closes. If that is the best, and is
        farther away than CMA-ES looks, it begins again there."""
        best = self._own_best()
        known = best.found.score.gap_closed
        checked = Evaluation(to_unit(self._problem.parameters, values), best.try_values(values))
        if self._is_near(checked.point):
            self._tell(checked)
        elif checked.gap_closed > known:
            self._begin(checked.point, None)
        return checked.gap_closed

    def learn(self, evaluation: Evaluation) -> bool:
        """Tell CMA-ES what somebody else says to have evaluated, as if the point were its own.

        That steers where it looks, and is not taken for the best. A point farther away than it
        would have drawn one says nothing about what is around here, and is left out: False.
        """
        is_near = self._is_near(evaluation.point)
        if is_near:
            self._tell(evaluation)
        return is_near

    def _own_best(self) -> Best:
        if self._best is None:
            self._best = Best(self._problem, self._workload, self._start)
        return self._best

    def _is_near(self, point: Sequence[float]) -> bool:
        """Whether the point is no farther from the mean, in steps of CMA-ES, than the length at
        which N. Hansen cuts them off (Injecting External Solutions Into CMA-ES, 2011)."""
        size = len(point)
        return distance(self._optimizer, point) <= math.sqrt(size) + 2 * size / (size + 2)

    def _begin(self, mean: Sequence[float], population: int | None) -> None:
        self._optimizer = new_optimizer(mean, self._draw.randrange(2**32), population)
        self._generation: list[Evaluation] = []
        self._reached = -math.inf
        self._stale = 0

    def _tell(self, evaluation: Evaluation) -> None:
        """One more of the present generation, which may be its last."""
        self._generation.append(evaluation)
        if len(self._generation) < self._optimizer.population_size:
            return
        self._optimizer.tell([(numpy.array(point), -gap) for point, gap in self._generation])
        reached = max(gap for _, gap in self._generation)
        self._stale = 0 if reached > self._reached else self._stale + 1
        self._reached = max(self._reached, reached)
        self._generation = []
        if self._stale >= STALE_GENERATIONS or self._optimizer.should_stop():
            self._restart()

    def _restart(self) -> None:
        self._runs += 1
        best = self._own_best().point()
        mean = [self._draw.random() for _ in best] if self._runs % 2 else best
        self._begin(mean, min(2 * self._optimizer.population_size, LARGEST_POPULATION))


def search_steps(
    problem: Trainable, workload: str, seed: int, start: Mapping[str, float] | None = None
) -> Iterator[Found]:
    """A `Search` by itself: yields the best so far after each evaluation, without end.

    Raises ProblemError for an unknown workload or bad start values.
    """
    alone = Search(problem, workload, seed, start)
    while True:
        alone.step()
        yield alone.found


def new_optimizer(mean: Sequence[float], seed: int, population_size: int | None) -> CMA:
    """CMA-ES in the unit cube around `mean`; the library chooses a population size of None."""
    return CMA(
        mean=numpy.array(mean),
        sigma=FIRST_STEP,
        bounds=numpy.array([[0.0, 1.0]] * len(mean)),
        seed=seed,
        population_size=population_size,
    )


def distance(optimizer: CMA, point: Sequence[float]) -> float:
    """How far the point is from the mean, in steps of the optimizer (a Mahalanobis distance)."""
    axes, lengths = optimizer._eigen_decomposition()
    step = (numpy.array(point) - optimizer.mean) / optimizer._sigma
    return float(numpy.linalg.norm((axes.T @ step) / lengths))


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
