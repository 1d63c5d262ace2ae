"""Small charts as numbers: scales, ticks and lines, which ``templates/charts.html`` draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports.formats import duration

WIDTH, HEIGHT = 360.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 350.0, 12.0, 180.0
"""Where a chart's plane lies in its picture, in user units, which are CSS pixels of a phone."""
TICKS_MAX = 5
_SECONDS = (1, 2, 5, 10, 15, 30)
_STEPS_S = (
    *(0.1, 0.2, 0.5),
    *_SECONDS,
    *(60 * n for n in _SECONDS),
    *(3600 * n for n in (1, 2, 3, 6, 12)),
    *(86_400 * n for n in (1, 2, 7, 14, 30, 90, 365)),
)


class Scale(NamedTuple):
    """``low`` to ``high`` laid onto ``start`` to ``end``; what is beyond stands at the edge."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 1)


class Tick(NamedTuple):
    at: float
    label: str


class Plane(NamedTuple):
    """The axes of a chart: ``x`` takes ms since the run began, ``y`` the values."""

    x: Scale
    y: Scale
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def plane(span_ms: int, low: float, high: float, y_ticks: Iterable[tuple[float, str]]) -> Plane:
    """Axes for a run of ``span_ms`` and values from ``low`` to ``high``."""
    x = Scale(0, max(1, span_ms), LEFT, RIGHT)
    y = Scale(low, high, BOTTOM, TOP)
    ticks = [Tick(y.at(value), label) for value, label in y_ticks]
    return Plane(x, y, time_ticks(x), ticks)


def time_ticks(x: Scale) -> list[Tick]:
    """A few round times from 0 to the end of ``x``, which is of ms."""
    step_ms = next((s * 1000 for s in _STEPS_S if x.high / (s * 1000) <= TICKS_MAX), x.high)
    marks = [n * step_ms for n in range(int(x.high / step_ms) + 1)]
    return [Tick(x.at(ms), _short(ms)) for ms in marks]


def _short(ms: float) -> str:
    shown = duration(ms).replace(".0 s", " s").removesuffix(" 0 s").removesuffix(" 0 min")
    return shown if ms else "0"


def count_ticks(most: int) -> tuple[float, list[tuple[float, str]]]:
    """A round number from ``most`` up, and ticks up to it."""
    step = _round_up(max(1, most) / 4)
    top = step * math.ceil(max(1, most) / step)
    return top, [(n * step, f"{n * step:,}") for n in range(top // step + 1)]


def _round_up(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 …"""
    power = 10 ** math.floor(math.log10(max(1.0, value)))
    return next(int(n * power) for n in (1, 2, 5, 10) if n * power >= value)


def steps(plane: Plane, course: Sequence[tuple[int, float]]) -> str:
    """The path of a line that keeps each value until the next one, and the last to the end."""
    if not course:
        return ""
    (first_ms, first), *others = course
    moves = [f"M{plane.x.at(first_ms)} {plane.y.at(first)}"]
    moves += [f"H{plane.x.at(ms)}V{plane.y.at(value)}" for ms, value in others]
    return "".join([*moves, f"H{plane.x.end}"])


_SHAPES = (
    "M{l} {y}A{r} {r} 0 1 1 {R} {y}A{r} {r} 0 1 1 {l} {y}Z",  # a circle
    "M{l} {t}H{R}V{b}H{l}Z",  # a square
    "M{x} {t}L{R} {b}H{l}Z",  # a triangle
    "M{x} {T}L{X} {y}L{x} {B}L{L} {y}Z",  # a diamond
    "M{x} {b}L{R} {t}H{l}Z",  # a triangle on its head
    "M{x} {T}V{B}M{L} {y}H{X}",  # a plus, for all others
)
SHAPES = len(_SHAPES)


def marker(shape: int, x: float, y: float, radius: float = 4.0) -> str:
    """The path of a marker at that place; its shape is one of ``SHAPES``, all others the last."""
    wide = radius * 1.3
    around = {"x": x, "y": y, "r": radius, "l": x - radius, "R": x + radius, "t": y - radius}
    around |= {"b": y + radius, "T": y - wide, "B": y + wide, "L": x - wide, "X": x + wide}
    rounded = {side: round(value, 1) for side, value in around.items()}
    return _SHAPES[min(shape, SHAPES - 1)].format(**rounded)
