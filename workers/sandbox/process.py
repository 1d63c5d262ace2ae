"""A confined process, its pipes, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workers.sandbox.configuration import configuration
from workers.sandbox.limits import Limits
from workers.sandbox.rung import Rung
from workers.sandbox.view import View

INSIDE = Path(__file__).with_name("inside.py").read_text()
UP_LIMIT_S = 10.0
"""How long a sandbox may take to come up, and what is in it to be gone after its end."""
EXIT_LIMIT_S = 1.0
"""How long what has hung up may take to end."""


class Process:
    """Runs ``inside.py`` on ``rung``, which serves, or becomes ``command`` if one is given.

    ``requests`` is written to, ``answers`` and ``output`` (both of its standard streams) are read;
    none of them blocks. ``close`` ends everything inside, whatever it is doing.
    """

    def __init__(
        self,
        rung: Rung,
        limits: Limits,
        view: View,
        mark: str = "",
        command: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._open = contextlib.ExitStack()
        self._popen: subprocess.Popen[bytes] | None = None
        self._first: int | None = None
        try:
            with contextlib.ExitStack() as theirs:
                given, self.requests = self._pipe(theirs, writing=True)
                self.answers, answering = self._pipe(theirs)
                self.output, printing = self._pipe(theirs)
                info, informing = self._pipe(theirs)
                self._spawn(rung, view, (given, answering), stdin, printing, informing)
            if "namespaces" in rung.layers:
                self._first = self._first_process(info)
            self._configure(configuration(rung, limits, view, mark, command))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all that runs inside, and wait until it is gone."""
        popen, first = self._popen, self._first
        if first is not None:
            # It takes its namespace with it; bubblewrap, its parent, then ends by itself.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            _gone(first, UP_LIMIT_S)
        if popen is not None and popen.returncode is None:
            if first is None or not _gone(self._pidfd, UP_LIMIT_S):
                popen.kill()
            popen.wait()
        self._first = None
        self._open.close()

    def status(self) -> int | None:
        """The exit status, or minus the signal, of what has hung up; None if it still runs."""
        assert self._popen is not None
        if not _gone(self._pidfd, EXIT_LIMIT_S):
            return None
        code = self._popen.wait()
        return 128 - code if code > 128 and self._first is not None else code

    def _pipe(self, theirs: contextlib.ExitStack, writing: bool = False) -> tuple[int, int]:
        """A pipe, its reading end first; the end that is not ``theirs`` does not block."""
        pair = os.pipe()
        own, other = (pair[1], pair[0]) if writing else pair
        self._open.callback(os.close, own)
        theirs.callback(os.close, other)
        os.set_blocking(own, False)
        return pair

    def _spawn(
        self,
        rung: Rung,
        view: View,
        channel: tuple[int, int],
        stdin: int,
        printing: int,
        informing: int,
    ) -> None:
        command = [rung.interpreter.executable, "-I", "-S", "-B", "-c", INSIDE]
        command += map(str, channel)
        passed: tuple[int, ...] = channel
        if "namespaces" in rung.layers and rung.bubblewrap is not None:
            as_root = os.geteuid() == 0
            command = rung.bubblewrap.command(view, informing, as_root) + command
            passed = (*channel, informing)
        self._popen = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=printing,
            stderr=printing,
            pass_fds=passed,
            env={},
            cwd="/",
            start_new_session=True,
        )
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._open.callback(os.close, self._pidfd)

    def _first_process(self, info: int) -> int | None:
        """A descriptor of the sandbox's first process, which bubblewrap names on ``info``; None if
        it did not come so far."""
        watched = select.poll()
        watched.register(info, select.POLLIN)
        text = b""
        while b"}" not in text and watched.poll(UP_LIMIT_S * 1000):
            more = os.read(info, 4096)
            if not more:
                break
            text += more
        found = re.search(rb'"child-pid": (\d+)', text)
        if found is None:
            return None
        try:
            first = os.pidfd_open(int(found[1]))
        except ProcessLookupError:
            return None
        self._open.callback(os.close, first)
        return first

    def _configure(self, values: dict[str, object]) -> None:
        """Written before anything else, and small enough for an empty pipe."""
        data = json.dumps(values).encode()
        with contextlib.suppress(BrokenPipeError):  # did not come up, and so will not answer
            os.write(self.requests, b"%08x" % len(data) + data)


def _gone(process: int, limit_s: float) -> bool:
    """Whether the process with this descriptor ends within ``limit_s``."""
    watched = select.poll()
    watched.register(process, select.POLLIN)
    return bool(watched.poll(limit_s * 1000))
