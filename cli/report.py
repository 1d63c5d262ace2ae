"""``coord report``: one page about a run, for people."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.files import check_writable, write_file
from cli.options import (
    ArchiveOption,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, plain, say, say_json
from coordinator.archive.archive import Archive
from coordinator.archive.follow import catch_up
from coordinator.archive.reader import ArchiveReader
from coordinator.clock import SystemClock
from coordinator.history import Follower
from coordinator.settings import Settings
from reports.formats import size
from reports.report import make_report

QUIET_S = 1.0
"""Progress is told of what takes longer."""

OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="Where the page is written.")
]


def report(
    out: OutOption = Path("report.html"),
    archive: ArchiveOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Write one page about a run: the fleet, what it learned, what sharing did, the best of it.

    It is HTML that needs nothing but itself, for a screen, a phone and paper. Without an archive it
    tells of what the server still keeps, and says from when on that is all.

    Example: coord report --archive hub_data.db --out report.html
    """
    check_writable(out, "--out")
    settings = load_settings(redis, namespace, state_dir)
    with _opened(archive, settings) as opened:
        page = make_report(opened, SystemClock().now_ms(), _progress("read")).encode()
    write_file(out, page, "--out")
    written = {"report": str(out.absolute()), "bytes": len(page)}
    if json:
        say_json(written)
    else:
        say(f"report: {plain(out)} ({size(len(page))})")


@contextmanager
def _opened(path: Path | None, settings: Settings) -> Iterator[ArchiveReader]:
    """The archive at ``path``, or a new one of what the server keeps, for as long as it is used."""
    if path is not None:
        with ArchiveReader.read(path) as archive:
            yield archive
        return
    with (
        tempfile.TemporaryDirectory(prefix="coord-report-") as directory,
        open_fleet(settings) as fleet,
        Archive.open(Path(directory) / "kept.db", create=True) as archive,
    ):
        on_lines, stored = _progress("stored"), 0
        for lines in catch_up(archive, Follower(fleet.connection, fleet.keys)):
            stored += len(lines)
            on_lines(stored)
        yield archive


def _progress(done: str) -> Callable[[int], None]:
    """Says how many lines were ``done``, once a second."""
    said_s = time.monotonic()

    def tell(count: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= QUIET_S:
            said_s = time.monotonic()
            advise(f"{done} {count:,} lines of history …")

    return tell
