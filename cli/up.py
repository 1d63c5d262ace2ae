"""``coord up`` and ``coord down``: a fleet that stays until it is told to go."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import BaseModel, ValidationError

from cli import processes
from cli.options import (
    NamespaceOption,
    RedisOption,
    StateDirOption,
    explained,
    load_settings,
)
from cli.output import ExitCode, complain, plain, say
from cli.processes import Interrupted, Signals
from coordinator import embedded
from coordinator.connection import check_server, connect, redact, resolve_url
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.settings import Settings
from workers.launch import trainer_command, trainer_environment

READY_LIMIT_S = 60.0
GRACE_S = 15.0
COORDINATOR = "coordinator"

TrainersOption = Annotated[int, typer.Option("--trainers", "-t", min=0, max=256, help="How many.")]
SpecializationOption = Annotated[
    str, typer.Option("--specialization", "-s", metavar="NAME", help="What they are good at.")
]


class Record(BaseModel, frozen=True, extra="forbid"):
    """``fleet.json`` in the state directory: what runs there. It holds no URL, for that may have a
    password in it."""

    server: str
    namespace: str
    is_embedded: bool
    children: list[processes.Child] = []

    @property
    def place(self) -> tuple[str, str]:
        return self.server, self.namespace

    @property
    def living(self) -> list[processes.Child]:
        return [child for child in self.children if child.lives]


def up(
    trainers: TrainersOption = 4,
    specialization: SpecializationOption = "file_system",
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Start a fleet that stays: server (unless one is named), coordinator and trainers.

    What runs already is left as it is. Logs are in the state directory; `coord down` ends it all.

    Example: coord up --trainers 4 --specialization file_system
    """
    settings = load_settings(redis, namespace, state_dir, specialization=specialization)
    try:
        with Signals() as signals, _locked(settings.state_dir):
            url, record = _prepare(settings)
            record = _start_missing(settings, url, record, trainers, signals)
            _wait_until_there(settings, url, record, signals)
    except Interrupted:
        complain("interrupted; `coord down` ends what has been started")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    say(f"{len(record.living)} processes run; logs: {plain(settings.state_dir)}/*.log")
    say("see them by `coord status`, end them by `coord down`")


def down(state_dir: StateDirOption = None) -> None:
    """End the fleet that `coord up` started: trainers, coordinator, embedded server.

    Example: coord down
    """
    settings = load_settings(None, None, state_dir)
    if not settings.state_dir.exists():
        say(f"no fleet was running in {plain(settings.state_dir)}")
        return
    with _locked(settings.state_dir):
        record = _recorded(settings.state_dir)
        children = record.children if record else []
        living = [child.name for child in children if child.lives]
        processes.stop([child for child in children if child.name != COORDINATOR], GRACE_S)
        processes.stop([child for child in children if child.name == COORDINATOR], GRACE_S)
        had_server = embedded.stop(settings.state_dir)
        _path(settings.state_dir).unlink(missing_ok=True)
    ended = living + (["the embedded server"] if had_server else [])
    if ended:
        say(f"ended: {', '.join(map(plain, ended))}; data and logs are kept")
    else:
        say(f"no fleet was running in {plain(settings.state_dir)}")


def _prepare(settings: Settings) -> tuple[str, Record]:
    """The server, made sure of, and what runs on it already."""
    state_dir = settings.state_dir
    is_named = settings.redis_url is not None or bool(os.environ.get("RQ_REDIS_URL"))
    recorded = _recorded(state_dir)
    living = recorded.living if recorded else []
    if not is_named:
        embedded.start(state_dir)
    url = resolve_url(settings)
    wanted = Record(
        server=redact(url), namespace=settings.namespace, is_embedded=not is_named, children=living
    )
    is_other = recorded and recorded.place != wanted.place
    if recorded and living and is_other:
        raise CoordError(
            f"a fleet {recorded.namespace!r} on {recorded.server} runs in {state_dir} already:"
            " `coord down` ends it, or name another --state-dir"
        )
    with connect(url) as connection, explained(url):
        for warning in check_server(connection, Keys(settings.namespace)):
            complain(f"warning: {warning}")
    return url, wanted


def _start_missing(
    settings: Settings, url: str, record: Record, trainers: int, signals: Signals
) -> Record:
    """Start what does not run yet; each is on record as soon as it runs."""
    environment = processes.child_environment(url, settings)
    wanted = {COORDINATOR: (processes.serve_command(), environment)}
    for i in range(trainers):
        ai = f"AI_Node_{i + 1}"
        own = trainer_environment(url, settings)
        wanted[ai] = (trainer_command(ai, settings.namespace), environment | own)
    running = {child.name: child for child in record.children}
    for name, (command, its_environment) in wanted.items():
        if name in running:
            say(f"{name} runs already (process {running[name].pid})")
            continue
        signals.check()
        log_path = settings.state_dir.absolute() / f"{name}.log"
        child = processes.start(name, command, its_environment, log_path)
        record = record.model_copy(update={"children": [*record.children, child]})
        _write(settings.state_dir, record)
        say(f"{name} started (process {child.pid})")
    return record


def _wait_until_there(settings: Settings, url: str, record: Record, signals: Signals) -> None:
    """Until a coordinator is active and every trainer has joined; CoordError if one ends."""
    keys = Keys(settings.namespace)
    names = {child.name for child in record.children} - {COORDINATOR}
    ends_s = time.monotonic() + READY_LIMIT_S
    with connect(url) as connection, explained(url):
        while True:
            signals.check()
            joined = cast("list[bytes]", connection.zrange(keys.leases, 0, -1))
            missing = names - {ai.decode() for ai in joined}
            if not missing and connection.exists(keys.leader):
                return
            for child in record.children:
                if not child.lives:
                    _tell_end(child)
            if time.monotonic() > ends_s:
                late = ", ".join(sorted(missing)) or "a coordinator"
                raise CoordError(f"waited {READY_LIMIT_S:g} s in vain for {late}: see its log")
            time.sleep(processes.POLL_S)


def _tell_end(child: processes.Child) -> None:
    for line in child.last_lines():
        complain(f"{child.name}: {line}")
    raise CoordError(
        f"{child.name} has ended; its log is {child.log_path}; end the rest by `coord down`"
    )


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """One ``up`` or ``down`` at a time. Raises CoordError if the directory is unsafe."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    embedded.find(state_dir)  # refuses a directory that is not ours alone
    descriptor = os.open(state_dir / "fleet.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(state_dir: Path) -> Path:
    return state_dir / "fleet.json"


def _recorded(state_dir: Path) -> Record | None:
    try:
        return Record.model_validate_json(_path(state_dir).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(state_dir: Path, record: Record) -> None:
    """A reader sees the old record or the new one, and nothing else."""
    descriptor, temporary = tempfile.mkstemp(dir=state_dir, prefix="fleet-")  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(record.model_dump_json(indent=2))
    Path(temporary).replace(_path(state_dir))
