"""One CMA-ES search whose evaluations are split over several participants, in rounds.

Nobody holds the search between rounds. What there is of it is the history: the evaluations of all
earlier rounds, as plain data. In each round every participant rebuilds the search from the seed
and the history, and evaluates its own part of the next points. Three rules make that safe:

- *The history decides.* The optimizer is told the recorded points, not those that it would draw
  itself, and restarts, sizes and parts follow from recorded numbers alone by comparing and
  subtracting. So machines whose linear algebra differs in the last bit never disagree about what
  was evaluated, nor about whose turn it is.
- *Every evaluation has a random stream of its own*, made from the seed and its number. So nobody
  draws the points of others, and a replay draws none at all: it costs what telling costs.
- *A generation has one size for any number of participants.* So the same points are evaluated in
  the same order by one participant or by many, only in fewer rounds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from workers.evaluations import Evaluation, evaluation_of, list_of
from workers.problems.policies import ProblemError
from workers.problems.problem import (
    Trainable,
    check_values,
    defaults,
    from_unit,
    to_unit,
)
from workers.search import STALE_GENERATIONS, new_optimizer

# 12 points a generation learn as much from 240 evaluations as the library's 9 do; 16, 18 and 24
# learn less (3 development workloads of `file_system`, 10 seeds). Four participants share them.
GENERATION = 12
SHARE = 3
CONVERGED_WIDTH = 1e-10


Share = list[Evaluation]
"""What one participant evaluated in one round, in the search's order: SHARE at most."""

History = Sequence[Sequence[Sequence[object]]]
"""The earlier rounds; a round is the shares of its parts, part 0 first. It may come from JSON, and
is checked whenever it is used."""


@dataclass(frozen=True)
class Best:
    """The best that is recorded: values by name, the gap they closed, all evaluations so far."""

    values: dict[str, float]
    gap_closed: float
    evaluations: int


def evaluate_share(
    problem: Trainable,
    workload: str,
    seed: int,
    start: Mapping[str, float] | None,
    history: History,
    part: int,
    parts: int,
) -> Share:
    """Evaluate what the next round after `history` has for participant `part` of 0..`parts` - 1.

    The search is that of `workers.search.search_steps`, with generations of GENERATION points, the
    first of which is `start` (the defaults if None). A round takes up to SHARE points a
    participant, and ends with its generation at the latest. So a generation takes
    GENERATION / (`parts` * SHARE) rounds, rounded up: more than GENERATION / SHARE participants
    make rounds shorter, not fewer. A share is empty if there are fewer points than participants.

    `seed`, `start` and `parts` must be the same in all rounds and for all participants. What
    others recorded is checked for its form, but not evaluated again.

    Raises ProblemError for an unknown workload, for bad start values, for a part that is none, and
    for a history that is no result of earlier rounds.
    """
    if not 0 <= part < parts:
        raise ProblemError(f"part {part} is not one of 0..{parts - 1}")
    values = check_values(problem.parameters, start or defaults(problem.parameters))
    rounds = _checked(history, len(problem.parameters))
    search = _replay(seed, to_unit(problem.parameters, values), rounds, parts)
    share = []
    for ahead in _part_of_round(search, part, parts):
        point = search.point(ahead)
        score = problem.evaluate(from_unit(problem.parameters, point), workload)
        share.append(Evaluation(point, score.gap_closed))
    return share


def best_of(problem: Trainable, history: History) -> Best:
    """The best recorded evaluation, the earliest of equals.

    Its gap is what its participant claims. Raises ProblemError for a history that is malformed or
    has no evaluation.
    """
    rounds = _checked(history, len(problem.parameters))
    evaluations = [one for shares in rounds for share in shares for one in share]
    if not evaluations:
        raise ProblemError("the history has no evaluation")
    best = max(evaluations, key=_gap_closed)
    values = from_unit(problem.parameters, best.point)
    return Best(values, best.gap_closed, len(evaluations))


