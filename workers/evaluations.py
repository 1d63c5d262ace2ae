"""What searches tell each other: points and the gaps they closed, checked when they come in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from workers.problems.policies import ProblemError

LARGEST = sys.float_info.max
MOST_AT_ONCE = 12
"""No one message may fill more than about one generation of somebody else's search."""


class Evaluation(NamedTuple):
    """A point of the unit cube (a coordinate a parameter, each 0..1) and the gap it closed.

    JSON has it as `[[0.5, 0.25], 0.8]`.
    """

    point: list[float]
    gap_closed: float


def evaluations_of(data: object, dimensions: int) -> list[Evaluation]:
    """The evaluations in a list that somebody sent; ProblemError says where it is malformed."""
    told = list_of(data, "what was measured")
    if len(told) > MOST_AT_ONCE:
        raise ProblemError(f"{len(told)} evaluations at once; the most is {MOST_AT_ONCE}")
    return [evaluation_of(one, dimensions, f"evaluation {place}") for place, one in enumerate(told)]


def evaluation_of(data: object, dimensions: int, where: str) -> Evaluation:
    pair = list_of(data, where)
    if len(pair) != 2:
        raise ProblemError(f"{where}: a point and the gap it closed are needed")
    point = list_of(pair[0], f"{where}, its point")
    if len(point) != dimensions:
        raise ProblemError(f"{where}: {dimensions} coordinates are needed, not {len(point)}")
    units = [_number(unit, f"{where}, its point") for unit in point]
    if not all(0.0 <= unit <= 1.0 for unit in units):
        raise ProblemError(f"{where}: its point is outside the unit cube")
    return Evaluation(units, _number(pair[1], f"{where}, gap_closed"))


def list_of(data: object, where: str) -> Sequence[object]:
    if not isinstance(data, (list, tuple)):
        raise ProblemError(f"{where} is no list")
    return data


def _number(data: object, where: str) -> float:
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        raise ProblemError(f"{where}: no number")
    # An integer that is too large for a float is below infinity too.
    if not -LARGEST <= data <= LARGEST:
        raise ProblemError(f"{where}: not finite, or too large")
    return float(data)
