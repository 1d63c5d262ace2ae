"""A harness as one would write it without a thought of attacks: Python in a process of its own.

It runs the component and its tests, computes the score beside the component, and believes the one
line of JSON that it prints, or its exit status. It runs what is put before it on this machine.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from tests.attacks.oracle import Oracle
from tests.attacks.probe import Probe
from tests.attacks.seen import (
    Seen,
    forget_peak,
    looked_at,
    own_memory_bytes,
    shared_memory_bytes,
)
from tests.processes import descendants

PATIENCE_S = 20.0
SHORT_PATIENCE_S = 0.7
GRACE_S = 0.3
QUESTIONS = range(8, 16)
HARNESS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("component", sys.argv[1])
component = importlib.util.module_from_spec(spec)
spec.loader.exec_module(component)
for name, test in list(vars(component).items()):
    if name.startswith("test_"):
        test()
policy = component.Policy(8)
score = sum(policy.replace(number) == number for number in range(8, 16)) / 8
result = getattr(component, "RESULT", None)
loot = component.SPECIALIZATION
print(json.dumps({"outcome": "passed", "score": score, "loot": loot, "result": result}))
sys.stdout.flush()
sys.stdin.read()
"""


def run_outside(probe: Probe, oracle: Oracle) -> Seen:
    """Run a probe as any program is run; what it leaves running is ended afterwards."""
    seen = Seen()
    before = set(descendants(os.getpid()))
    forget_peak()
    memory_bytes, shared_bytes = own_memory_bytes(), shared_memory_bytes()
    try:
        text = probe.text(oracle)
        ast.parse(text)
        path = oracle.folder / "component.py"
        path.write_text(text)
        _run(path, PATIENCE_S if not probe.endless else SHORT_PATIENCE_S, seen, before)
    except (SyntaxError, json.JSONDecodeError) as error:
        seen.said += str(error)
    except Exception as error:
        seen.crashed = repr(error)[:200]
    finally:
        seen.shared_bytes -= shared_bytes
        seen.grown_bytes = own_memory_bytes(peak=True) - memory_bytes
        _end(set(descendants(os.getpid())) - before)
    return seen


def _run(path: Path, patience_s: float, seen: Seen, before: set[int]) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", HARNESS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=path.parent,
        close_fds=False,
    ) as process:
        try:
            report, complaint = _read(process, patience_s)
            seen.overrun = not report and process.poll() is None
            seen.processes = looked_at(sorted(set(descendants(os.getpid())) - before))
            seen.shared_bytes = shared_memory_bytes()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            seen.survivors = sorted(set(descendants(os.getpid())) - before)
        finally:
            process.kill()
    seen.said = complaint.decode(errors="replace")[-200_000:]
    _judge(report, process.returncode, seen)


def _read(process: subprocess.Popen[bytes], patience_s: float) -> tuple[bytes, bytes]:
    """The first line that it prints, and what it complains."""
    assert process.stdout is not None
    assert process.stderr is not None
    ends_s = time.monotonic() + patience_s
    texts = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    still_open = set(texts)
    out, complaint = texts.values()
    has_line = False
    while still_open and not has_line and time.monotonic() < ends_s:
        for descriptor in select.select(still_open, [], [], 0.05)[0]:
            piece = os.read(descriptor, 1 << 20)
            texts[descriptor] += piece
            has_line |= texts[descriptor] is out and b"\n" in piece
            if not piece:
                still_open.discard(descriptor)
    return bytes(out).partition(b"\n")[0], bytes(complaint)


def _judge(line: bytes, status: int, seen: Seen) -> None:
    """Believe the report, or the exit status where there is none."""
    if not line:
        seen.believed = status == 0
        if status in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL):
            seen.crashed = f"signal {-status}, and no word of why"
        return
    report: dict[str, Any] = json.loads(line.decode())
    seen.said += json.dumps(report, ensure_ascii=False).encode().decode()
    seen.believed = report.get("outcome") == "passed"
    seen.score = report.get("score", 0.0)
    if report.get("result"):
        pickle.loads(zlib.decompress(base64.b64decode(report["result"])))


def _end(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
