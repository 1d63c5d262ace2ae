"""C++ is compiled, and never run: on the same rung and within the same limits as a component."""

from __future__ import annotations

import functools
import os
import re
import secrets
import shlex
import shutil
import signal
import tempfile
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordinator.messages import one_line
from workers.sandbox.channel import Channel, shown
from workers.sandbox.failures import Interrupted, NoCompiler, PolicyFailed
from workers.sandbox.interpreter import View, python_view
from workers.sandbox.process import Process, killed_from_outside
from workers.sandbox.programs import ProgramError, said_by, shared_libraries
from workers.sandbox.rung import MIB, Limits, Rung
from workers.sandbox.seccomp import SeccompError

COMPILERS = ("g++", "clang++", "c++")
OPTIONS = ("-x", "c++", "-std=c++20", "-fsyntax-only", "-")
MEMORY_BYTES = 1024 * MIB
"""What a compiler may use at least: the standard library's headers alone take a component's."""
NOT_LOADED = 127
"""The status of what the loader finds a library missing for."""
LONGEST_LINE = 300
LONGEST_DIAGNOSTICS = 2000
INCLUDED = re.compile(r"search starts here:\n((?: .*\n)+)")


@dataclass(frozen=True)
class Compiled:
    """Whether it compiles, the compiler by name and version, and what that said: printable lines,
    2000 characters in all."""

    ok: bool
    compiler: str
    diagnostics: str


@dataclass(frozen=True)
class Compiler:
    """``command`` is the compiler proper, which starts no other program, ``needs`` the files and
    directories that it reads."""

    version: str
    command: tuple[str, ...]
    needs: tuple[str, ...]


class _Run(NamedTuple):
    """How a compiler ended (None: it did not), what it printed, and whether it ``began`` at all."""

    status: int | None
    output: bytes
    began: bool


def compile_cpp(rung: Rung, limits: Limits, source: str) -> Compiled:
    """Compile ``source`` as C++20, and make nothing of it.

    Raises NoCompiler, Interrupted, and PolicyFailed if the compiler breaks a limit or dies.
    """
    compiler = find_compiler()
    limits = replace(limits, memory_bytes=max(limits.memory_bytes, MEMORY_BYTES))
    try:
        run = _run(rung, limits, compiler, source)
    except (OSError, SeccompError) as error:
        find_compiler.cache_clear()
        raise Interrupted(f"{rung.name} does not come up: {error}") from None
    if run.status is not None and killed_from_outside(run.status):
        raise Interrupted("the compiler was killed from outside")
    if run.status == -signal.SIGXCPU:
        raise PolicyFailed("timeout", f"the compiler used more than {limits.cpu_s:g} s of CPU")
    if not run.began or run.status == NOT_LOADED:
        find_compiler.cache_clear()
        said = shown(run.output.decode(errors="replace"), LONGEST_LINE)
        raise Interrupted(f"the compiler does not start: {said or f'status {run.status}'}")
    if run.status is None or run.status < 0:
        raise PolicyFailed("ended", f"the compiler died of signal {-(run.status or 0)}")
    return Compiled(run.status == 0, compiler.version, _printable(run.output))


def _run(rung: Rung, limits: Limits, compiler: Compiler, source: str) -> _Run:
    """Raises OSError and SeccompError if it cannot be tried, PolicyFailed and Interrupted."""
    python = python_view(rung.interpreter)
    programs = (compiler.command[0], *(path for path in compiler.needs if ".so" in path))
    view = View((*python.reads, *compiler.needs), runs=programs, hides=python.hides)
    mark = secrets.token_hex(8)
    with tempfile.TemporaryFile() as file:
        file.write(source.encode(errors="replace"))
        file.seek(0)
        process = Process(rung, limits, view, mark, compiler.command, file.fileno())
        try:
            output = Channel(process, limits).read_to_end(limits.wall_s)
            return _Run(process.status(), output, process.has_become(mark))
        finally:
            process.close()


def _printable(output: bytes) -> str:
    lines = [one_line(line, LONGEST_LINE) for line in output.decode(errors="replace").splitlines()]
    return "\n".join(lines)[:LONGEST_DIAGNOSTICS]


@functools.cache
def find_compiler() -> Compiler:
    """The first C++ compiler on the PATH. Raises NoCompiler."""
    path = next(filter(None, map(shutil.which, COMPILERS)), None)
    if path is None:
        raise NoCompiler("no C++ compiler is installed; install one (apt install g++)")
    try:
        version = one_line(said_by([path, "--version"]).splitlines()[0])
        command = _proper(said_by([path, "-###", *OPTIONS]))
        found = INCLUDED.findall(said_by([path, *OPTIONS, "-v"]))
        libraries = shared_libraries([command[0]])
    except (ProgramError, IndexError, ValueError) as error:
        raise NoCompiler(f"{path} cannot be run confined: {error}") from None
    directories = (line.strip() for group in found for line in group.splitlines())
    return Compiler(version, command, tuple(dict.fromkeys((*directories, *libraries))))


def _proper(shown: str) -> tuple[str, ...]:
    """The command of the compiler proper in what ``-###`` shows. Raises ProgramError."""
    commands = [shlex.split(line) for line in shown.splitlines() if line.startswith((" /", ' "/'))]
    command = next((words for words in commands if "-fsyntax-only" in words), None)
    if command is None:
        raise ProgramError("it does not say how it compiles")
    return tuple("-" if word == os.devnull else word for word in command)  # there is no /dev
