"""The report: one page about a run, which needs nothing but itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coordinator.archive.archive import Archive
from coordinator.clock import iso
from coordinator.history import Line
from coordinator.reads import Item
from reports import shown
from reports.best import bests_of
from reports.busiest import busiest_of
from reports.curves import Curve, learning_curves
from reports.drawing import draw
from reports.effect import Gain, gains_chart, gains_of, pairs_of, uses_chart, uses_of
from reports.graph import graph_of
from reports.palette import DARK, LIGHT, UNKNOWN_COLOUR, colours_of
from reports.rejected import rejections_of
from reports.run import TO_ONE, Run
from reports.svg import svg_of

AIS_MAX = 60
PAIRS_MAX = 10
EDGES_MAX = 8
GAINS_SHOWN = 8
GAPS_MAX = 12
TOLD_EVERY = 5_000

OnLines = Callable[[int], None]

_PAGES = Environment(
    loader=PackageLoader("reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["iso"] = iso
_PAGES.filters |= {
    name: getattr(shown, name)
    for name in ("clock", "duration", "moment", "name", "percent", "points")
}


class Member(NamedTuple):
    """An AI of the fleet; ``share`` is its contribution as a part of the highest."""

    ai: str
    specialization: str
    contribution: float
    share: float
    shared: int
    passed: int
    from_ms: int
    until_ms: int | None
    joins: int


class Headline(NamedTuple):
    """A number that sums the run up."""

    number: str
    what: str
    more: str


def make_report(archive: Archive, now_ms: int, told: OnLines = lambda count: None) -> str:
    """The page as HTML. ``told`` is called now and then with how many lines of the history were
    read. Raises BadArchive for a file that is spoiled."""
    run = Run()
    contributions = archive.contributions()
    ais, sessions = list(archive.ais()), list(archive.sessions())
    specializations = {ai["ai"]: ai["specialization"] for ai in ais}
    lines = run.followed(_counted(archive.lines(), told))
    graph = graph_of(lines, contributions, specializations)
    members = _members(ais, contributions, run)
    uses, gains = uses_of(run), gains_of(run)
    curves = learning_curves(run)
    pairs = pairs_of(uses, gains)
    busiest, sessions_total = busiest_of(sessions, archive.units)
    return _PAGES.get_template("report.html").render(
        fleet=archive.fleet,
        made_ms=now_ms,
        run=run,
        headlines=_headlines(run, members, sessions, len(uses), gains),
        members=members[:AIS_MAX],
        members_total=len(members),
        colours=colours_of(_words(members, curves)),
        unknown_colour=UNKNOWN_COLOUR,
        curves=curves,
        uses_chart=uses_chart(run, uses),
        gains_chart=gains_chart(run, gains),
        gains=_largest(gains),
        gains_told=_gains_told(gains),
        pairs=pairs[:PAIRS_MAX],
        pairs_total=len(pairs),
        graph=graph,
        edges=graph.edges[:EDGES_MAX],
        picture=Markup(svg_of(draw(graph), is_inline=True)),
        busiest=busiest,
        sessions_total=sessions_total,
        bests=bests_of(run, archive.records),
        rejections=rejections_of(run, sessions),
        gaps=run.gaps[:GAPS_MAX],
        light=LIGHT,
        dark=DARK,
    )


def _words(members: Iterable[Member], curves: Iterable[Curve]) -> set[str]:
    """The specializations that have a colour on the page."""
    words = {member.specialization for member in members}
    return words.union(*(curve.specializations for curve in curves))


def _counted(lines: Iterable[Line], told: OnLines) -> Iterator[Line]:
    for count, line in enumerate(lines, 1):
        if count % TOLD_EVERY == 0:
            told(count)
        yield line


def _members(ais: Iterable[Item], contributions: dict[str, float], run: Run) -> list[Member]:
    """Who was there, those with the highest contribution first."""
    shared = Counter(maker for share in _newest(run) for maker in share[:1])
    passed = Counter(one.maker for one in run.latest.values() if one.score is not None)
    most = max(contributions.values(), default=0.0)
    members = [
        Member(
            ai=item["ai"],
            specialization=item["specialization"],
            contribution=contributions.get(item["ai"], 0.0),
            share=max(0.0, contributions.get(item["ai"], 0.0) / most) if most > 0 else 0.0,
            shared=shared[item["ai"]],
            passed=passed[item["ai"]],
            from_ms=item["first_joined_ms"],
            until_ms=item["left_ms"],
            joins=item["joins"],
        )
        for item in ais
    ]
    return sorted(members, key=lambda member: (-member.contribution, -member.shared, member.ai))


def _newest(run: Run) -> Iterable[tuple[str, ...]]:
    """The makers of each record, once."""
    return {share.name: share.makers for share in run.shares}.values()


def _headlines(
    run: Run, members: list[Member], sessions: list[Item], uses: int, gains: list[Gain]
) -> list[Headline]:
    kinds = Counter(name.partition(":")[0] for name in {share.name for share in run.shares})
    components = kinds["component"] + kinds["feature"]
    completed = sum(session["state"] == "completed" for session in sessions)
    passed = sum(one.score is not None for one in run.latest.values())
    gained = [gain.gain for gain in gains]
    begun = sum(session["began_ms"] is not None for session in sessions)
    to_one = run.messages[TO_ONE]
    return [
        _headline(len(members), "AI", _of_specializations(members)),
        _headline(run.messages.total(), "message", f"{to_one:,} of them to one AI"),
        _headline(kinds["pattern"], "pattern", "shared"),
        _headline(components, "component", f"shared, {passed:,} passed a validation"),
        _headline(completed, "collaboration", f"completed, of {begun:,} begun"),
        _headline(uses, "use", "of other AIs' records" + _typically(gained)),
    ]


def _headline(count: int, what: str, more: str) -> Headline:
    return Headline(f"{count:,}", f"{what}{'s' * (count != 1)}", more)


def _typically(gained: list[float]) -> str:
    return f", median gain {shown.points(median(gained))} points" if gained else ""


def _of_specializations(members: list[Member]) -> str:
    count = len({member.specialization for member in members})
    return f"of {count} specialization{'s' * (count != 1)}"


def _largest(gains: list[Gain]) -> list[Gain]:
    better = (gain for gain in gains if gain.gain > 0)
    return sorted(better, key=lambda gain: -gain.gain)[:GAINS_SHOWN]


def _gains_told(gains: list[Gain]) -> dict[str, Any]:
    values = [gain.gain for gain in gains]
    return {
        "count": len(values),
        "better": sum(value > 0 for value in values),
        "median": median(values) if values else 0.0,
    }
