"""Attacks by C++ that is only compiled: a compiler reads files, and can be kept busy."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.attacks.oracle import Oracle, lacking, saw
from tests.attacks.seen import Seen, forget_peak, own_memory_bytes
from tests.attacks.stolen import Secret, Shadow
from tests.processes import descendants
from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox import Interrupted, Limits, PolicyFailed, Rung, compile_cpp
from workers.sandbox.channel import PATIENCE

COMPILER = shutil.which("g++")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="sandbox: only on Linux"),
    pytest.mark.skipif(COMPILER is None, reason="sandbox: g++ is not installed"),
]
LIMITS = Limits(wall_s=0.8, cpu_s=3.0)
PATIENCE_S = 2.0
LATE_S = 3.0


class Guess(Secret):
    """What is told of a file is whether it is there."""

    def succeeded(self, seen: Seen) -> bool:
        return self.token in seen.said


class Attack(NamedTuple):
    oracle: Callable[[Path], Oracle]
    source: str


TEMPLATES = """
template<int N, int M> struct A { static const int x = A<N-1, M>::x + A<N-1, M+1>::x; };
template<int M> struct A<0, M> { static const int x = M; };
int y = A<700, 0>::x;
"""
MESSAGES = "\n".join(
    [
        f'#define B0 _Pragma("message(\\"{"y" * 12_000}\\")")',
        *(f"#define B{number + 1} {f'B{number} ' * 10}" for number in range(3)),
        "B3",
    ]
)
ATTACKS = {
    "include_a_secret": Attack(Secret, '#include "@SECRET@"'),
    "include_by_climbing": Attack(Secret, f'#include "{"../" * 20}@SECRET@"'),
    "include_the_passwords": Attack(Shadow, '#include "/etc/shadow"'),
    "is_there_a_file": Attack(Guess, '#if __has_include("@SECRET@")\n#error @TOKEN@\n#endif'),
    "endless_templates": Attack(saw(lambda seen: seen.overrun), TEMPLATES),
    "flood_of_messages": Attack(saw(lambda seen: seen.grown_bytes > 20 << 20), MESSAGES),
}


def compiled_outside(source: str) -> Seen:
    seen = Seen()
    forget_peak()
    memory_bytes = own_memory_bytes()
    command = [str(COMPILER), "-x", "c++", "-fsyntax-only", "-"]
    try:
        done = subprocess.run(
            command, input=source, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        seen.said = done.stderr
    except subprocess.TimeoutExpired:
        seen.overrun = True
    seen.grown_bytes = own_memory_bytes(peak=True) - memory_bytes
    return seen


def compiled_inside(rung: Rung, source: str) -> Seen:
    seen = Seen()
    before = set(descendants(os.getpid()))
    forget_peak()
    memory_bytes = own_memory_bytes()
    began_s = time.monotonic()
    try:
        seen.said = repr(compile_cpp(rung, LIMITS, source))
    except (PolicyFailed, Interrupted) as failure:
        seen.said = failure.detail
    seen.overrun = time.monotonic() - began_s > LIMITS.wall_s * PATIENCE + LATE_S
    seen.grown_bytes = own_memory_bytes(peak=True) - memory_bytes
    seen.survivors = sorted(set(descendants(os.getpid())) - before)
    return seen


def filled(source: str, oracle: Oracle) -> str:
    for name, value in oracle.given.items():
        source = source.replace(f"@{name}@", str(value))
    return source


@pytest.mark.parametrize("name", ATTACKS)
def test_it_succeeds_where_the_compiler_is_free(name: str, open_folder: Path) -> None:
    attack = ATTACKS[name]
    with contextlib.closing(attack.oracle(open_folder)) as oracle:
        if oracle.needs:
            pytest.skip(lacking(oracle))

        seen = compiled_outside(filled(attack.source, oracle))

        assert oracle.succeeded(seen)


@pytest.mark.parametrize("rung_name", RUNG_NAMES)
@pytest.mark.parametrize("name", ATTACKS)
def test_it_fails_where_the_compiler_is_confined(
    name: str, rung_name: str, open_folder: Path
) -> None:
    attack, rung = ATTACKS[name], rung_named(rung_name)
    with contextlib.closing(attack.oracle(open_folder)) as oracle:
        if oracle.needs:
            pytest.skip(lacking(oracle))

        seen = compiled_inside(rung, filled(attack.source, oracle))

        assert not oracle.succeeded(seen), seen.said[:500]
        assert seen.survivors == []
