"""``coord demo``: a whole fleet for a minute, and what it measurably achieved."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import redis
import typer

from cli.board import Board
from cli.children import Child
from cli.children import start as start_child
from cli.children import stop as stop_children
from cli.companions import Companion, companions_beside, dashboard_program
from cli.demo_summary import print_summary
from cli.evaluation import measure
from cli.files import check_writable, write_file
from cli.launch import child_environment, serve_command
from cli.local_fleet import (
    check_alive,
    each_in_turn,
    enroll_validator,
    trainer_ids,
    validator_ids,
    wait_for,
)
from cli.options import JsonOption, NoHttpOption, OpenFleet, load_settings, settings_of
from cli.output import ExitCode, complain, console, counted, plain, say, say_json
from cli.scratch import scratch_directory
from cli.signals import Interrupted, Signals
from cli.verdicts import count_verdicts, read_validated
from coordinator import embedded
from coordinator.archive.archive import Archive
from coordinator.archive.reader import ArchiveReader
from coordinator.clock import SystemClock
from coordinator.connection import connect, redact
from coordinator.errors import CoordError
from coordinator.history import Follower
from coordinator.keys import Keys, Kind
from coordinator.reads import Item, read_ais, read_counts, read_records
from coordinator.session_reads import read_sessions
from coordinator.settings import Settings
from reports.report import make_report
from web.listening import AddressTaken, Listening, listen
from web.settings import DEFAULT_LISTEN, WebSettings
from workers.launch import trainer_command, validator_command, worker_environment
from workers.problems import PROBLEMS

ONE_OF_EACH = len(PROBLEMS)
READY_LIMIT_S = 30.0
GRACE_S = 10.0
VERDICTS_LIMIT_S = 10.0
GOODBYES_LIMIT_S = 3.0
KEEP_LOGS = "--keep keeps all logs"
BLOCK_MS = 200
SESSIONS_MAX = 200
ADDRESSES = (DEFAULT_LISTEN, "127.0.0.1:0")
"""Where its dashboard may be, the first that is free."""
ARCHIVE = "history.db"
"""In the demo's directory: what its report is made of."""
SESSION_FIELDS = (
    *("id", "type", "requirements", "initiator", "participants", "state", "reason"),
    *("began_ms", "ended_ms", "component_id", "result"),
)
PIPED_WIDTH = 100
"""Columns of the summary where it is shown on no terminal."""

TrainersOption = Annotated[int, typer.Option("--trainers", "-t", min=1, max=64, help="How many.")]
SecondsOption = Annotated[
    float, typer.Option("--seconds", min=1, help="How long they train before the summary.")
]
ReportOption = Annotated[
    Path, typer.Option("--report", metavar="FILE", help="Write a page about it there.")
]
NoReportOption = Annotated[bool, typer.Option("--no-report", help="Write no such page.")]
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep the directory with logs and data.")]


def demo(
    trainers: TrainersOption = ONE_OF_EACH,
    seconds: SecondsOption = 40,
    report: ReportOption = Path("coord-demo-report.html"),
    no_report: NoReportOption = False,
    no_http: NoHttpOption = False,
    keep: KeepOption = False,
    json: JsonOption = False,
) -> None:
    """Show a whole fleet at work: a server, a coordinator and trainers, all real processes.

    They are of all specializations, learn from recorded and generated workloads, share what they
    learn and work on it together; a validator runs the components in a sandbox and measures them.
    The dashboard shows it meanwhile, at 127.0.0.1:8600 or at a port that is free. At the end the
    best patterns are evaluated again. Everything is in a temporary directory of its own; nothing is
    left behind but a page that tells what happened, as `coord report` writes it.

    Example: coord demo --trainers 16 --seconds 60
    """
    with Signals() as signals:
        try:
            page = None if no_report else report
            with kept_directory() if keep else scratch_directory("coord-demo-") as directory:
                settings = load_settings(None, None, directory)
                fleet = Demo(directory, settings, trainers, signals, http=not no_http, silent=json)
                summary = _measured(fleet, seconds, signals, page, silent=json)
        except Interrupted:
            complain("interrupted; everything that was started has ended")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if json:
        say_json(summary)
    else:
        print_summary(console(PIPED_WIDTH), summary)
        if summary["report"]:
            say(f"report: {plain(summary['report'])}")


