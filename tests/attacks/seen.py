"""What the host sees of one run of a probe: through /proc, its own clock and its own memory.

Nothing in here asks the probe. What it said is kept as the text that it is.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISUID

from tests.processes import PROC, stat

KIB = 1024


@dataclass(frozen=True)
class Process:
    """A live process that came of this one, as /proc has it."""

    pid: int
    threads: int
    memory_bytes: int
    """The most of it that was ever resident."""
    user_ids: frozenset[int]
    capabilities: int
    namespaces: frozenset[str]
    exe: str
    session: int
    nice: int
    mounts: str
    open_files: dict[str, int]
    """What its descriptors lead to, and how many bytes that has."""
    has_set_user_file: bool
    """It holds a file open that makes who runs it another user."""
    held_files: int
    """How many entries the directories have that it holds open."""


@dataclass
class Seen:
    """One run. ``said`` is all that came back of it, answers and complaints alike."""

    said: str = ""
    overrun: bool = False
    """The answer was not there in time, and what ran was still running."""
    crashed: str = ""
    """The harness itself came to grief: what it raised, or what it could not explain."""
    believed: bool = False
    """The harness took a component whose test fails for one that passed."""
    score: float = 0.0
    """The share of its answers that the harness took for right; none is."""
    grown_bytes: int = 0
    """How much the harness's own memory grew."""
    shared_bytes: int = 0
    """How much more the machine held in memory that belongs to no process (tmpfs, memfd)."""
    processes: list[Process] = field(default_factory=list)
    """Those alive when the probe had come to its end, before the harness ended them."""
    survivors: list[int] = field(default_factory=list)
    """Those alive after the harness had ended what it could."""


def looked_at(pids: list[int]) -> list[Process]:
    """Each of these processes that can still be looked at."""
    processes = []
    for pid in pids:
        with contextlib.suppress(OSError):
            processes.append(_looked_at(pid))
    return processes


def own_memory_bytes(peak: bool = False) -> int:
    return _kib((PROC / "self/status").read_text(), "VmHWM" if peak else "VmRSS")


def forget_peak() -> None:
    """Let the peak of this process's memory begin anew (proc(5), clear_refs)."""
    (PROC / "self/clear_refs").write_text("5")


def shared_memory_bytes() -> int:
    return _kib((PROC / "meminfo").read_text(), "Shmem")


def _looked_at(pid: int) -> Process:
    status = (PROC / str(pid) / "status").read_text()
    fields = stat(pid)
    ids = _field(status, "Uid").split()
    open_files, held, sets_user = _descriptors(pid)
    return Process(
        pid=pid,
        threads=int(_field(status, "Threads")),
        memory_bytes=_kib(status, "VmHWM"),
        user_ids=frozenset(map(int, ids)),
        capabilities=int(_field(status, "CapEff"), 16),
        namespaces=frozenset(_links(PROC / str(pid) / "ns").values()),
        exe=_link(PROC / str(pid) / "exe"),
        session=int(fields[3]),
        nice=int(fields[16]),
        mounts=_text(PROC / str(pid) / "mounts"),
        open_files=open_files,
        has_set_user_file=sets_user,
        held_files=held,
    )


def _descriptors(pid: int) -> tuple[dict[str, int], int, bool]:
    """The sizes of the files by name, the entries of directories, and whether one sets a user."""
    folder = PROC / str(pid) / "fd"
    sizes: dict[str, int] = {}
    held = 0
    sets_user = False
    for number, target in _links(folder).items():
        with contextlib.suppress(OSError):
            path = folder / number
            if path.is_dir():
                held += len(os.listdir(path))
            else:
                found = path.stat()
                sizes[target] = found.st_size
                sets_user |= bool(found.st_mode & S_ISUID)
    return sizes, held, sets_user


def _links(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError):
        return {entry.name: _link(entry) for entry in folder.iterdir()}
    return {}


def _link(path: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"{name} is gone: the process has ended")
    return found[1]


def _kib(text: str, name: str) -> int:
    return int(_field(text, name).split()[0]) * KIB
