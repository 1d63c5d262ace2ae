"""Trusted programs of the machine: asked, outside the sandbox, what they need."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence

ANSWER_LIMIT_S = 20.0
LIBRARY_PATH = re.compile(r"(?:=> |^\s+)(/\S+) \(0x", re.MULTILINE)
LOADER_CACHE = "/etc/ld.so.cache"
Identity = tuple[str, int, int, int] | None
"""Path, file system, inode and time of change (ns) of a program; None if it is not there."""


class ProgramError(Exception):
    """It is not there, or does not answer."""


def said_by(command: Sequence[str]) -> str:
    """What ``command`` prints on both its streams. Raises ProgramError if it fails."""
    try:
        return subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=ANSWER_LIMIT_S,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ProgramError(f"{command[0]} cannot be asked: {error}") from None


def identities(paths: Iterable[str]) -> tuple[Identity, ...]:
    """By which it can be told that a program was replaced."""
    return tuple(map(_identity, paths))


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return path, found.st_dev, found.st_ino, found.st_mtime_ns


def shared_libraries(paths: Sequence[str]) -> tuple[str, ...]:
    """The files that the loader needs to run the programs and libraries ``paths``.

    Raises ProgramError.
    """
    found = {os.path.normpath(path) for path in LIBRARY_PATH.findall(said_by(["ldd", *paths]))}
    return tuple(path for path in (*sorted(found), LOADER_CACHE) if os.path.isfile(path))
