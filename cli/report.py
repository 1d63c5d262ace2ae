"""``coord report``: one page about a run, for people."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, plain, say, say_json, size
from coordinator.archive.archive import Archive
from coordinator.archive.follow import catch_up
from coordinator.clock import SystemClock
from coordinator.errors import CoordError
from coordinator.history import Follower
from coordinator.settings import Settings
from reports.report import make_report

QUIET_S = 1.0
"""Progress is told of what takes longer."""

OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="Where the page is written.")
]
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="FILE",
        help="An archive that `coord archive` has written.",
        show_default="what the server still keeps",
    ),
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
    check_directory(out)
    settings = load_settings(redis, namespace, state_dir)
    with _opened(archive, settings) as opened:
        page = make_report(opened, SystemClock().now_ms(), _progress("read"))
    write_page(out, page)
    written = {"report": str(out.absolute()), "bytes": len(page.encode())}
    if json:
        say_json(written)
    else:
        say(f"report: {plain(out)} ({size(len(page.encode()))})")


def write_page(out: Path, page: str) -> None:
    """Write it beside ``out`` and put it there whole. CoordError if that cannot be written."""
    check_directory(out)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _unwritable(out, error.strerror or "no reason was given") from None


def check_directory(out: Path) -> None:
    """CoordError if nothing can be written at ``out``, before the work is done."""
    if out.is_dir():
        raise _unwritable(out, "it is a directory")
    if not out.parent.is_dir():
        raise _unwritable(out, "its directory is missing")
    if not os.access(out.parent, os.W_OK):
        raise _unwritable(out, "its directory may not be written")


def _unwritable(out: Path, reason: str) -> CoordError:
    return CoordError(f"{plain(out)} cannot be written ({reason}): name another file by --out")


@contextmanager
def _opened(path: Path | None, settings: Settings) -> Iterator[Archive]:
    """The archive at ``path``, or a new one of what the server keeps, for as long as it is used."""
    if path is not None:
        with Archive.read(path) as archive:
            yield archive
        return
    with (
        tempfile.TemporaryDirectory(prefix="coord-report-") as directory,
        open_fleet(settings) as fleet,
        Archive.open(Path(directory) / "kept.db", create=True) as archive,
    ):
        told, stored = _progress("stored"), 0
        for lines in catch_up(archive, Follower(fleet.connection, fleet.keys)):
            stored += len(lines)
            told(stored)
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
