"""``coord graph``: who worked with whom, as a table or a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.files import check_writable, write_file
from cli.inputs import did_you_mean, seconds_of
from cli.options import (
    AiOption,
    ArchiveOption,
    JsonOption,
    LimitOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, counted, plain, say, show, table
from coordinator.archive.reader import ArchiveReader
from coordinator.clock import SystemClock
from coordinator.credit import read_contributions
from coordinator.errors import CoordError
from coordinator.history import recent_lines
from coordinator.reads import Item, read_ais
from reports.formats import moment
from reports.graph.drawing import draw
from reports.graph.graph import Edge, Graph
from reports.graph.page import graph_page
from reports.graph.pairs import graph_of
from reports.graph.png import png_of
from reports.graph.svg import svg_of

AIS_MAX = 100_000
NAME_MAX, LONGEST = 100, 200
LABELS_SHOWN = 3
TITLE = "Who worked with whom"

SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DURATION",
        help="Only what happened in the last 90s, 10m, 2h or 1d.",
        show_default="all that there is",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Write a picture or page there: .svg, .png, .html or .json.",
        show_default="a table on the terminal",
    ),
]


@dataclass(frozen=True)
class Found:
    """A graph, the ``fleet`` whose it is ("" for an archive's), from when on (ms; 0 for all of it)
    it was wanted, from when on nothing of it is missing, and when it was read."""

    graph: Graph
    fleet: str
    since_ms: int
    complete_ms: int
    now_ms: int

    def heading(self) -> list[str]:
        begin = moment(self.since_ms) if self.since_ms else "the beginning"
        span = f"from {begin} to {moment(self.now_ms)}"
        return [TITLE, f"{self.fleet}: {self.counts()}" if self.fleet else self.counts(), span]

    def counts(self) -> str:
        pairs = counted(len(self.graph.edges), "pair")
        return f"{counted(len(self.graph.nodes), 'AI')}, {pairs}"

    def notes(self) -> list[str]:
        if self.complete_ms <= self.since_ms:
            return []
        return [
            f"the server keeps the history from {moment(self.complete_ms)} on: an archive has what"
            " came before (`coord graph --archive FILE`)"
        ]

    def to_json(self) -> Item:
        times = {"since_ms": self.since_ms, "complete_ms": self.complete_ms, "now_ms": self.now_ms}
        return times | self.graph.to_json()


Write = Callable[[Found], bytes]

WRITERS: dict[str, Write] = {
    ".svg": lambda found: svg_of(draw(found.graph, found.heading(), found.notes())).encode(),
    ".png": lambda found: png_of(draw(found.graph, found.heading(), found.notes())),
    ".html": lambda found: graph_page(found.graph, found.heading(), found.notes()).encode(),
    ".json": lambda found: json.dumps(found.to_json(), indent=2).encode(),
}
"""By the end of the file's name."""


def graph(
    since: SinceOption = None,
    out: OutOption = None,
    archive: ArchiveOption = None,
    ai: AiOption = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show who worked with whom: what AIs sent each other, began from each other's, did together.

    With --out it is a picture: AIs in the colours of their specializations, the larger the more
    they contributed, joined by lines that are the wider the more they did. The server keeps some of
    the history only; an archive has all of it.

    Example: coord graph --since 10m --out fleet.svg
    """
    write = None if out is None else _writer(out)
    now_ms = SystemClock().now_ms()
    since_ms = 0 if since is None else max(0, now_ms - int(seconds_of(since) * 1000))
    if archive is not None:
        found = _read_archive(archive, since_ms, now_ms)
    else:
        with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
            found = _read_fleet(fleet, since_ms, now_ms)
    if ai is not None:
        found = replace(found, graph=_around(found.graph, ai))
    for note in found.notes():
        advise(note)
    if out is not None and write is not None:
        write_file(out, write(found), "--out")
    if out is None or as_json:
        show(found.to_json(), as_json, lambda shown: _render(shown, found.graph, limit))
    else:
        say(f"wrote {plain(out)}: {found.counts()}")


def _writer(out: Path) -> Write:
    """What makes a file of that name. A usage error names the endings that there are, a CoordError
    says why there can be none."""
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        endings = ", ".join(WRITERS)
        raise typer.BadParameter(f"--out {plain(out)} does not end in one of {endings}")
    check_writable(out, "--out")
    return write


def _read_archive(path: Path, since_ms: int, now_ms: int) -> Found:
    with ArchiveReader.read(path) as archive:
        specializations = {str(ai["ai"]): str(ai["specialization"]) for ai in archive.ais()}
        lines = archive.lines(since_ms or None)
        graph = graph_of(lines).known(archive.contributions(), specializations)
    return Found(graph, "", since_ms, since_ms, now_ms)


def _read_fleet(fleet: OpenFleet, since_ms: int, now_ms: int) -> Found:
    read = (fleet.connection, fleet.keys)
    specializations = {
        str(ai["ai_id"]): str(ai["specialization"]) for ai in read_ais(*read, AIS_MAX).items
    }
    recent = recent_lines(*read, since_ms)
    graph = graph_of(recent.lines)
    ais = [node.id for node in graph.nodes]
    contributions = dict(zip(ais, read_contributions(*read, ais), strict=True))
    graph = graph.known(contributions, specializations)
    return Found(graph, fleet.keys.namespace, since_ms, recent.complete_ms, now_ms)


def _around(graph: Graph, ai: str) -> Graph:
    known = [node.id for node in graph.nodes]
    if ai not in known:
        question = did_you_mean(ai, known) or "`coord graph` without --ai shows who is"
        raise CoordError(
            f"{plain(ai, NAME_MAX)} is not in the history of that time: {plain(question)}"
        )
    return graph.around(ai)


def _render(shown: Console, graph: Graph, limit: int) -> None:
    if not graph.edges:
        shown.print(Text(f"{counted(len(graph.nodes), 'AI')}, and nobody worked with anybody"))
        return
    columns = ("AI", "with", "messages", "records", "units", "what it was")
    most = LABELS_SHOWN if shown.is_terminal else sys.maxsize
    rows = [edge_row(edge, most) for edge in graph.edges[:limit]]
    shown.print(table("", columns, rows, LONGEST if shown.is_terminal else sys.maxsize))
    if len(graph.edges) > limit:
        shown.print(Text(f"{limit} of {len(graph.edges)} pairs: ask for more by --limit"))


def edge_row(edge: Edge, labels_shown: int) -> tuple[object, ...]:
    """``labels_shown`` of what they did, and how many more there are."""
    what = [f"{label.text} ({label.count})" for label in edge.labels[:labels_shown]]
    left_out = len(edge.labels) - len(what)
    told = ", ".join(what) + (f" and {left_out} more" if left_out else "")
    return edge.a, edge.b, edge.messages, edge.shared, edge.units, told
