"""Processes: how one is told from a later one of the same pid, and how one dies with its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in the system's own words; None if it has ended.

    A zombie has ended.
    """
    if Path("/proc/self/stat").exists():
        try:
            # The name, in brackets, may itself hold spaces and brackets.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    return start_time_by_ps(pid)


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
