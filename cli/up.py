"""``coord up`` and ``coord down``: a fleet that stays until it is told to go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import typer
from pydantic import BaseModel

from cli.children import Child
from cli.children import start as start_child
from cli.children import stop as stop_children
from cli.foreground import LogJsonOption
from cli.launch import child_environment, serve_command
from cli.local_fleet import (
    check_alive,
    each_in_turn,
    enroll_validator,
    trainer_ids,
    validator_ids,
    wait_for,
)
from cli.options import (
    SPECIALIZATIONS,
    HttpOption,
    KeepInOption,
    NamespaceOption,
    NoHttpOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    explained,
    load_settings,
    warn_of_near_miss,
)
from cli.output import ExitCode, advise, complain, plain, say
from cli.signals import Interrupted, Signals
from coordinator import embedded
from coordinator.connection import connect, named_url, redact
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.private_files import locked, private_directory, read_model, write_model
from coordinator.server_check import check_server
from coordinator.settings import Settings
from workers.launch import trainer_command, validator_command, worker_environment

READY_LIMIT_S = 60.0
GRACE_S = 15.0
LINES_READ = 10_000
LOCK_LIMIT_S = embedded.START_LOCK_LIMIT_S + READY_LIMIT_S
COORDINATOR = "coordinator"
EMBEDDED = "the embedded server"

TrainersOption = Annotated[int, typer.Option("--trainers", "-t", min=0, max=256, help="How many.")]
ValidatorsOption = Annotated[
    int,
    typer.Option("--validators", min=0, max=64, help="How many measure what the trainers share."),
]
FleetSpecializationOption = Annotated[
    str | None,
    typer.Option(
        "--specialization",
        "-s",
        metavar="NAME",
        help=f"What all trainers are good at. {SPECIALIZATIONS}",
        show_default="each built-in one in turn",
    ),
]


class Program(NamedTuple):
    """What is started: a command, and what its environment has beside everybody's."""

    command: list[str]
    environment: dict[str, str]


class Record(BaseModel, frozen=True, extra="forbid"):
    """``fleet.json`` in the state directory: what runs there. It holds no URL, for that may have a
    password in it. ``has_server`` says that the embedded server was started for this fleet."""

    server: str
    namespace: str
    has_server: bool = False
    children: list[Child] = []

    @property
    def living(self) -> list[Child]:
        return [child for child in self.children if child.lives]


