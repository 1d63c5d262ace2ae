"""A probe as a component in the sandbox, and what the host sees of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

from tests.attacks.oracle import Oracle
from tests.attacks.outside import QUESTIONS
from tests.attacks.probe import Probe
from tests.attacks.seen import (
    Seen,
    forget_peak,
    looked_at,
    own_memory_bytes,
    shared_memory_bytes,
)
from tests.processes import descendants
from workers.sandbox import Interrupted, Limits, NoRung, PolicyFailed, Rung, Sandbox
from workers.sandbox.channel import PATIENCE

MIB = 1 << 20
LATE_S = 2.0
"""An answer that comes so much after its limit was not waited for on purpose."""
LIMITS = Limits(wall_s=4.0, cpu_s=3.0, memory_bytes=128 * MIB)
TEST = re.compile(r"^def (test_\w+)\(\)", re.MULTILINE)
SHORT_LIMITS = Limits(wall_s=0.4, cpu_s=3.0, memory_bytes=128 * MIB)


def run_inside(rung: Rung, probe: Probe, oracle: Oracle) -> Seen:
    """Run a probe as a validator runs a component: import it, test it, ask it."""
    seen = Seen()
    limits = SHORT_LIMITS if probe.endless else LIMITS
    text = probe.text(oracle)
    before = set(descendants(os.getpid()))
    open_before = os.listdir("/proc/self/fd")
    forget_peak()
    memory_bytes, shared_bytes = own_memory_bytes(), shared_memory_bytes()
    try:
        with Sandbox(rung, limits, text) as box:
            oracle.note(sorted(set(descendants(os.getpid())) - before))
            began_s = time.monotonic()
            try:
                _ask(box, TEST.findall(text), seen)
            except (PolicyFailed, Interrupted) as failure:
                seen.said += f"{failure.code}: {failure.detail}"
            limit_s = limits.wall_s * PATIENCE + LATE_S
            seen.overrun = time.monotonic() - began_s > limit_s
            seen.processes = looked_at(sorted(set(descendants(os.getpid())) - before))
            seen.shared_bytes = shared_memory_bytes() - shared_bytes
    except NoRung:
        raise
    except Exception as error:
        seen.crashed = repr(error)[:200]
    seen.grown_bytes = own_memory_bytes(peak=True) - memory_bytes
    if os.listdir("/proc/self/fd") != open_before:
        seen.crashed = "descriptors were left open"
    seen.survivors = sorted(set(descendants(os.getpid())) - before)
    return seen


def _ask(box: Sandbox, tests: Sequence[str], seen: Seen) -> None:
    loaded = box.load()
    seen.said += repr(loaded)
    for name in tests:
        box.test(name)
        seen.believed = True
    box.make(0, [8])
    for number in QUESTIONS:
        answer = box.ask(0, "replace", number)
        seen.said += repr(answer)
        if type(answer) is int and answer == number:
            seen.score += 1 / len(QUESTIONS)
