"""What /proc shows of processes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def stat(pid: int) -> list[str]:
    """The fields of a process's stat from its state on (proc(5)). Raises OSError if it is gone."""
    return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def parents() -> dict[int, int]:
    """The living processes, each with its parent; a zombie has ended."""
    found: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                state, parent = stat(int(entry.name))[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
    return found


def children_of(parent: int) -> list[int]:
    """The living processes that ``parent`` started, or inherited."""
    return [child for child, its_parent in parents().items() if its_parent == parent]


def descendants(ancestor: int) -> list[int]:
    """The living processes that come of ``ancestor``, orphans that it inherited among them."""
    children: dict[int, list[int]] = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found, waiting = [], [ancestor]
    while waiting:
        more = children.get(waiting.pop(), [])
        waiting += more
        found += more
    return sorted(found)


def innermost(pids: set[int]) -> int:
    """The one of ``pids`` that started no other of them."""
    (last,) = pids - {parent for child, parent in parents().items() if child in pids}
    return last
