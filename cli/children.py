"""Child processes: each in a session of its own, known by pid and start time, ended with all that
it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from pydantic import BaseModel

from coordinator.processes import session_of, start_time, tied_to_parent
from coordinator.waiting import comes_true

KILL_LIMIT_S = 10.0

# Waits for the word to go; its end without a word means that the starter has ended.
_GATE = """
import os, sys
if os.read(0, 2) != b"go":
    sys.exit("the starting process has ended")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

_started: list[subprocess.Popen[bytes]] = []  # kept, so that ended ones can be reaped


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

    @property
    def session(self) -> list[int]:
        """Living processes of its session: itself, and what it started and left behind."""
        return session_of(self.pid, self.started)

    @property
    def is_left(self) -> bool:
        return self.lives or bool(self.session)

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
    record: Callable[[Child], None] | None = None,
) -> Child:
    """Start ``command`` in a session of its own, its output in ``log_path``.

    With ``tied`` it is killed when the calling thread ends, however that ends (Linux only; call
    it from the main thread). The command begins only once ``record`` has returned, so that none
    runs that is not on record, whenever the caller is killed.
    """
    path = shutil.which(command[0]) or command[0]
    program = [sys.executable, "-I", "-S", "-c", _GATE, path, *command[1:]]
    with log_path.open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            tied_to_parent(program) if tied else program,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=log_path.parent,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
    _started.append(process)
    started = start_time(process.pid) or "ended at once"
    child = Child(name=name, pid=process.pid, started=started, log_path=log_path)
    with cast(IO[bytes], process.stdin) as gate:
        if record:
            record(child)
        with suppress(BrokenPipeError):
            gate.write(b"go")
    return child


def stop(
    children: Sequence[Child], grace_s: float, hurry: Callable[[], bool] = lambda: False
) -> None:
    """SIGTERM to all; after ``grace_s``, or once ``hurry`` says so, SIGKILL to what is left.

    What a child started and left behind in its session is killed too.
    """
    for child in children:
        _signal(child, signal.SIGTERM)
    comes_true(lambda: hurry() or not any(child.lives for child in children), grace_s)
    for child in children:
        for pid in child.session:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _signal(child, signal.SIGKILL)
    comes_true(lambda: not any(child.is_left for child in children), KILL_LIMIT_S)
    _started[:] = [process for process in _started if process.poll() is None]


def _signal(child: Child, number: signal.Signals) -> None:
    if child.lives:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)
