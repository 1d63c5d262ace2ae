"""The Python that components run in, and the view of the machine's files that it needs."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox.programs import ProgramError, said_by, shared_libraries

PROBE = """
import json, os, sys, sysconfig
library = sysconfig.get_path("stdlib")
modules = ("zlib", "_bz2", "_crypt", "_ctypes", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_uuid")
suffix = sysconfig.get_config_var("EXT_SUFFIX")
extensions = [os.path.join(library, "lib-dynload", name + suffix) for name in modules]
print(json.dumps([os.path.realpath(sys.executable), library,
                  [path for path in extensions if os.path.exists(path)]]))
"""
"""The modules are those that need libraries of their own, less terminals, windows, dbm and NIS."""
SYSTEM_PYTHON = "/usr/bin/python3"
OTHERS = ("site-packages", "dist-packages")
"""Packages that are not the standard library, though they lie in it."""


@dataclass(frozen=True)
class Interpreter:
    """``executable`` needs the files ``shared`` and the standard library below ``library``, whose
    modules ``extensions`` are those that need some of ``shared`` themselves."""

    executable: str
    library: str
    shared: tuple[str, ...]
    extensions: tuple[str, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """Directories below ``library`` that are not the standard library's."""
        found = (os.path.join(self.library, name) for name in OTHERS)
        return tuple(path for path in found if os.path.isdir(path))

    def readable_by_all(self) -> bool:
        """Whether a user who owns nothing can run it where it lies."""
        paths = [Path(path).resolve() for path in (self.executable, self.library, *self.shared)]
        directories = {parent for path in paths for parent in path.parents}
        return all(path.stat().st_mode & 0o004 for path in paths) and all(
            path.stat().st_mode & 0o001 for path in (*directories, *paths[:2])
        )


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


@functools.cache
def base_interpreter() -> Interpreter:
    """The Python under the virtual environment of this process, if it is in one.

    Raises ProgramError.
    """
    return _examined(getattr(sys, "_base_executable", None) or sys.executable)


@functools.cache
def system_interpreter() -> Interpreter:
    """The system's own Python. Raises ProgramError."""
    return _examined(SYSTEM_PYTHON)


@functools.cache
def common_interpreter() -> Interpreter:
    """The first Python of these that every user of the machine can run.

    Raises ProgramError.
    """
    for found in (base_interpreter, system_interpreter):
        with contextlib.suppress(ProgramError, OSError):
            if found().readable_by_all():
                return found()
    raise ProgramError(f"{sys.executable} lies where other users cannot read it")


def _examined(path: str) -> Interpreter:
    text = said_by([path, "-I", "-S", "-B", "-c", PROBE])
    try:
        executable, library, extensions = json.loads(text)
    except ValueError:
        raise ProgramError(f"{path} does not say where its standard library is") from None
    shared = shared_libraries([executable, *extensions])
    return Interpreter(executable, library, shared, tuple(extensions))
