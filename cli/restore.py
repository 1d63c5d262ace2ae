"""``coord restore``: a fleet's knowledge, rebuilt from its archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from cli.options import (
    ArchiveArgument,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    explained,
    load_settings,
)
from cli.output import ExitCode, advise, complain, counted, facts, plain, show
from coordinator import embedded
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.replay import OnProgress
from coordinator.archive.restore import Restored, restore
from coordinator.clock import Clock, RandomIds, SystemClock, instance_id
from coordinator.connection import connect, named_url, redact, server_run_id
from coordinator.keys import Keys
from coordinator.server_check import check_server
from coordinator.settings import Settings

SHOWN_BAD = 20
TOLD_EVERY_S = 5.0
"""How often it says how far it is, where there is no terminal."""


def restore_command(
    file: ArchiveArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Rebuild an empty fleet's knowledge from an archive: records, verdicts, credit.

    No coordinator may run meanwhile; afterwards `coord serve` goes on with
    what was restored, and the archive with it. Without a server that is named
    the embedded one is started. What was broken off goes on when the command
    is given again. Ends with 1 if something in the archive cannot be read.

    Example: coord restore hub_data.db
    """
    settings = load_settings(redis, namespace, state_dir)
    with ArchiveReader.read(file) as archive:
        url = _server(settings)
        with connect(url) as connection, explained(url), _progress(file, silent=json) as told:
            for warning in check_server(connection, Keys(settings.namespace)):
                complain(warning)
            done = restore(
                archive,
                connection,
                settings,
                SystemClock(),
                RandomIds(),
                instance_id(),
                server_run_id(connection),
                told,
            )
    show(done._asdict(), json, lambda shown: _render(shown, done))
    if done.bad:
        _complain_of(done)
        raise typer.Exit(ExitCode.FAILED)


def _server(settings: Settings) -> str:
    """The server's URL; the embedded one is started if none is named."""
    url = named_url(settings)
    if url is not None:
        return url
    endpoint = embedded.start(settings.state_dir)
    advise(
        f"embedded server at {redact(endpoint.url)} (process {endpoint.pid}); it runs on, and"
        " `coord stop` ends it"
    )
    return endpoint.url


@contextmanager
def _progress(file: Path, *, silent: bool) -> Iterator[OnProgress]:
    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield _nothing if silent else told_in_lines(file, SystemClock())
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"restoring {plain(file)}", total=None)
        yield lambda n, total: bar.update(task, completed=n, total=total)


def _nothing(n: int, total: int) -> None:
    """Programs hear of it when it is done."""


def told_in_lines(file: Path, clock: Clock) -> OnProgress:
    """A line on stderr once in a while, where there is no terminal for a bar."""
    said_s = clock.elapsed_s()

    def told(n: int, total: int) -> None:
        nonlocal said_s
        if clock.elapsed_s() - said_s >= TOLD_EVERY_S:
            advise(f"restoring {plain(file)}: {n:,} of {total:,} events")
            said_s = clock.elapsed_s()

    return told


def _render(shown: Console, done: Restored) -> None:
    rows: list[tuple[str, Any]] = [
        (
            "restored",
            ", ".join(
                (
                    counted(done.patterns, "pattern"),
                    counted(done.components, "component"),
                    counted(done.features, "feature"),
                )
            ),
        ),
        ("validations", f"{done.waiting} wait"),
    ]
    if done.is_again:
        rows.append(("before", "it was restored from this archive before: nothing was left to do"))
    else:
        rows.append(("reports", done.reports))
        rows.append(("events", f"{done.replayed} were done again"))
    if done.unknown:
        rows.append(("left out", f"{done.unknown} about records that the archive knows nothing of"))
    if done.forgotten:
        rows.append(("forgotten", f"{done.forgotten}, which the server had lost, and are left out"))
    if done.missing:
        rows.append(("gaps", f"{done.missing} entries had been cut before they were archived"))
    if done.differing:
        told = ", ".join(
            f"{ai} {now:g}, not {said:g}" for ai, (said, now) in list(done.differing.items())[:10]
        )
        rows.append(("contribution", f"other than the archive says, for want of these: {told}"))
    shown.print(facts(rows))


def _complain_of(done: Restored) -> None:
    complain(
        f"{counted(done.bad, 'row')} of the archive cannot be read, and was left out; if that"
        " matters, correct it in the file and restore that into an empty fleet:"
    )
    for named in done.named_bad[:SHOWN_BAD]:
        complain(named)
    if done.bad > SHOWN_BAD:
        complain(f"and {done.bad - SHOWN_BAD} more: see --json")
