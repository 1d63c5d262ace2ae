"""Each way in which a component fails in the sandbox: always within its limits, in one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.sandboxes import RUNG_NAMES, failure, rung_named
from workers.sandbox import Interrupted, Limits, Rung, Sandbox, channel
from workers.sandbox.process import Process

LIMITS = Limits(wall_s=10.0, cpu_s=5.0)
SHORT = Limits(wall_s=1.0, cpu_s=5.0)
OTHER_PACKAGES = """import os, sys
sys.path.append(os.path.join(os.path.dirname(os.__file__), "site-packages"))
"""
BAD = """
import json, os, signal, sys, time

class Policy:
    def ok(self): return 1
    def exit_status_0(self): os._exit(0)
    def exit(self): sys.exit(3)
    def interrupt(self): raise KeyboardInterrupt
    def handle(self): signal.signal(signal.SIGTERM, lambda *_: None)
    def block(self): signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGXCPU})
    def overflow_of_the_stack(self):
        sys.setrecursionlimit(10**9)
        class Endless: pass
        Endless.__call__ = Endless()
        Endless()()
    def recursion(self): return self.recursion()
    def memory(self): return [bytearray(10**6) for _ in range(4000)]
    def memory_at_once(self): return bytearray(4 * 10**9)
    def loop(self):
        while True:
            try:
                while True: pass
            except BaseException: pass
    def deaf_loop(self):
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        self.loop()
    def sleep(self): time.sleep(1000)
    nap = time.sleep
    def spin(self, cpu_s):
        until_s = time.process_time() + cpu_s
        while time.process_time() < until_s: pass
    def stop(self): os.kill(os.getpid(), signal.SIGSTOP)
    def chatter(self):
        while True: print("x" * 1000)
    def exit_137(self): os._exit(137)
    def exit_143(self): os._exit(143)
    def exit_152(self): os._exit(152)
    def exit_255(self): os._exit(255)
    def exit_393(self): os._exit(393)
    def abort(self): os.abort()
    def flood(self):
        while True: print("\\x1b[31m")
    def last_words(self):
        print("I was here", flush=True)
        os._exit(7)
    def hang_up(self): os.closerange(0, 256)
    def stray(self):
        os.write(int(sys.argv[2]), b"{}\\n")
        return 1
    def forged(self):
        os.write(int(sys.argv[2]), b'=1\\n')
        time.sleep(1000)
    def too_many(self):
        frame = sys._getframe()
        while "mark" not in frame.f_locals: frame = frame.f_back
        mark, number = frame.f_locals["mark"], frame.f_locals["number"]
        os.write(int(sys.argv[2]), f"{mark}{number}=[1, 2]\\n".encode())
        time.sleep(1000)
    def half(self):
        os.write(int(sys.argv[2]), b"half a line")
        time.sleep(1000)
    def not_json(self): return object()
    def not_a_number(self): return float("nan")
    def large(self): return 2**63
    def half_a_character(self): return ["\\ud800"]
    def long(self): return "x" * 70000
    def deep(self):
        value = []
        for _ in range(20): value = [value]
        return value
    def very_deep(self):
        os.write(int(sys.argv[2]), b"[" * 60000 + b"\\n")
        time.sleep(1000)
    def raise_odd(self):
        class Odd(Exception):
            def __str__(self): raise SystemExit
        raise Odd
    def cheat_on_json(self):
        json.JSONEncoder.encode = None
        json.dumps = lambda value: "[0, 0, 0, 0]"
        raise ValueError
