"""What a component may use in one run."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """``wall_s`` is waited for it in all, by the clock outside; ``cpu_s`` is its processor time
    and ``memory_bytes`` its address space, the interpreter's own included. ``answer_bytes`` is
    the longest answer, ``output_bytes`` all that it prints. It can write no file."""

    wall_s: float = 20.0
    cpu_s: float = 15.0
    memory_bytes: int = 256 * MIB
    answer_bytes: int = 64 * 1024
    output_bytes: int = MIB