def _measured(
    fleet: Demo, seconds: float, signals: Signals, report: Path | None, *, silent: bool
) -> dict[str, Any]:
    """What a fleet did, and its best evaluated; the ``report`` is written if one is wanted. Raises
    Interrupted."""
    found = fleet.run(seconds)
    signals.check()
    if not silent:
        say("evaluating again what they shared …")
    measured = measure(found.pop("patterns"))
    signals.check()
    written = None if report is None else _write_report(report, fleet.archive_path)
    return found | {"seconds": seconds, "report": written} | measured


def _write_report(path: Path, archive_path: Path) -> str | None:
    """Where the report of what was archived was written; None, and a warning, if it cannot be."""
    try:
        check_writable(path, "--report")
        with ArchiveReader.read(archive_path) as archive:
            page = make_report(archive, SystemClock().now_ms())
        write_file(path, page.encode(), "--report")
    except CoordError as error:
        complain(f"warning: there is no report: {error.detail}")
        return None
    return str(path.absolute())


@contextmanager
def kept_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="coord-kept-"))
    try:
        yield directory
    finally:
        complain(f"logs and data are kept in {directory}")


def _listen() -> tuple[WebSettings, Listening] | None:
    """At the first of ADDRESSES that is free; None if none is. Raises CannotListen."""
    for address in ADDRESSES:
        own = settings_of(WebSettings, listen=address)
        try:
            return own, listen(own)
        except AddressTaken:
            continue
    return None


Take = Callable[[int], bool]
"""Shows and archives what is new, and waits so many ms if nothing is; whether anything was."""


