"""C++ is compiled in the sandbox, and never run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox import Limits, NoCompiler, PolicyFailed, Rung, compile_cpp, compiler

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
def test_without_a_compiler_it_is_said(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.find_compiler.cache_clear()
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    with pytest.raises(NoCompiler, match="no C\\+\\+ compiler is installed; install one"):
        compile_cpp(rung, LIMITS, GOOD)
