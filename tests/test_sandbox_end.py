"""Whatever happens, nothing that ran in the sandbox lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import descendants, innermost
from tests.sandboxes import RUNG_NAMES, held, outlive, rung_named
from workers.sandbox import Interrupted, Limits, PolicyFailed, Rung, Sandbox

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = """
import atexit, os, time

class Policy:
    def __del__(self): time.sleep(1000)
    def loop(self):
        while True: pass
    def exit(self): os._exit(0)
    def chatter(self):
        while True: print("x" * 1000)

atexit.register(time.sleep, 1000)
"""
SUPERVISOR = """
import sys
from tests.sandboxes import rung_named
from workers.sandbox import Limits, NoRung, Sandbox

with Sandbox(rung_named(sys.argv[1]), Limits(), "class Policy:\\n  def loop(self):\\n"
             "    while True: pass") as box:
    box.load()
    box.make(0, [])
    print("up", flush=True)
    box.ask(0, "loop")
"""


@pytest.fixture(params=RUNG_NAMES)
def rung(request: pytest.FixtureRequest) -> Rung:
    return rung_named(request.param)


def leave(box: Sandbox) -> None:
    box.flush()


def exit_(box: Sandbox) -> None:
    box.ask(0, "exit")


def chatter(box: Sandbox) -> None:
    box.ask(0, "chatter")


def loop(box: Sandbox) -> None:
    box.ask(0, "loop")


def interrupted(box: Sandbox) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("act", [leave, exit_, chatter, loop, interrupted])
def test_nothing_is_left_when_the_run_ends(rung: Rung, act: Callable[[Sandbox], None]) -> None:
    files = os.listdir("/proc/self/fd")
    before = held(descendants(os.getpid()))
    try:
        with Sandbox(rung, Limits(wall_s=1.0), SOURCE) as box:
            box.load()
            box.make(0, [])
            box.flush()
            inside = held(descendants(os.getpid()))
            act(box)
    except (PolicyFailed, Interrupted, KeyboardInterrupt):
        pass
    started = {pid: descriptor for pid, descriptor in inside.items() if pid not in before}
    assert len(started) == (3 if rung.name == "bubblewrap" else 1)
    assert outlive(inside, 0.0) == sorted(before)
    outlive(before, 0.0)
    assert os.listdir("/proc/self/fd") == files


def test_a_supervisor_that_is_killed_takes_all_with_it(rung: Rung) -> None:
    command = [sys.executable, "-c", SUPERVISOR, rung.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"up\n"
        inside = held(descendants(supervisor.pid))
        supervisor.send_signal(signal.SIGKILL)
    assert len(inside) == (3 if rung.name == "bubblewrap" else 1)
    assert outlive(inside, 10.0) == []


KILLS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", [*KILLS, signal.SIGABRT, signal.SIGALRM, signal.SIGRTMIN])
def test_who_kills_what_runs_inside_does_not_fail_the_component(rung: Rung, number: int) -> None:
    before = set(descendants(os.getpid()))
    with Sandbox(rung, Limits(cpu_s=0.001), SOURCE) as box:
        box.load()
        os.kill(innermost(set(descendants(os.getpid())) - before), number)
        with pytest.raises(Interrupted, match="killed from outside; let it be run again"):
            box.flush()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_kills_it_from_outside_does_not_fail_the_component(
    rung: Rung, number: signal.Signals
) -> None:
    """However long it is there: what it is charged is processor time that it used."""
    before = set(descendants(os.getpid()))
    with Sandbox(rung, Limits(cpu_s=0.001), SOURCE) as box:
        box.load()
        inside = held(sorted(set(descendants(os.getpid())) - before))
        for descriptor in inside.values():
            with contextlib.suppress(ProcessLookupError):  # one ends with another
                signal.pidfd_send_signal(descriptor, number)
        assert outlive(inside, 10.0) == []
        for _ in range(2):
            with pytest.raises(Interrupted, match="killed from outside; let it be run again"):
                box.flush()