"""


@pytest.fixture(params=RUNG_NAMES)
def rung(request: pytest.FixtureRequest) -> Rung:
    return rung_named(request.param)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may have the processors."""
    monkeypatch.setattr(channel, "PATIENCE", 20.0)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many seconds what runs inside has waited for a processor."""
    seconds = [0.0]
    monkeypatch.setattr(Process, "queued_s", lambda _: seconds[0])
    return seconds


@pytest.fixture
def run_bad(rung: Rung) -> Iterator[Callable[..., Sandbox]]:
    """Starts the bad component within given limits."""
    boxes = []

    def run(limits: Limits = LIMITS) -> Sandbox:
        box = Sandbox(rung, limits, BAD).__enter__()
        boxes.append(box)
        box.load()
        box.make(0, [])
        box.flush()
        return box

    yield run
    for box in boxes:
        box.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("method", "kind", "detail"),
    [
        ("exit", "raised", "SystemExit: 3 (line 7)"),
        ("interrupt", "raised", "KeyboardInterrupt (line 8)"),
        ("recursion", "raised", "RecursionError: maximum recursion depth exceeded"),
        ("stop", "raised", "PermissionError: [Errno 1]"),
        ("handle", "raised", "PermissionError: [Errno 1]"),
        ("block", "raised", "PermissionError: [Errno 1]"),
        ("raise_odd", "raised", "Odd (line"),
        ("memory", "memory", "it used more memory than it may: MemoryError (line 17)"),
        ("memory_at_once", "memory", "it used more memory than it may: MemoryError (line 18)"),
        ("not_json", "bad_answer", "its answer is not JSON: TypeError: Object of type object"),
        ("not_a_number", "bad_answer", "its answer is not JSON: ValueError: Out of range"),
    ],
)
def test_after_these_it_can_be_asked_further(
    run_bad: Callable[..., Sandbox], method: str, kind: str, detail: str
) -> None:
    box = run_bad()
    failed = failure(box.ask, 0, method)
    assert failed[0] == kind
    assert failed[1].startswith(detail)
    assert box.ask(0, "ok") == 1


def test_a_failure_names_the_method(run_bad: Callable[..., Sandbox]) -> None:
    box = run_bad()
    assert failure(box.ask, 0, "exit")[1] == "SystemExit: 3 (line 7) in exit"
    box.tell(0, "ok")
    assert failure(box.ask, 0, "exit")[1] == "SystemExit: 3 (line 7) in ok or exit"
    box.tell(0, "ok")
    assert failure(box.ask, 0, "not_a_number")[1].endswith(" in not_a_number")


@pytest.mark.parametrize(
    ("method", "kind", "detail"),
    [
        ("exit_status_0", "ended", "its process ended with status 0"),
        ("last_words", "ended", "its process ended with status 7; it printed: I was here"),
        ("exit_137", "ended", "its process died of SIGSEGV"),
        ("exit_143", "ended", "its process died of SIGSEGV"),
        ("exit_152", "ended", "its process died of SIGSEGV"),
        ("exit_255", "ended", "its process died of SIGSEGV"),
        ("exit_393", "ended", "its process died of SIGSEGV"),
        ("abort", "ended", "its process died of SIGSEGV"),
        ("overflow_of_the_stack", "ended", "its process died of SIGSEGV"),
        ("hang_up", "ended", "its process ended with status 120"),
        ("chatter", "too_much_output", "it printed more than 1048576 bytes: xxx"),
        ("stray", "bad_answer", "its answer"),
        ("forged", "bad_answer", "its answer cannot be used: it does not belong"),
        ("too_many", "bad_answer", "it does not answer each of its questions"),
        ("large", "bad_answer", "its answer cannot be used: it has an integer of more"),
        ("half_a_character", "bad_answer", "its answer cannot be used: it has half a character"),
        ("long", "bad_answer", "its answer is too long: an answer may have 65536 bytes"),
        ("deep", "bad_answer", "its answer cannot be used: it is nested deeper than 16 levels"),
        ("very_deep", "bad_answer", "its answer cannot be used: it does not belong"),
        ("cheat_on_json", "bad_answer", "its answer cannot be used: it is malformed"),
    ],
)
def test_after_these_it_is_dead(
    run_bad: Callable[..., Sandbox], method: str, kind: str, detail: str
) -> None:
    box = run_bad()
    failed = failure(box.ask, 0, method)
    assert failed[0] == kind
    if method != "stray":  # either line may come first
        assert failed[1].startswith(detail)
    assert failure(box.ask, 0, "ok") == failed


@pytest.mark.parametrize("method", ["loop", "deaf_loop", "sleep", "half"])
def test_it_is_waited_for_no_longer_than_it_may_take(
    run_bad: Callable[..., Sandbox], method: str
) -> None:
    box = run_bad(SHORT)
    began_s = time.monotonic()
    assert failure(box.ask, 0, method) == ("timeout", "it took longer than 1 s")
    assert SHORT.wall_s - box.asked_s <= 0
    assert time.monotonic() - began_s < channel.PATIENCE * SHORT.wall_s + 5


def test_what_is_quoted_of_what_it_printed_is_a_short_line(run_bad: Callable[..., Sandbox]) -> None:
    box = run_bad()
    kind, detail = failure(box.ask, 0, "flood")
    assert (kind, len(detail)) == (
        "too_much_output",
        len("it printed more than 1048576 bytes: ") + 200,
    )
    assert "\\x1b[31m \\x1b[31m" in detail


@pytest.mark.parametrize("method", ["loop", "deaf_loop"])
def test_its_processor_time_is_limited(run_bad: Callable[..., Sandbox], method: str) -> None:
    box = run_bad(Limits(wall_s=30.0, cpu_s=1.0))
    assert failure(box.ask, 0, method) == ("timeout", "it used more than 1 s of CPU")


def test_what_it_waits_for_a_processor_does_not_count(
    run_bad: Callable[..., Sandbox], queued: list[float]
) -> None:
    box = run_bad(SHORT)
    box.flush()
    queued[0] = 0.5
    box.tell(0, "nap", 1.2)
    assert box.ask(0, "ok") == 1
    box.tell(0, "nap", 1.0)
    assert failure(box.flush) == ("timeout", "it took longer than 1 s")
    assert 1.5 <= box.asked_s < 2.2


def test_a_machine_without_time_for_it_is_not_its_fault(
    run_bad: Callable[..., Sandbox], queued: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PATIENCE", 2.0)
    box = run_bad(SHORT)
    queued[0] = 1.1
    with pytest.raises(Interrupted, match="this machine was too busy to run it; let it be run"):
        box.ask(0, "sleep")


def test_it_is_seen_what_it_waits_for_a_processor(run_bad: Callable[..., Sandbox]) -> None:
    box = run_bad(Limits(wall_s=60.0, cpu_s=1.0))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            box.tell(0, "spin", 0.2)
            box.flush()
        finally:
            other.kill()
    assert box._process.queued_s() > 0.05  # they shared a processor


def test_all_waiting_counts(rung: Rung) -> None:
    with Sandbox(rung, SHORT, "import time\nclass Policy:\n    nap = time.sleep") as box:
        box.load()
        box.make(0, [])
        box.tell(0, "nap", 0.6)
        box.flush()
        box.tell(0, "nap", 0.6)
        assert failure(box.flush) == ("timeout", "it took longer than 1 s")


@pytest.mark.parametrize(
    ("source", "kind", "detail"),
    [
        (
            "x = 1\ny = = 2\n",
            "raised",
            "SyntaxError: invalid syntax (<component>, line 2) (line 2)",
        ),
        ("x = 1\n\nraise ValueError('at once')", "raised", "ValueError: at once (line 3)"),
        ("import os; os._exit(0)", "ended", "its process ended with status 0"),
        ("while True: pass", "timeout", "it took longer than 1 s"),
        ("import numpy", "raised", "ModuleNotFoundError: No module named 'numpy' (line 1)"),
        (OTHER_PACKAGES + "import pip", "raised", "No module named 'pip' (line 3)"),
        ("import coordinator", "raised", "ModuleNotFoundError: No module named 'coordinator'"),
        ("x = '\0'", "raised", "source code string cannot contain null bytes"),
        ("x = '\ud800'", "raised", "UnicodeEncodeError: 'utf-8' codec can't encode"),
        ("x = " + "(" * 1000, "raised", "SyntaxError: too many nested parentheses"),
    ],
)
def test_it_fails_while_it_is_loaded(rung: Rung, source: str, kind: str, detail: str) -> None:
    with Sandbox(rung, SHORT if kind == "timeout" else LIMITS, source) as box:
        failed = failure(box.load)
    assert failed[0] == kind
    assert detail in failed[1]
