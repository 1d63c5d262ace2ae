"""The processes that `coord serve` runs beside its coordinator: the dashboard, and an archive.

Each is a command of coord in a process of its own, for what it does must not keep the coordinator
waiting. It is begun again whenever it ends, and ends with whoever started it, however that ends.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread

from cli.launch import child_environment
from cli.output import ExitCode
from coordinator.clock import Clock
from coordinator.processes import tied_to_parent
from coordinator.settings import Settings
from web.listening import AddressTaken, Listening, listen
from web.settings import WebSettings

log = logging.getLogger("coord")

AGAIN_S = 1.0
"""The first pause before one that has ended is begun again; each is twice as long as the last."""
LONGEST_AGAIN_S = 30.0
HOPELESS_AGAIN_S = 600.0
"""The pause after one that says that it cannot do what it is asked for."""
STEADY_S = 60.0
"""One that ran for so long begins with the first pause again."""
LISTEN_AGAIN_S = 2.0
GRACE_S = 5.0


@dataclass(frozen=True)
class Program:
    """What is run: a command of coord, its environment, and the sockets that it is handed."""

    name: str
    arguments: Sequence[str]
    environment: dict[str, str]
    descriptors: Sequence[int] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Call it in a thread that lasts as long as the process is to."""
        command = [sys.executable, "-m", "cli.main", *self.arguments]
        return subprocess.Popen(
            tied_to_parent(command),
            stdin=subprocess.DEVNULL,
            env=self.environment,
            pass_fds=self.descriptors,
            start_new_session=True,  # Ctrl-C in a terminal is for the one that looks after it
        )


class Companion(Thread):
    """Runs what ``prepare`` gives, again and again; None from it means: not now, in a moment."""

    def __init__(self, name: str, prepare: Callable[[], Program | None], clock: Clock) -> None:
        super().__init__(name=f"coord-{name}")
        self._prepare = prepare
        self._clock = clock
        self._done = Flag()
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while (program := self._prepare()) is None:
            if self._done.wait(LISTEN_AGAIN_S):
                return
        again_s = AGAIN_S
        while (process := self._start(program)) is not None:
            began_s = self._clock.elapsed_s()
            code = process.wait()
            if self._done.is_set():
                return
            if self._clock.elapsed_s() - began_s > STEADY_S:
                again_s = AGAIN_S
            pause_s = HOPELESS_AGAIN_S if code == ExitCode.USAGE else again_s
            log.warning("%s %s: begun again in %g s", program.name, _ended(code), pause_s)
            if self._done.wait(pause_s):
                return
            again_s = min(LONGEST_AGAIN_S, again_s * 2)

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        with self._lock:
            self._done.set()
            if self._process is not None:
                self._process.terminate()
        self.join(GRACE_S)
        if self.is_alive() and self._process is not None:
            self._process.kill()
        self.join()

    def _start(self, program: Program) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._done.is_set():
                return None
            self._process = program.start()
            return self._process


@contextmanager
def companions_beside(companions: Sequence[Companion]) -> Iterator[None]:
    """Run ``companions`` meanwhile."""
    for companion in companions:
        companion.start()
    try:
        yield
    finally:
        for companion in reversed(companions):
            companion.stop()


@contextmanager
def dashboard_beside(
    own: WebSettings, settings: Settings, url: str, flags: Sequence[str], clock: Clock
) -> Iterator[None]:
    """Run the dashboard meanwhile. Its sockets are opened here, and stay open when it begins again.

    Nobody asked for the one at the default address: if that is taken a warning says why, and it is
    tried again. One that was asked for by ``listen`` raises AddressTaken, and what can never be
    CannotListen.
    """
    opened: list[Listening] = []
    said = Flag()

    def open_once() -> Program | None:
        try:
            if not opened:
                opened.append(listen(own))
        except AddressTaken as error:
            if "listen" in own.model_fields_set:
                raise
            if not said.is_set():
                log.warning("no dashboard: %s", error)
            said.set()
            return None
        log.info("the dashboard is at %s", opened[0].url)
        return dashboard_program(own, settings, url, flags, opened[0])

    first = open_once()

    def prepare() -> Program | None:
        return first or open_once()

    try:
        with companions_beside([Companion("dashboard", prepare, clock)]):
            yield
    finally:
        for listening in opened:
            listening.close()


def dashboard_program(
    own: WebSettings, settings: Settings, url: str, flags: Sequence[str], listening: Listening
) -> Program:
    """The dashboard on the sockets of ``listening``."""
    environment = child_environment(settings, url) | own.to_environment()
    if settings.pepper is not None:
        environment["COORD_PEPPER"] = settings.pepper.get_secret_value()
    descriptors = [opened.fileno() for opened in listening.sockets]
    handed = [word for one in descriptors for word in ("--fd", str(one))]
    return Program("the dashboard", ["dashboard", *handed, *flags], environment, descriptors)


@contextmanager
def archive_beside(
    path: Path, settings: Settings, url: str, flags: Sequence[str], clock: Clock
) -> Iterator[None]:
    """Run an archive at ``path`` meanwhile."""
    environment = child_environment(settings, url)
    arguments = ["archive", str(path.absolute()), *flags]
    program = Program("the archive", arguments, environment)
    with companions_beside([Companion("archive", lambda: program, clock)]):
        yield


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"has ended with exit code {code}"
