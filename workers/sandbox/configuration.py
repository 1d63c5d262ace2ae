"""What ``inside.py`` is told before anything else: what it must give up."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from workers.sandbox.landlock import landlock_abi, ruleset
from workers.sandbox.limits import MIB, Limits
from workers.sandbox.rung import Rung
from workers.sandbox.seccomp import system_call_filter
from workers.sandbox.view import View

OPEN_FILES = 64
STACK_BYTES = 8 * MIB
HIGHEST_UID = 2**31
"""Some programs take a larger one for a negative number."""


def configuration(
    rung: Rung, limits: Limits, view: View, mark: str, command: Sequence[str]
) -> dict[str, object]:
    """JSON; what belongs to a layer that is not in force is null or empty."""
    layers = rung.layers
    return {
        "mark": mark,
        "command": list(command),
        "rlimits": _rlimits(limits) if "rlimits" in layers else {},
        "uid": own_uid() if "uid" in layers else None,
        "parent": None if "namespaces" in layers else os.getpid(),
        "landlock": ruleset(landlock_abi(), view) if "landlock" in layers else None,
        "seccomp": system_call_filter(bool(command)).hex() if "seccomp" in layers else None,
    }


def _rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    """Soft and hard. SIGXCPU can be ignored; a second later comes SIGKILL."""
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


def own_uid() -> int:
    """A user id near the upper end of those there are, drawn anew for each run: no account's, and
    not another sandbox's."""
    maps = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    top, count = max((int(first) + int(count), int(count)) for first, _, count in maps)
    top = min(top, HIGHEST_UID)
    return top - 2 - secrets.randbelow(max(1, min(count // 64, 2**20)))
