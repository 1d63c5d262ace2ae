"""What a program in the sandbox can see of the machine's files."""

from __future__ import annotations

import os
from dataclasses import dataclass

from workers.sandbox.interpreter import Interpreter


@dataclass(frozen=True)
class View:
    """Paths of files and directories: what lies below ``reads`` can be read and below ``runs``
    be run as a program, but nothing below ``hides``; all else is not there, or out of reach."""

    reads: tuple[str, ...]
    runs: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()


def python_view(interpreter: Interpreter) -> View:
    """What Python needs, and nothing else."""
    reads = (interpreter.executable, interpreter.library, *interpreter.shared)
    return View(reads, hides=interpreter.hidden)


def visible_parts(view: View, path: str) -> list[str]:
    """``path``, or what lies in it where something in it is hidden."""
    if not any(hidden.startswith(path + os.sep) for hidden in view.hides):
        return [path]
    inside = (os.path.join(path, name) for name in sorted(os.listdir(path)))
    return [part for part in inside if part not in view.hides]
