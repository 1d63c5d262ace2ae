"""A confined process: what it is told to give up, its pipes, and its end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import secrets
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workers.sandbox.interpreter import View
from workers.sandbox.landlock import landlock_abi, ruleset
from workers.sandbox.rung import MIB, Limits, Rung
from workers.sandbox.seccomp import system_call_filter

INSIDE = Path(__file__).with_name("inside.py").read_text()
UP_LIMIT_S = 10.0
"""How long a sandbox may take to come up, and what is in it to be gone after its end."""
EXIT_LIMIT_S = 1.0
"""How long what has hung up may take to end."""
OPEN_FILES = 64
ANSWER_BYTES = 4096
HIGHEST_STREAM = 2
STACK_BYTES = 8 * MIB
HIGHEST_UID = 2**31
"""Some programs take a larger one for a negative number."""
FEWEST_UIDS = 3
"""Root, the highest, which is left alone, and one between them."""
OWN_SIGNALS = (
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP),
    *(signal.SIGSYS, signal.SIGXCPU),
)
"""Those that the kernel sends to who is at fault. All others are of operators, of service managers,
or of the kernel when memory is short: inside, nobody can send or block a signal."""


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
        self._first_pid = 0
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

    def has_become(self, mark: str) -> bool:
        """Whether what has ended was the command, whatever that did; before it, it was ours."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.answers, ANSWER_BYTES) == f"{mark}\n".encode()
        return False

    def queued_s(self) -> float:
        """How long what runs inside has stood in the queue for a processor so far; 0 where the
        kernel does not tell."""
        assert self._popen is not None
        try:
            pid = self._popen.pid
            if self._first is not None:
                children = Path(f"/proc/{self._first_pid}/task/{self._first_pid}/children")
                pid = int(children.read_text())
            return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def status(self) -> int | None:
        """The exit status, or minus the signal, of what has hung up; None if it still runs."""
        assert self._popen is not None
        if not _gone(self._pidfd, EXIT_LIMIT_S):
            return None
        code = self._popen.wait()
        return 128 - code if code > 128 and self._first is not None else code

    def _pipe(self, theirs: contextlib.ExitStack, writing: bool = False) -> tuple[int, int]:
        """A pipe, its reading end first; the end that is not ``theirs`` does not block."""
        pair = self._high_pipe()
        own, other = (pair[1], pair[0]) if writing else pair
        self._open.callback(os.close, own)
        theirs.callback(os.close, other)
        os.set_blocking(own, False)
        return pair

    @staticmethod
    def _high_pipe() -> tuple[int, int]:
        """Beyond the standard streams, which a child has others of."""
        pair = os.pipe()
        if min(pair) > HIGHEST_STREAM:
            return pair
        try:
            read, write = (fcntl.fcntl(e, fcntl.F_DUPFD_CLOEXEC, HIGHEST_STREAM + 1) for e in pair)
        finally:
            for end in pair:
                os.close(end)
        return read, write

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
            command = rung.bubblewrap.command(view, informing, can_change_user()) + command
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
        self._first_pid = int(found[1])
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


def configuration(
    rung: Rung, limits: Limits, view: View, mark: str, command: Sequence[str]
) -> dict[str, object]:
    """What ``inside.py`` is told before anything else: what it must give up, as JSON. What belongs
    to a layer that is not in force is null or empty. A ``command`` keeps the machine's root: it
    needs more than the standard library."""
    layers = rung.layers
    return {
        "mark": mark,
        "command": list(command),
        "rlimits": _rlimits(limits) if "rlimits" in layers else {},
        "root": list(rung.interpreter.extensions) if "root" in layers and not command else None,
        "uid": own_uid() if "uid" in layers else None,
        "parent": None if "namespaces" in layers else os.getpid(),
        "landlock": ruleset(landlock_abi(), view) if "landlock" in layers else None,
        "seccomp": system_call_filter(bool(command)).hex() if "seccomp" in layers else None,
    }


def _rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    """Soft and hard: SIGKILL a second after SIGXCPU, should that be ignored after all."""
    cpu_s = math.ceil(limits.cpu_s)
    fixed = {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_STACK": STACK_BYTES,
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_NPROC": 1,
    }
    return {"RLIMIT_CPU": (cpu_s, cpu_s + 1)} | {
        name: (value, value) for name, value in fixed.items()
    }


def killed_from_outside(status: int) -> bool:
    """Whether a process that ended with this ``status`` was sent a signal."""
    return status < 0 and -status not in OWN_SIGNALS


def own_uid() -> int:
    """A user id near the upper end of those there are, drawn anew for each run: no account's, and
    not another sandbox's."""
    top, count = _highest_uids()
    return top - 2 - secrets.randbelow(max(1, min(count // 64, 2**20)))


def can_change_user() -> bool:
    """Whether this is root, and there are other users here: in a user namespace there may be none.
    Raises OSError where /proc is not mounted."""
    return os.geteuid() == 0 and _highest_uids()[0] >= FEWEST_UIDS


def _highest_uids() -> tuple[int, int]:
    """The end of the uppermost range of user ids that there are, and how many it has."""
    maps = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    top, count = max((int(first) + int(count), int(count)) for first, _, count in maps)
    return min(top, HIGHEST_UID), count
