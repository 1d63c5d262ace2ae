"""C++ is compiled in the sandbox, and never run."""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import descendants, innermost
from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox import (
    Interrupted,
    Limits,
    NoCompiler,
    PolicyFailed,
    Rung,
    channel,
    compile_cpp,
    compiler,
)
from workers.sandbox.channel import Channel

LIMITS = Limits()
GOOD = """
#include <cstdint>
#include <map>
#include <vector>
class Policy {
 public:
  explicit Policy(std::size_t capacity) : recent_(capacity) {}
  std::uint64_t replace() const { return recent_.back(); }
 private:
  std::vector<std::uint64_t> recent_;
  std::map<int, int> counts_;
};
"""


@pytest.fixture(params=RUNG_NAMES)
def rung(request: pytest.FixtureRequest) -> Rung:
    return rung_named(request.param)


@pytest.fixture
def forget() -> Iterator[None]:
    compiler.find_compiler.cache_clear()
    yield
    compiler.find_compiler.cache_clear()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may have the processors."""
    monkeypatch.setattr(channel, "PATIENCE", 20.0)


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    try:
        compiler.find_compiler()
    except NoCompiler as error:
        if "CI" in os.environ and sys.platform == "linux":
            pytest.fail(f"sandbox: {error}")
        pytest.skip(f"sandbox: {error}")


def test_what_is_right_compiles(rung: Rung) -> None:
    compiled = compile_cpp(rung, LIMITS, GOOD)
    assert (compiled.ok, compiled.diagnostics) == (True, "")
    assert compiled.compiler == compiler.find_compiler().version


def test_what_is_wrong_is_said_line_by_line(rung: Rung) -> None:
    compiled = compile_cpp(rung, LIMITS, "int x = ;\nint y = nothing;\n")
    assert not compiled.ok
    first, second = (line for line in compiled.diagnostics.split("\n") if "error:" in line)
    assert first.startswith("<stdin>:1:9: error: ")
    assert second.startswith("<stdin>:2:9: error: ")


def test_what_it_says_is_printable_and_bounded(rung: Rung) -> None:
    source = "#error \x1b[31m\u202e" + "x" * 5000 + "\n" + "int x = nothing;\n" * 500
    compiled = compile_cpp(rung, LIMITS, source)
    assert not compiled.ok
    assert len(compiled.diagnostics) == 2000
    assert all(line.isprintable() for line in compiled.diagnostics.split("\n"))


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "/proc/self/environ", "secret"])
def test_files_of_the_machine_do_not_leak(rung: Rung, tmp_path: Path, path: str) -> None:
    if path == "secret":
        file = tmp_path / "secret"
        file.write_text("hunter2 is the word\n")
        path = str(file)
    compiled = compile_cpp(rung, LIMITS, f'#include "{path}"\n')
    assert not compiled.ok
    assert f"fatal error: {path}: " in compiled.diagnostics
    assert "root:" not in compiled.diagnostics
    assert "hunter2" not in compiled.diagnostics


@pytest.mark.parametrize(
    ("limits", "detail"),
    [
        (Limits(wall_s=0.5), "it took longer than it may"),
        (Limits(wall_s=30.0, cpu_s=1.0), "the compiler used more than 1 s of CPU"),
    ],
)
def test_a_compiler_that_takes_too_long_is_stopped(rung: Rung, limits: Limits, detail: str) -> None:
    endless = (
        "template<int n, int m> struct A { A<n - 1, 2 * m> a; A<n - 1, 2 * m + 1> b; };\n"
        "template<int m> struct A<0, m> {};\nA<25, 1> a;\n"
    )
    with pytest.raises(PolicyFailed) as caught:
        compile_cpp(rung, limits, endless)
    assert (caught.value.kind, caught.value.detail) == ("timeout", detail)


def test_a_compiler_has_its_memory_and_not_more(
    rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "MEMORY_BYTES", 0)
    compiled = compile_cpp(rung, Limits(memory_bytes=48 * 1024 * 1024), GOOD)
    assert not compiled.ok
    assert "memory" in compiled.diagnostics


@pytest.mark.usefixtures("forget")
def test_a_compiler_that_has_moved_is_looked_for_again(
    rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compiler.find_compiler()
    with monkeypatch.context() as patch:
        gone = replace(found, command=("/nowhere/cc1plus", *found.command[1:]))
        patch.setattr(compiler, "find_compiler", cached(gone))
        with pytest.raises(Interrupted, match=r"does not (start|come up): .*/nowhere/cc1plus"):
            compile_cpp(rung, LIMITS, GOOD)
        assert compiler.find_compiler.cache_info().currsize == 0
    assert compile_cpp(rung, LIMITS, GOOD).ok


def cached(found: compiler.Compiler) -> Callable[[], compiler.Compiler]:
    function = functools.cache(lambda: found)
    function()
    return function


def test_a_compiler_that_lacks_a_library_does_not_start(
    rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compiler.find_compiler()
    directories = tuple(path for path in found.needs if ".so" not in path)
    monkeypatch.setattr(compiler, "find_compiler", cached(replace(found, needs=directories)))
    with pytest.raises(Interrupted, match="the compiler does not start: "):
        compile_cpp(rung, LIMITS, GOOD)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "/nowhere/bwrap"])
def test_a_bubblewrap_that_was_replaced_is_not_the_source_s_fault(program: str) -> None:
    rung = rung_named("bubblewrap")
    assert rung.bubblewrap is not None
    other = replace(rung, bubblewrap=replace(rung.bubblewrap, path=program))
    with pytest.raises(Interrupted):
        compile_cpp(other, LIMITS, GOOD)


def test_a_compiler_that_is_killed_is_not_the_source_s_fault(
    rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(descendants(os.getpid()))

    def kill(channel: Channel, limit_s: float) -> bytes:
        select.select([channel._answers], [], [])  # it is about to become the compiler
        os.kill(innermost(set(descendants(os.getpid())) - before), signal.SIGTERM)
        return b""

    monkeypatch.setattr(Channel, "read_to_end", kill)
    with pytest.raises(Interrupted, match="the compiler was killed from outside"):
        compile_cpp(rung, LIMITS, GOOD)


@pytest.mark.usefixtures("forget")
def test_without_a_compiler_it_is_said(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.find_compiler.cache_clear()
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    with pytest.raises(NoCompiler, match="no C\\+\\+ compiler is installed; install one"):
        compile_cpp(rung, LIMITS, GOOD)