class Demo:
    """The processes of one demo; after ``run`` none of them is left, whatever happened."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        count: int,
        signals: Signals,
        *,
        http: bool,
        silent: bool,
    ) -> None:
        self.archive_path = directory / ARCHIVE
        self._directory = directory
        self._http = http
        self._settings = settings
        self._keys = Keys(settings.namespace)
        self._signals = signals
        self._trainers = dict(zip(trainer_ids(count), each_in_turn(count), strict=True))
        self._board = Board(console(), self._trainers, silent=silent)
        self._coordinator: list[Child] = []  # one, once it is started
        self._learning: list[Child] = []  # the trainers that are started
        self._judging: list[Child] = []  # the validators

    def run(self, seconds: float) -> Item:
        """Everything from the start of the server to its end; what was counted and shared."""
        try:
            with self._board:
                self._signals.check()
                endpoint = embedded.start(self._directory, die_with_parent=True)
                self._board.say(f"server at {redact(endpoint.url)}")
                return self._run_on(endpoint.url, seconds)
        finally:
            for leaving in (self._learning, self._judging, self._coordinator):
                self._stop(leaving)  # who leaves tells the coordinator, so it ends last
            embedded.stop(self._directory)

    def _run_on(self, url: str, seconds: float) -> Item:
        with (
            connect(url) as connection,
            Archive.open(self.archive_path, create=True) as archive,
            ExitStack() as beside,
        ):
            fleet = OpenFleet(connection, redact(url), self._keys)
            self._start_coordinator(fleet, url)
            if self._http:
                beside.enter_context(self._dashboard(url))
            follower = Follower(connection, self._keys)
            follower.resume(archive.cursor)
            take = partial(self._take, follower, archive)
            self._start_ais(fleet, url)
            self._follow(connection, take, seconds)
            sessions = read_sessions(connection, self._keys, SESSIONS_MAX).items
            self._board.say("time is up: the trainers leave")
            self._stop(self._learning)
            self._await_verdicts(connection, take)
            self._stop(self._judging)
            self._await_goodbyes(connection, take)
            self._signals.check()
            while take(0):
                pass
            return self._found(fleet, sessions)

    def _found(self, fleet: OpenFleet, sessions: list[Item]) -> Item:
        """What was counted and shared, and the ``sessions`` there were when time was up."""
        counts = read_counts(fleet.connection, self._keys)
        components = self._read(fleet.connection, "component", counts["components"])
        components += self._read(fleet.connection, "feature", counts["features"])
        return {
            "trainer_ids": list(self._trainers),
            "specializations": list(dict.fromkeys(self._trainers.values())),
            "patterns_shared": counts["patterns"],
            "components_shared": counts["components"] + counts["features"],
            "messages_routed": counts["messages"],
            "messages_by_type": counts["messages_by_type"],
            "patterns": self._read(fleet.connection, "pattern", counts["patterns"]),
            "verdicts": count_verdicts(components),
            "validated": read_validated(fleet),
            "sessions": [{name: item[name] for name in SESSION_FIELDS} for item in sessions],
        }

    def _start_coordinator(self, fleet: OpenFleet, url: str) -> None:
        self._coordinator.append(self._start("coordinator", serve_command("--no-http"), {}, url))
        self._wait_for_coordinator(fleet.connection)
        self._board.say("coordinator is active")

    @contextmanager
    def _dashboard(self, url: str) -> Iterator[None]:
        """Show everything meanwhile, unless there is no address to do so."""
        found = _listen()
        if found is None:
            yield
            return
        own, listening = found
        self._board.say(f"look at it meanwhile: {listening.url}")
        program = dashboard_program(own, self._settings, url, ["--quiet"], listening)
        with (
            closing(listening),
            companions_beside([Companion("dashboard", lambda: program, SystemClock())]),
        ):
            yield

    def _start_ais(self, fleet: OpenFleet, url: str) -> None:
        """The trainers, and a validator."""
        namespace = self._settings.namespace
        for ai, word in self._trainers.items():
            own = worker_environment(url, self._settings_of(word))
            self._learning.append(self._start(ai, trainer_command(ai, namespace), own, url))
        for ai in validator_ids(1):
            enroll_validator(fleet, ai)
            own = worker_environment(url, self._settings)
            self._judging.append(self._start(ai, validator_command(ai, namespace), own, url))
        self._board.say(f"{counted(len(self._trainers), 'trainer')} and a validator are starting")

    def _read(self, connection: redis.Redis, kind: Kind, count: int) -> list[Item]:
        return read_records(connection, self._keys, kind, count).items

    def _take(self, follower: Follower, archive: Archive, block_ms: int) -> bool:
        lines = follower.read(block_ms)
        archive.take(lines)
        for line in lines:
            self._board.take(line)
        return bool(lines)

    def _follow(self, connection: redis.Redis, take: Take, seconds: float) -> None:
        self._board.ends_in(seconds)
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self._check()
            take(BLOCK_MS)
            self._board.show_sessions(read_sessions(connection, self._keys, SESSIONS_MAX).items)
            self._board.redraw()

    def _await_verdicts(self, connection: redis.Redis, take: Take) -> None:
        """The validator judges what the trainers have left, unless that takes too long."""
        ends_s = time.monotonic() + VERDICTS_LIMIT_S
        while connection.zcard(self._keys.validations) and time.monotonic() < ends_s:
            self._signals.check()
            take(BLOCK_MS)

    def _await_goodbyes(self, connection: redis.Redis, take: Take) -> None:
        """The coordinator hears what they said last, unless that takes too long."""
        ends_s = time.monotonic() + GOODBYES_LIMIT_S
        while read_ais(connection, self._keys, 1).items and time.monotonic() < ends_s:
            self._signals.check()
            take(BLOCK_MS)

    def _start(self, name: str, command: list[str], own: dict[str, str], url: str) -> Child:
        self._signals.check()
        environment = child_environment(self._settings, url) | own
        log_path = self._directory / f"{name}.log"
        return start_child(name, command, environment, log_path, tied=True)

    def _stop(self, children: list[Child]) -> None:
        stop_children(children, GRACE_S, lambda: self._signals.hurry)

    def _settings_of(self, specialization: str) -> Settings:
        return self._settings.model_copy(update={"specialization": specialization})

    def _wait_for_coordinator(self, connection: redis.Redis) -> None:
        def missing() -> str:
            return "" if connection.exists(self._keys.leader) else "a coordinator"

        wait_for(missing, self._check, READY_LIMIT_S, KEEP_LOGS)

    def _check(self) -> None:
        """Raises if a signal came, or if a child has ended before its time."""
        self._signals.check()
        check_alive(self._coordinator + self._learning + self._judging, KEEP_LOGS)