class _Search:
    """The search as the recorded evaluations leave it."""

    def __init__(self, seed: int, start: list[float]) -> None:
        self.seed = seed
        self.start = start
        self.draw_restart = random.Random(seed)
        self.restarts = 0
        self.evaluations = 0
        self.best = Evaluation(start, -math.inf)
        self._begin(start, GENERATION)

    def _begin(self, mean: list[float], population: int) -> None:
        # The optimizer's own seed is never used: each point comes with one.
        self.optimizer = new_optimizer(mean, 0, population)
        self.generation: list[Evaluation] = []
        self.own_best = -math.inf
        self.stale = 0

    def missing(self) -> int:
        """How many points the present generation still needs; at least one."""
        size: int = self.optimizer.population_size
        return size - len(self.generation)

    def point(self, ahead: int) -> list[float]:
        """The point `ahead` evaluations after the next one, in the present generation."""
        number = self.evaluations + ahead
        if number == 0:
            return self.start
        self.optimizer.reseed_rng(random.Random(f"{self.seed} {number}").getrandbits(32))
        return [float(coordinate) for coordinate in self.optimizer.ask()]

    def record(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in the evaluations of one round, which belong to the present generation."""
        self.evaluations += len(evaluations)
        self.best = max([self.best, *evaluations], key=_gap_closed)
        self.generation += evaluations
        if self.missing() == 0:
            self._end_generation()

    def _end_generation(self) -> None:
        reached = max(map(_gap_closed, self.generation))
        self.stale = 0 if reached > self.own_best else self.stale + 1
        self.own_best = max(self.own_best, reached)
        # Whether the optimizer itself would stop depends on the machine's last bits.
        if self.stale >= STALE_GENERATIONS or _width(self.generation) < CONVERGED_WIDTH:
            self._restart()
            return
        # Recorded points that no optimizer drew throw the step far off; the library bounds it.
        with numpy.errstate(over="ignore"):
            self.optimizer.tell([(numpy.array(point), -gap) for point, gap in self.generation])
        self.generation = []

    def _restart(self) -> None:
        self.restarts += 1
        is_random = self.restarts % 2 == 1
        mean = [self.draw_restart.random() for _ in self.start] if is_random else self.best.point
        self._begin(mean, 2 * self.optimizer.population_size)


def _replay(seed: int, start: list[float], rounds: list[list[Share]], parts: int) -> _Search:
    """The search after these rounds. The start that was recorded counts, not the one given."""
    recorded = (one.point for shares in rounds for share in shares for one in share)
    search = _Search(seed, next(recorded, start))
    for number, shares in enumerate(rounds):
        if len(shares) != parts:
            raise ProblemError(f"round {number} has {len(shares)} shares, not {parts}")
        for part, share in enumerate(shares):
            due = len(_part_of_round(search, part, parts))
            if len(share) != due:
                where = f"round {number}, part {part}"
                raise ProblemError(f"{where}: {len(share)} evaluations, not {due}")
        search.record([one for share in shares for one in share])
    return search


def _part_of_round(search: _Search, part: int, parts: int) -> range:
    """Which of the next points are this part's, counted from the next one."""
    size = min(search.missing(), parts * SHARE)
    return range(part * size // parts, (part + 1) * size // parts)


def _gap_closed(evaluation: Evaluation) -> float:
    return evaluation.gap_closed


def _width(evaluations: Sequence[Evaluation]) -> float:
    """How far apart the points are, in the coordinate in which they are farthest."""
    return float(numpy.ptp([one.point for one in evaluations], axis=0).max())


def _checked(history: History, dimensions: int) -> list[list[Share]]:
    """The history with its evaluations as such; ProblemError says where it is malformed."""
    return [
        [
            [
                evaluation_of(one, dimensions, f"round {number}, part {part}, evaluation {place}")
                for place, one in enumerate(list_of(share, f"round {number}, part {part}"))
            ]
            for part, share in enumerate(list_of(shares, f"round {number}"))
        ]
        for number, shares in enumerate(list_of(history, "the history"))
    ]
