"""What trainers of a fleet tell each other, and what they make of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from workers.problems.problem import defaults
from workers.search import Search
from workers.training import Start, Trainer

Line = dict[str, Any]


class Eager(Trainer):
    """Tells every evaluation at once."""

    told_evaluations = 1


class Seldom(Trainer):
    """Tells about a generation of CMA-ES at a time."""

    told_evaluations = 12


class OfBest(Trainer):
    """Its search goes on, and takes in the best that is known whenever that is another's."""

    round_evaluations = 12


class Restarting(OfBest):
    """Begins a new search at the best that is known, round by round: what trainers did before they
    told each other what they measured."""

    def _choose_start(self, workload: str) -> Start:
        start = super()._choose_start(workload)
        values = self._searches[workload].found.values
        seed = self._seed * 1_000_003 + self._round
        self._searches[workload] = Search(self._problem, workload, seed, values)
        return start


class Mixing(OfBest):
    """Takes over a half of the parameters of what is offered, another half each time."""

    def offer(self, pattern: dict[str, Any], contributor: str, kind: str = "pattern") -> bool:
        draw = random.Random(f"{self._seed} {pattern['id']}")
        data = pattern["data"]
        own = self._searches[data["workload"]]
        values = own.found.values if own.evaluations else defaults(self._problem.parameters)
        mixed = {
            name: value if draw.random() < 0.5 else values[name]
            for name, value in data["parameters"].items()
        }
        told = {"problem": data["problem"], "parameters": mixed}
        return super().offer(pattern | {"data": told}, contributor, kind)


Hears = Callable[[Line, int, int, int], bool]
"""Whether a line of one trainer goes to another, by the places of both and the size of the
fleet."""


def _all(line: Line, sender: int, receiver: int, size: int) -> bool:
    return True


def _nothing(line: Line, sender: int, receiver: int, size: int) -> bool:
    return False


def _patterns(line: Line, sender: int, receiver: int, size: int) -> bool:
    return "pattern" in line


def _neighbour(line: Line, sender: int, receiver: int, size: int) -> bool:
    return "pattern" in line and receiver == (sender + 1) % size


def _same_camp(line: Line, sender: int, receiver: int, size: int) -> bool:
    return sender % 2 == receiver % 2


@dataclass(frozen=True)
class Strategy:
    """A kind of trainer, and who hears what of whom."""

    about: str
    trainer: type[Trainer]
    hears: Hears


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "isolated": Strategy("share nothing", Trainer, _nothing),
        "measured": Strategy("share every evaluation, 3 at a time, as trainers do", Trainer, _all),
        "eager": Strategy("the same as measured, each at once", Eager, _all),
        "seldom": Strategy("the same as measured, 12 at a time", Seldom, _all),
        "camps": Strategy("the same as measured, in each half of the fleet", Trainer, _same_camp),
        "best": Strategy("share the best, begin again at it", Restarting, _patterns),
        "islands": Strategy("share the best, go on with the own search", OfBest, _patterns),
        "ring": Strategy("the same as islands, with one neighbour", OfBest, _neighbour),
        "partial": Strategy("take over half of the best one's parameters", Mixing, _patterns),
    }
)
