"""Learning curves: of each problem what validators measured, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports import formats
from reports.charts import SHAPES, Plane, marker, plane, steps
from reports.effect import built_on
from reports.run import Judgement, Run, record_id
from workers.ranking import PROBLEM_BY_NAME, problems_in_order, specializations_of

MARKERS_MAX = 300
"""So many markers a curve are drawn: those that were the best so far, and others evenly."""
LOWEST = -0.5
"""Worse ones stand at the lower edge."""


class Marker(NamedTuple):
    """``path`` draws it; filled if it was begun from another AI's record."""

    path: str
    is_filled: bool
    told: str


class Key(NamedTuple):
    """An entry of the legend."""

    path: str
    label: str


class LearningCurve(NamedTuple):
    """The course of one problem. Costs are those of the best measurement, on its workload."""

    problem: str
    specializations: tuple[str, ...]
    best: Judgement
    sentences: Sequence[str]
    plane: Plane
    zero_y: float
    bound_y: float
    line: str
    markers: Sequence[Marker]
    keys: Sequence[Key]
    measured: int

    @property
    def costs(self) -> tuple[str, str]:
        """Of the baseline, and of the bound."""
        found = self.best.found.get("costs")
        costs = found if isinstance(found, dict) else {}
        return formats.cost(costs.get("baseline")), formats.cost(costs.get("bound"))

    @property
    def summary(self) -> str:
        """The chart in a sentence, for those who cannot see it."""
        return (
            f"{self.measured} measured, the best closed {formats.percent(self.best.score)} of the"
            f" gap between baseline and bound, by {formats.name(self.best.maker)} at"
            f" {formats.clock(self.best.ms)}"
        )


def learning_curves(run: Run) -> list[LearningCurve]:
    """A curve for each problem that something was measured by, in the order of the problems."""
    by_problem: dict[str, list[Judgement]] = {}
    for one in run.measured:
        by_problem.setdefault(one.problem, []).append(one)
    return [_curve(name, by_problem[name], run) for name in problems_in_order(by_problem)]


def _curve(name: str, measured: Sequence[Judgement], run: Run) -> LearningCurve:
    scores = [_score(one) for one in measured]
    low = min(0.0, max(LOWEST, min(scores))) - 0.04
    axes = plane(run.last_ms - run.first_ms, low, 1.04, _gap_ticks(low))
    makers = [maker for maker, _ in Counter(one.maker for one in measured).most_common()]
    drawn = _thinned(measured)
    best = max(measured, key=_score)
    problem = PROBLEM_BY_NAME.get(name)
    words = specializations_of(problem) if problem else (run.specializations.get(best.name, ""),)
    return LearningCurve(
        problem=name,
        specializations=words,
        best=best,
        sentences=[*_about(name, best), *_left_out(scores, len(drawn))],
        plane=axes,
        zero_y=axes.y.at(0),
        bound_y=axes.y.at(1),
        line=steps(axes, [(one.ms - run.first_ms, _score(one)) for one in _bests(measured)]),
        markers=[_marker(one, makers.index(one.maker), axes, run) for one in drawn],
        keys=_keys(makers),
        measured=len(measured),
    )


def _about(name: str, best: Judgement) -> list[str]:
    """What the problem is, as far as that is known here."""
    problem = PROBLEM_BY_NAME.get(name)
    if problem is None:
        unit = best.found.get("cost_unit")
        return [f"Costs are in {formats.name(unit)}."] if unit else []
    about = problem.about
    return [
        f"It decides {about.decides}; costs are in {problem.cost_unit}.",
        f"Baseline: {about.baseline}.",
        f"Bound: {about.bound}.",
    ]


def _left_out(scores: Sequence[float], drawn: int) -> list[str]:
    below = sum(score < LOWEST for score in scores)
    told = [f"{below:,} below {formats.percent(LOWEST)} stand at the lower edge."] if below else []
    return told + ([f"{drawn:,} of them are drawn."] if drawn < len(scores) else [])


def _score(one: Judgement) -> float:
    assert one.score is not None
    return one.score


def _gap_ticks(low: float) -> list[tuple[float, str]]:
    ticks = [(0.0, "0\u202f%"), (0.25, ""), (0.5, "50\u202f%"), (0.75, ""), (1.0, "100\u202f%")]
    return [(-0.5, "\u221250\u202f%"), (-0.25, ""), *ticks] if low <= LOWEST else ticks


def _bests(measured: Iterable[Judgement]) -> list[Judgement]:
    """Those that were the best so far."""
    bests: list[Judgement] = []
    for one in measured:
        if not bests or _score(one) > _score(bests[-1]):
            bests.append(one)
    return bests


def _thinned(measured: Sequence[Judgement]) -> list[Judgement]:
    """At most about MARKERS_MAX of them, in order."""
    every = -(-len(measured) // MARKERS_MAX)
    kept = {id(one) for one in (*_bests(measured)[-MARKERS_MAX:], *measured[::every])}
    return [one for one in measured if id(one) in kept]


def _marker(one: Judgement, place: int, axes: Plane, run: Run) -> Marker:
    parents = built_on(one.name, one.makers, run.origins)
    others = sorted({origin.contributors[0] for origin in parents})
    told = f"{formats.percent(one.score)} at {formats.clock(one.ms)}:"
    told += f" {formats.name(record_id(one.name))} of {formats.name(one.maker)}"
    if others:
        told += f", begun from {', '.join(map(formats.name, others))}"
    path = marker(place, axes.x.at(one.ms - run.first_ms), axes.y.at(_score(one)))
    return Marker(path, bool(others), told)


def _keys(makers: Sequence[str]) -> list[Key]:
    """Each of the first makers has a shape; all others share the last one."""
    if len(makers) <= SHAPES:
        return [Key(marker(n, 6, 6), formats.name(maker)) for n, maker in enumerate(makers)]
    named = [
        Key(marker(n, 6, 6), formats.name(maker)) for n, maker in enumerate(makers[: SHAPES - 1])
    ]
    return [*named, Key(marker(SHAPES, 6, 6), f"{len(makers) - SHAPES + 1} others")]
