"""Whether an attack succeeded, by what the host finds: never by what the probe says of itself.

An oracle prepares the host for one run, tells the probe where to strike (``given``: names that its
source finds defined), and judges afterwards. A probe that has stolen something proves it by the
secret, which is random and which nobody told it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.seen import Process, Seen

LIBRARY = Path(os.__file__).parent
"""Where the standard library of this Python lies."""


class Oracle:
    """``folder`` is a directory that everybody may write into."""

    needs = ""
    """What this machine lacks for the attack to be shown outside; "" if it lacks nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.given: dict[str, Any] = {
            "TOKEN": self.token,
            "FOLDER": str(folder),
            "HOST": os.getpid(),
        }

    def succeeded(self, seen: Seen) -> bool:
        """Whether the host finds that the attack did what it was after."""
        raise NotImplementedError

    def note(self, pids: list[int]) -> None:
        """The processes that are there before the probe runs."""

    def close(self) -> None:
        """End what was prepared."""


class Saw(Oracle):
    """What the host saw of the run itself tells."""

    def __init__(self, folder: Path, found: Callable[[Seen], bool]) -> None:
        super().__init__(folder)
        self.found = found

    def succeeded(self, seen: Seen) -> bool:
        return self.found(seen)


def saw(found: Callable[[Seen], bool]) -> Callable[[Path], Saw]:
    return lambda folder: Saw(folder, found)


def saw_process(found: Callable[[Process], bool]) -> Callable[[Path], Saw]:
    """A process that was alive at the end of the probe tells."""
    return saw(lambda seen: any(map(found, seen.processes)))


def lacking(oracle: Oracle) -> str:
    """Why a test is skipped whose attack this machine cannot be shown."""
    return f"sandbox: the attack takes {oracle.needs}, which is not to be had here"
