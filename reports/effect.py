"""What sharing did: who began from whose records, and whether that got them further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from coordinator.events import Origin
from reports.charts import Plane, count_ticks, marker, plane, steps
from reports.run import Judgement, Run
from workers.ranking import nearest_of_others

Origins = Mapping[str, tuple[Origin, ...]]


class Use(NamedTuple):
    """``user`` began a record from one of ``maker``'s."""

    ms: int
    user: str
    maker: str


class Gain(NamedTuple):
    """A measured record of ``maker`` that was begun from ``parent``, another AI's, which was
    measured by the same problem."""

    ms: int
    problem: str
    name: str
    maker: str
    parent: str
    parent_maker: str
    parent_score: float
    score: float

    @property
    def gain(self) -> float:
        return self.score - self.parent_score


class Pair(NamedTuple):
    """How often ``user`` began from ``maker``'s records, and what was gained where measured."""

    user: str
    maker: str
    uses: int
    gains: tuple[float, ...]

    @property
    def typical(self) -> float | None:
        return median(self.gains) if self.gains else None


def built_on(name: str, makers: Collection[str], origins: Origins) -> list[Origin]:
    """The nearest records of others that a record was begun from, through its makers' own."""
    known: dict[str, Origin] = {}

    def parents_of(child: str) -> list[str]:
        named = origins.get(child, ())
        known.update((origin.name, origin) for origin in named)
        return [origin.name for origin in named]

    found = nearest_of_others(name, makers, parents_of, lambda parent: known[parent].contributors)
    return [known[parent] for parent in found]


def uses_of(run: Run) -> list[Use]:
    """Each record that began from another AI's, once for each of these, in order of time."""
    seen: set[tuple[str, str]] = set()
    uses = []
    for share in run.shares:
        for origin in share.origins or ():
            edge = (share.name, origin.name)
            if origin.is_use and edge not in seen and share.makers and origin.contributors:
                seen.add(edge)
                uses.append(Use(share.ms, share.makers[0], origin.contributors[0]))
    return uses


def gains_of(run: Run) -> list[Gain]:
    """Of each measured record the gain over the best measured one of others that it began from.

    What a pattern is worth is told by the best component that its maker made of it.
    """
    measured = {name: one for name, one in run.latest.items() if one.score is not None}
    worth = _worth(measured, run.origins)
    gains = [
        gain for one in measured.values() if (gain := _gain(one, worth, run.origins)) is not None
    ]
    return sorted(gains, key=lambda gain: gain.ms)


Worth = dict[tuple[str, str], tuple[float, str]]
"""By record and problem: its measured score, and the record that this is the score of."""


def _worth(measured: Mapping[str, Judgement], origins: Origins) -> Worth:
    worth: Worth = {}
    for name, one in measured.items():
        assert one.score is not None
        worth[name, one.problem] = (one.score, name)
    for name, one in measured.items():
        for origin in origins.get(name, ()):
            key, told = (origin.name, one.problem), (one.score or 0.0, name)
            is_own = not set(one.makers).isdisjoint(origin.contributors)
            if (
                is_own
                and origin.name not in measured
                and told > worth.get(key, (float("-inf"), ""))
            ):
                worth[key] = told
    return worth


def _gain(one: Judgement, worth: Worth, origins: Origins) -> Gain | None:
    parents = [
        (*worth[origin.name, one.problem], origin)
        for origin in built_on(one.name, one.makers, origins)
        if (origin.name, one.problem) in worth
    ]
    if not parents or one.score is None:
        return None
    score, parent, origin = max(parents)
    maker = origin.contributors[0]
    return Gain(one.ms, one.problem, one.name, one.maker, parent, maker, score, one.score)


def pairs_of(uses: Sequence[Use], gains: Sequence[Gain]) -> list[Pair]:
    """Who built on whom, the most frequent first."""
    counts = Counter((use.user, use.maker) for use in uses)
    gained: dict[tuple[str, str], list[float]] = {}
    for gain in gains:
        gained.setdefault((gain.maker, gain.parent_maker), []).append(gain.gain)
    pairs = [
        Pair(*pair, counts[pair], tuple(gained.get(pair, ())))
        for pair in dict.fromkeys([*counts, *gained])
    ]
    return sorted(pairs, key=lambda pair: (-pair.uses, -len(pair.gains), pair.user, pair.maker))


class UsesChart(NamedTuple):
    """How many records were shared, and how many uses there were of them, over time."""

    plane: Plane
    shared: str
    uses: str
    shared_count: int
    uses_count: int


def uses_chart(run: Run, uses: Sequence[Use]) -> UsesChart:
    """Of all ``uses`` of the run, in order of time."""
    first = {share.name: share.ms for share in reversed(run.shares)}
    shared_ms = sorted(first.values())
    top, ticks = count_ticks(max(len(shared_ms), len(uses)))
    axes = plane(run.last_ms - run.first_ms, 0, top, ticks)
    shared = _rising(axes, shared_ms, run.first_ms)
    used = _rising(axes, [use.ms for use in uses], run.first_ms)
    return UsesChart(axes, shared, used, len(shared_ms), len(uses))


def _rising(axes: Plane, times_ms: Sequence[int], first_ms: int) -> str:
    """A line that rises by one at each time; where several fall on one place, at once."""
    course = {axes.x.at(ms - first_ms): (ms - first_ms, n) for n, ms in enumerate(times_ms, 1)}
    return steps(axes, [(0, 0), *course.values()])


GAINS_MAX = 300


class GainsChart(NamedTuple):
    """What each measured use gained, over time; ``points`` are paths, each with whether it is a
    gain."""

    plane: Plane
    zero_y: float
    points: Sequence[tuple[str, bool]]


def gains_chart(run: Run, gains: Sequence[Gain]) -> GainsChart:
    """The newest GAINS_MAX of them."""
    drawn = gains[-GAINS_MAX:]
    most = max((abs(gain.gain) for gain in drawn), default=0.0)
    step = next((one for one in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5) if most <= one * 2), 1.0)
    ticks = [(n * step, f"{n * step * 100:+.0f}".replace("-", "\u2212")) for n in range(-2, 3)]
    ticks[2] = (0.0, "0")
    axes = plane(run.last_ms - run.first_ms, -2.1 * step, 2.1 * step, ticks)
    points = [
        (marker(0, axes.x.at(one.ms - run.first_ms), axes.y.at(one.gain)), one.gain > 0)
        for one in drawn
    ]
    return GainsChart(axes, axes.y.at(0), points)
