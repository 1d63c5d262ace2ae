"""``coord archive``: what happens in a fleet, kept in an SQLite file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from typing import Annotated

import redis as redis_py
import typer
from rich.console import Console

from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.options import (
    JsonOption,
    NamespaceOption,
    OnceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import ExitCode, complain, facts, show
from coordinator.archive.archive import Archive
from coordinator.archive.failures import OtherFleet
from coordinator.archive.follow import catch_up, follow
from coordinator.archive_marks import unread
from coordinator.clock import Clock, RandomIds, SystemClock
from coordinator.history import Cursor, Follower, Line, read_end

log = logging.getLogger("coord.archive")

STATUS_EVERY_S = 10.0

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="SQLite file; it is made if it is missing.")
]


def archive(
    file: FileArgument,
    once: OnceOption = False,
    quiet: QuietOption = False,
    log_json: LogJsonOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Keep all that happens in the fleet in an SQLite file, until Ctrl-C or SIGTERM.

    It goes on where it was, whatever ended it. Until it has stored them, the coordinator keeps
    messages for it, up to a limit. With --once it ends when it has all that there is, and --json
    prints how many rows there are then. It ends with 2 if the file is another fleet's, for to
    start it again would change nothing of that.

    Example: coord archive hub_data.db
    """
    if json and not once:
        raise typer.BadParameter(
            "--json goes with --once: without it, nothing is printed at the end"
        )
    settings = load_settings(redis, namespace, state_dir, log_json=log_json)
    log_to_stderr(quiet, settings.log_json)
    try:
        with open_fleet(settings) as fleet, Archive.open(file, create=True) as opened:
            if once:
                _store_once(file, opened, fleet, json)
            else:
                _follow(file, opened, fleet)
    except OtherFleet as error:
        complain(error.detail)
        raise typer.Exit(ExitCode.USAGE) from error


def _store_once(file: Path, archive: Archive, fleet: OpenFleet, json: bool) -> None:
    follower = Follower(fleet.connection, fleet.keys)
    _tell(catch_up(archive, follower), fleet, archive, SystemClock())
    counts = archive.counts()
    show(counts, json, lambda shown: _render(shown, file, counts))


def _follow(file: Path, archive: Archive, fleet: OpenFleet) -> None:
    stop = Flag()
    stop_on_signals(stop.set)
    clock = SystemClock()
    log.info("%s (archive %s) follows the fleet on %s", file, archive.archive_id, fleet.where)
    lines = follow(archive, fleet.connection, fleet.keys, clock, RandomIds(), stop)
    _tell(lines, fleet, archive, clock)
    archive.check_file()
    log.info("stopped: %s goes on from here", file)


def _tell(
    batches: Iterable[Sequence[Line]], fleet: OpenFleet, archive: Archive, clock: Clock
) -> None:
    """Say once in a while how far it has come, if it has."""
    stored, said_s = 0, clock.elapsed_s()
    for lines in batches:
        stored += len(lines)
        if stored and clock.elapsed_s() - said_s >= STATUS_EVERY_S:
            log.info("%s entries stored%s", f"{stored:,}", _left(fleet, archive.cursor))
            stored, said_s = 0, clock.elapsed_s()


def _left(fleet: OpenFleet, cursor: Cursor) -> str:
    """How much is still to be stored; nothing of it while the server is away."""
    with suppress(redis_py.RedisError):
        left = sum(unread(cursor, read_end(fleet.connection, fleet.keys)))
        return f", {left:,} to go" if left else ", which is all there is"
    return ""


def _render(shown: Console, file: Path, counts: dict[str, int]) -> None:
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in counts.items() if count]
    shown.print(facts([("archive", file), *rows]))