def up(
    trainers: TrainersOption = 4,
    validators: ValidatorsOption = 1,
    specialization: FleetSpecializationOption = None,
    http: HttpOption = None,
    no_http: NoHttpOption = False,
    archive: KeepInOption = None,
    log_json: LogJsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Start a fleet that stays: server (unless one is named), coordinator, trainers, validators.

    The coordinator has a dashboard beside it, as that of `coord serve` has, and with --archive an
    archive. What runs already is left as it is. Validators are enrolled as such if they are not
    yet. Logs are in the state directory; `coord down` ends it all.

    Example: coord up --trainers 8 --validators 1
    """
    own = {"specialization": specialization, "log_json": log_json}
    settings = load_settings(redis, namespace, state_dir, **own)
    if specialization is not None:
        warn_of_near_miss(specialization)
    words = each_in_turn(trainers) if specialization is None else [specialization] * trainers
    try:
        with Signals() as signals, _locked(settings.state_dir, signals):
            url, record = _prepare(settings)
            serve = serve_command(*_beside(http, no_http, archive))
            record = _start_all(settings, url, record, serve, words, validators, signals)
    except Interrupted:
        complain("interrupted; `coord down` ends what has been started")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    count = len(record.living)
    running = "1 process runs" if count == 1 else f"{count} processes run"
    say(f"{running}; logs: {plain(settings.state_dir)}/*.log")
    for place in _dashboard_place(record):
        say(f"dashboard: {plain(place)}")
    say("see them by `coord status`, end them by `coord down`")


def _beside(http: str | None, no_http: bool, archive: Path | None) -> list[str]:
    """What `coord serve` is told of the processes beside it."""
    words = ["--no-http"] if no_http else ["--http", http] if http else []
    return words if archive is None else [*words, "--archive", str(archive.absolute())]


def down(state_dir: StateDirOption = None) -> None:
    """End what `coord up` started, and the embedded server if it was that.

    Example: coord down
    """
    settings = load_settings(None, None, state_dir)
    nothing = f"no fleet was running in {plain(settings.state_dir)}"
    if not settings.state_dir.exists():
        say(nothing)
        return
    try:
        with Signals() as signals, _locked(settings.state_dir, signals):
            ended = _end(settings.state_dir, signals)
    except Interrupted:
        complain("interrupted before anything was ended")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if ended:
        say(f"ended: {', '.join(map(plain, ended))}; data and logs are kept")
    else:
        say(f"{nothing}; an embedded server without one is ended by `coord stop`")


def _end(state_dir: Path, signals: Signals) -> list[str]:
    """End the fleet on record, and it alone; the names of what lived. A second signal hurries."""
    record = read_model(_path(state_dir), Record)
    if record is None:
        return []
    ended = [child.name for child in record.living]
    ais = [child for child in record.children if child.name != COORDINATOR]
    coordinators = [child for child in record.children if child.name == COORDINATOR]
    for leaving in (ais, coordinators):  # who leaves tells the coordinator, so it ends last
        if names := [plain(child.name) for child in leaving if child.lives]:
            advise(f"ending {', '.join(names)}")
        stop_children(leaving, GRACE_S, lambda: signals.hurry)
    if record.has_server and embedded.stop(state_dir):
        ended.append("the embedded server")
    _path(state_dir).unlink()
    return ended


def _prepare(settings: Settings) -> tuple[str, Record]:
    """The server, made sure of, and what runs on it already."""
    url = named_url(settings)
    recorded = read_model(_path(settings.state_dir), Record)
    record = Record(server=redact(url) if url else EMBEDDED, namespace=settings.namespace)
    if recorded and recorded.living:
        if (recorded.server, recorded.namespace) != (record.server, record.namespace):
            raise CoordError(
                f"a fleet {recorded.namespace!r} on {recorded.server} runs in {settings.state_dir}"
                " already: `coord down` ends it, or name another --state-dir"
            )
        record = recorded.model_copy(update={"children": recorded.living})
    if url is None:
        url, record = _embedded(settings.state_dir, record, recorded)
    with connect(url) as connection, explained(url):
        for warning in check_server(connection, Keys(settings.namespace)):
            complain(f"warning: {warning}")
    return url, record


def _embedded(state_dir: Path, record: Record, recorded: Record | None) -> tuple[str, Record]:
    """The embedded server. If it is started here, that is on record before it is done."""
    is_ours = recorded is not None and recorded.has_server
    if is_ours or embedded.find(state_dir) is None:
        record = record.model_copy(update={"has_server": True})
        write_model(_path(state_dir), record)
    return embedded.start(state_dir).url, record


def _start_all(
    settings: Settings,
    url: str,
    record: Record,
    serve: list[str],
    specializations: Sequence[str],
    validators: int,
    signals: Signals,
) -> Record:
    """Coordinator by the command ``serve``, and a trainer of each of ``specializations``; and
    validators, once a coordinator is there to enroll them."""
    namespace = settings.namespace
    first = {COORDINATOR: Program(serve, {})}
    for ai, word in zip(trainer_ids(len(specializations)), specializations, strict=True):
        own = settings.model_copy(update={"specialization": word})
        first[ai] = Program(trainer_command(ai, namespace), worker_environment(url, own))
    judging = {
        ai: Program(validator_command(ai, namespace), worker_environment(url, settings))
        for ai in validator_ids(validators)
    }
    record = _start_missing(settings, record, first, signals)
    with connect(url) as connection, explained(url):
        fleet = OpenFleet(connection, redact(url), Keys(namespace))
        advise("waiting for the coordinator")
        _wait_until_there(fleet, record, set(), signals)
        for ai in judging:
            enroll_validator(fleet, ai)
        record = _start_missing(settings, record, judging, signals)
        names = {child.name for child in record.children}
        advise("waiting until all have joined")
        _wait_until_there(fleet, record, names - {COORDINATOR}, signals)
    return record


def _start_missing(
    settings: Settings, record: Record, programs: Mapping[str, Program], signals: Signals
) -> Record:
    """Start what does not run yet."""
    everybodys = child_environment(settings, named_url(settings))
    running = {child.name: child for child in record.children}
    for name, program in programs.items():
        if name in running:
            say(f"{name} runs already (process {running[name].pid})")
            continue
        signals.check()
        environment = everybodys | program.environment
        record = _start(settings.state_dir, record, name, program.command, environment)
        say(f"{name} started (process {record.children[-1].pid})")
    return record


def _start(
    state_dir: Path, record: Record, name: str, command: list[str], environment: dict[str, str]
) -> Record:
    """Start a process; it does nothing before it is on record, so that `coord down` ends it."""

    def with_child(child: Child) -> Record:
        return record.model_copy(update={"children": [*record.children, child]})

    def put_on_record(child: Child) -> None:
        write_model(_path(state_dir), with_child(child))

    log_path = state_dir.absolute() / f"{name}.log"
    return with_child(start_child(name, command, environment, log_path, record=put_on_record))


def _wait_until_there(fleet: OpenFleet, record: Record, ais: set[str], signals: Signals) -> None:
    """Until a coordinator is active and ``ais`` have joined; CoordError if a process ends."""

    def missing() -> str:
        if not fleet.connection.exists(fleet.keys.leader):
            return "a coordinator"
        joined = cast("list[bytes]", fleet.connection.zrange(fleet.keys.leases, 0, -1))
        return ", ".join(sorted(ais - {ai.decode() for ai in joined}))

    def check() -> None:
        signals.check()
        check_alive(record.children, f"{where}; end the rest by `coord down`")

    where = f"logs: {record.children[0].log_path.parent}/*.log"
    wait_for(missing, check, READY_LIMIT_S, where)


def _dashboard_place(record: Record) -> list[str]:
    """Where the coordinator's dashboard is, as its log says; nowhere if its address was taken."""
    said = [
        found
        for child in record.living
        if child.name == COORDINATOR
        for line in child.last_lines(LINES_READ)
        if (found := re.search(r"no dashboard:|the dashboard is at (https?://[^\s\"]+)", line))
    ]
    return [said[-1][1]] if said and said[-1][1] else []


@contextmanager
def _locked(state_dir: Path, signals: Signals) -> Iterator[None]:
    """One ``up`` or ``down`` at a time. Raises Interrupted; CoordError for an unsafe directory."""
    with locked(private_directory(state_dir) / "fleet.lock", LOCK_LIMIT_S, signals.check):
        yield


def _path(state_dir: Path) -> Path:
    return state_dir / "fleet.json"
