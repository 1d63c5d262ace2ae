"""Random search, which CMA-ES is compared with."""

from __future__ import annotations

import random
from collections.abc import Iterator

from workers.problems.problem import Trainable
from workers.search import Best, Found


def random_steps(problem: Trainable, workload: str, seed: int) -> Iterator[Found]:
    """Points drawn evenly from the unit cube, after the defaults; else as `search_steps`."""
    best = Best(problem, workload, None)
    yield best.found
    draw = random.Random(seed)
    while True:
        best.try_point([draw.random() for _ in problem.parameters])
        yield best.found
