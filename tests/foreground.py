"""Commands that run in the foreground until they are told to end, each in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import python_environment, wait_for


class ForegroundCommand:
    """A ``coord serve`` or ``coord gateway``, and what it has said so far."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=python_environment(COORD_LEADER_LEASE_S="1", **environment),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str) -> str:
        """The first line that has ``text`` in it."""
        return self._wait_for(re.escape(text)).string

    def address(self) -> tuple[str, int]:
        """Where it listens, once it does."""
        match = self._wait_for(r"listens on ([\d.]+):(\d+)")
        return match[1], int(match[2])

    def _wait_for(self, expression: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            matches = (re.search(expression, line) for line in list(self.lines))
            return next(filter(None, matches), None)

        match = wait_for(found, what=f"{expression!r}, which is not in {self.lines}")
        assert match is not None
        return match

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[ForegroundCommand]:
    """A `coord serve` has no HTTP API unless ``arguments`` say where it listens."""
    if arguments[:1] == ("serve",) and "--http" not in arguments:
        arguments = (*arguments, "--no-http")
    command = ForegroundCommand(*arguments, **environment)
    try:
        yield command
    finally:
        command.end(signal.SIGKILL)
