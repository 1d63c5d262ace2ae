"""Child processes: each in a session of its own, known by pid and start time, ended with all that
it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from coordinator.processes import start_time, tied_to_parent
from coordinator.settings import Settings

POLL_S = 0.02
KILL_LIMIT_S = 10.0
_PROC = Path("/proc")

_started: list[subprocess.Popen[bytes]] = []  # kept, so that ended ones can be reaped


class Interrupted(Exception):
    """A signal came: everything is to end."""


class Signals:
    """While in its context, notes SIGINT, SIGTERM and SIGHUP. What is under way then ends where it
    asks, at places where no process can be lost."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self._count:
            raise Interrupted

    @property
    def hurry(self) -> bool:
        """Whether a second signal came: the end is to be a hard one."""
        return self._count > 1

    def _note(self, *_: object) -> None:
        self._count += 1


class Child(BaseModel, frozen=True, extra="forbid"):
    """A process as it was started. ``started`` is its start time in the system's own words; a
    later process under the same pid has another."""

    name: str
    pid: int
    started: str
    log_path: Path

    @property
    def lives(self) -> bool:
        return start_time(self.pid) == self.started

    def last_lines(self, count: int = 10) -> list[str]:
        text = self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""
        return text.splitlines()[-count:]


def start(
    name: str,
    command: Sequence[str],
    environment: dict[str, str],
    log_path: Path,
    *,
    tied: bool = False,
) -> Child:
    """Start ``command`` in a session of its own, its output in ``log_path``.

    With ``tied`` it is killed when the calling thread ends, however that ends (Linux only; call
    it from the main thread).
    """
    program = [shutil.which(command[0]) or command[0], *command[1:]]
    with log_path.open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            tied_to_parent(program) if tied else program,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=log_path.parent,
            env=environment,
            start_new_session=True,
        )
    _started.append(process)
    started = start_time(process.pid) or "ended at once"
    return Child(name=name, pid=process.pid, started=started, log_path=log_path)


def stop(
    children: Sequence[Child], grace_s: float, hurry: Callable[[], bool] = lambda: False
) -> None:
    """SIGTERM to all; after ``grace_s``, or once ``hurry`` says so, SIGKILL to what is left.

    What a child started and left behind in its session is killed too.
    """
    for child in children:
        _signal(child, signal.SIGTERM)
    _wait(lambda: hurry() or not any(child.lives for child in children), grace_s)
    for child in children:
        for pid in _session_of(child):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _signal(child, signal.SIGKILL)
    _wait(lambda: not any(child.lives or _session_of(child) for child in children), KILL_LIMIT_S)
    _started[:] = [process for process in _started if process.poll() is None]


def serve_command(quiet: bool = False) -> list[str]:
    return [sys.executable, "-m", "cli.main", "serve", *(["--quiet"] if quiet else [])]


def child_environment(url: str, settings: Settings) -> dict[str, str]:
    """The environment of a child of this fleet; the URL goes here, for ``ps`` shows arguments."""
    environment = {
        **os.environ,
        "COORD_REDIS_URL": url,
        "COORD_NAMESPACE": settings.namespace,
        "COORD_STATE_DIR": str(settings.state_dir.absolute()),
        "PYTHONUNBUFFERED": "1",
    }
    home = Path(__file__).resolve().parents[1]
    if not home.name.endswith("-packages"):  # run from a checkout, which need not be installed
        paths = [os.environ.get("PYTHONPATH", ""), str(home)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _signal(child: Child, number: signal.Signals) -> None:
    if child.lives:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _session_of(child: Child) -> list[int]:
    """Living processes of the child's session, itself included; none where there is no /proc.

    A session whose leader is another process by now, or that is older than it, is a stranger's.
    """
    if not _PROC.joinpath("self/stat").exists() or not child.started.isdigit():
        return []
    if start_time(child.pid) not in (None, child.started):
        return []
    members = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        is_ours = int(fields[3]) == child.pid and int(fields[19]) >= int(child.started)
        if is_ours and fields[0] not in "ZX":
            members.append(int(entry.name))
    return members


def _wait(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)
