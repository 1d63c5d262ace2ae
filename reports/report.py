"""The report: one page about a run, which needs nothing but itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from markupsafe import Markup

from coordinator.archive.reader import ArchiveReader
from coordinator.history import Line
from coordinator.reads import Item
from coordinator.specializations import VALIDATION
from reports import formats
from reports.best import bests_of
from reports.busiest import busiest_of
from reports.curves import LearningCurve, learning_curves
from reports.effect import Gain, Use, gains_chart, gains_of, pairs_of, uses_chart, uses_of
from reports.graph.drawing import draw
from reports.graph.graph import Graph
from reports.graph.pairs import graph_of
from reports.graph.svg import svg_of
from reports.pages import page_of
from reports.palette import UNKNOWN_COLOUR, colours_of
from reports.rejected import rejections_of
from reports.run import TO_ONE, Run

AIS_MAX = 60
PAIRS_MAX = 10
EDGES_MAX = 8
GAINS_SHOWN = 8
GAPS_MAX = 12
LINES_EVERY = 5_000

OnLines = Callable[[int], None]
Section = dict[str, object]
"""What the template shows in one, by name."""


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


def make_report(archive: ArchiveReader, now_ms: int, on_lines: OnLines = lambda count: None) -> str:
    """The page as HTML. ``on_lines`` is called now and then with how many lines of the history were
    read. Raises BadArchive for a file that is spoiled."""
    run, contributions = Run(), archive.contributions()
    ais, sessions = list(archive.ais()), list(archive.sessions())
    specializations = {ai["ai"]: ai["specialization"] for ai in ais}
    lines = run.followed(_counted(archive.lines(), on_lines))
    graph = graph_of(lines).known(contributions, specializations)
    members = _members(ais, contributions, run)
    curves = learning_curves(run)
    uses, gains = uses_of(run), gains_of(run)
    busiest, begun = busiest_of(sessions, run.units_done, archive.units)
    return page_of(
        "report.html",
        fleet=archive.fleet,
        made_ms=now_ms,
        run=run,
        headlines=_headlines(run, members, sessions, len(uses), gains),
        members=members[:AIS_MAX],
        members_total=len(members),
        colours=colours_of(_words(members, curves)),
        unknown_colour=UNKNOWN_COLOUR,
        curves=curves,
        **_sharing(run, uses, gains),
        **_together(graph),
        busiest=busiest,
        begun=begun,
        not_begun=len(sessions) - begun,
        bests=bests_of(run, archive.records),
        rejections=rejections_of(run, sessions),
        gaps=run.gaps[:GAPS_MAX],
    )


def _sharing(run: Run, uses: Sequence[Use], gains: Sequence[Gain]) -> Section:
    """What sharing did."""
    pairs = pairs_of(uses, gains)
    return {
        "uses_chart": uses_chart(run, uses),
        "gains_chart": gains_chart(run, gains),
        "gains": _largest(gains),
        "gains_told": _gains_told(gains),
        "pairs": pairs[:PAIRS_MAX],
        "pairs_total": len(pairs),
    }


def _together(graph: Graph) -> Section:
    """Who worked with whom."""
    return {
        "picture": Markup(svg_of(draw(graph), is_inline=True)),
        "edges": graph.edges[:EDGES_MAX],
        "edges_total": len(graph.edges),
    }


def _words(members: Iterable[Member], curves: Iterable[LearningCurve]) -> set[str]:
    """The specializations that have a colour on the page."""
    words = {member.specialization for member in members}
    return words.union(*(curve.specializations for curve in curves))


def _counted(lines: Iterable[Line], on_lines: OnLines) -> Iterator[Line]:
    for count, line in enumerate(lines, 1):
        if count % LINES_EVERY == 0:
            on_lines(count)
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
    run: Run, members: list[Member], sessions: list[Item], uses: int, gains: Sequence[Gain]
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
        _headline(
            run.messages.total(), "message", f"passed on, {to_one:,} of them to one AI alone"
        ),
        _headline(kinds["pattern"], "pattern", "shared"),
        _headline(components, "component", f"shared, {passed:,} passed a validation"),
        _headline(completed, "collaboration", f"completed, of {begun:,} begun"),
        _headline(uses, "use", "of other AIs' records" + _typically(gained)),
    ]


def _headline(count: int, what: str, more: str) -> Headline:
    return Headline(f"{count:,}", f"{what}{'s' * (count != 1)}", more)


def _typically(gained: list[float]) -> str:
    return f", median gain {formats.points(median(gained))} points" if gained else ""


def _of_specializations(members: list[Member]) -> str:
    words = [member.specialization for member in members]
    count = len({*words} - {VALIDATION})
    validating = words.count(VALIDATION)
    told = f"of {count} specialization{'s' * (count != 1)}"
    return told + (f"; {validating} of them to validate" if validating else "")


def _largest(gains: Sequence[Gain]) -> list[Gain]:
    better = (gain for gain in gains if gain.gain > 0)
    return sorted(better, key=lambda gain: -gain.gain)[:GAINS_SHOWN]


def _gains_told(gains: Sequence[Gain]) -> dict[str, Any]:
    values = [gain.gain for gain in gains]
    return {
        "count": len(values),
        "better": sum(value > 0 for value in values),
        "median": median(values) if values else 0.0,
    }
