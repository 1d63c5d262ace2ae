"""Processes: how one is told from a later one of the same pid, who belongs to its session, and how
one dies with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")

# Runs between fork and exec. The signal is kept across exec; it fires when the starting *thread*
# ends; and a parent that died before prctl sends none, hence the look at getppid.
_LAUNCHER = """
import ctypes, os, signal, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() != parent:
    sys.exit("the starting process has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


def tied_to_parent(command: list[str]) -> list[str]:
    """``command`` (an absolute path and arguments), made to be killed when its parent ends.

    The parent is the process that calls this, and the calling thread must be the one that starts
    it and must last. Descriptors, the pid and the session stay those of the started process.
    On other systems than Linux the command outlives its parent.
    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]


class _Stat(NamedTuple):
    """Of ``/proc/<pid>/stat``: the session's leader, and the start in ticks since the boot."""

    session: int
    started: str


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in the system's own words; None if it has ended.

    A zombie has ended.
    """
    if not _has_proc():
        return start_time_by_ps(pid)
    stat = _read_stat(pid)
    return stat and stat.started


def session_of(pid: int, started: str) -> list[int]:
    """Living processes of the session that process ``pid`` leads or led, itself included.

    None where there is no /proc. A session whose leader is another process by now, or that is
    older than ``started``, is a stranger's.
    """
    if not _has_proc() or not started.isdigit() or start_time(pid) not in (None, started):
        return []
    others = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [
        other
        for other in others
        if (stat := _read_stat(other)) and stat.session == pid and int(stat.started) >= int(started)
    ]


def _has_proc() -> bool:
    return (_PROC / "self/stat").exists()


def _read_stat(pid: int) -> _Stat | None:
    """None if the process has ended, as a zombie has."""
    try:
        # The name, in brackets, may itself hold spaces and brackets.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else _Stat(session=int(fields[3]), started=fields[19])


def start_time_by_ps(pid: int) -> str | None:
    """The same where there is no /proc, to the second."""
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    ).stdout.split(maxsplit=1)
    return None if len(shown) < 2 or shown[0][0] in "ZX" else shown[1].strip()
