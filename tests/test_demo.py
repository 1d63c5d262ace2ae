"""coord demo: a whole fleet of real processes, of which nothing is ever left."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import children
from cli.measured import measure
from cli.output import ExitCode
from cli.scratch import scratch_directory
from tests.servers import python_environment, wait_for
from workers.problems import find_problem

MARK = "DEMO_TEST_MARK"


class Demo:
    """A ``coord demo`` of its own process; everything it starts carries its mark and directory."""

    def __init__(self, tmp: Path, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.tmp = tmp
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=python_environment(TMPDIR=str(tmp), **{MARK: self.mark}),
        )

    def wait_for(self, text: str) -> str:
        """Read its output until a line has ``text`` in it."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {lines}")

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err

    def marked(self) -> dict[int, str]:
        """The command lines of all living processes that have the mark, by pid."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark in (entry / "environ").read_text("latin-1"):
                    found[int(entry.name)] = (entry / "cmdline").read_text("latin-1")
            except OSError:
                continue
        return found

    def nothing_is_left(self) -> bool:
        return not self.marked()


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def demo() -> Iterator[Callable[..., Demo]]:
    """Starts demos; in the end nothing of them may live."""
    started: list[Demo] = []
    with tempfile.TemporaryDirectory(prefix="coord-") as tmp:

        def start(*arguments: str) -> Demo:
            started.append(Demo(Path(tmp), *arguments))
            return started[-1]

        yield start
        for one in started:
            for stream in (one.process.stdout, one.process.stderr):
                if stream:
                    stream.close()
            for pid in one.marked():
                os.kill(pid, signal.SIGKILL)
            one.process.wait()


def test_a_demo_ends_with_what_it_measured(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "8", "--trainers", "2", "--json")
    code, out, err = one.end()
    assert (code, err) == (ExitCode.OK, "")
    assert one.nothing_is_left()
    assert list(one.tmp.iterdir()) == []
    found = json.loads(out)
    assert found["patterns_shared"] == sum(t["patterns"] for t in found["trainers"].values()) > 0
    assert found["components_shared"] > 0
    assert found["messages_by_type"]["hello"] == found["messages_by_type"]["goodbye"] == 2
    best = found["best"]
    problem = find_problem(best["specialization"])
    assert problem is not None
    assert set(best["held_out"]) == set(problem.held_out_workloads)
    score = best["measured"]
    assert best["measured"] == best["held_out"][best["workload"]]
    assert score["bound"] < score["achieved"] < score["baseline"]
    assert 0 < best["trained_gap_closed"] < 1


def test_a_demo_tells_what_happens_line_by_line(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "5", "--trainers", "1")
    for text in ("server at unix://", "coordinator is active", "AI_Node_1 joined (file_system"):
        one.wait_for(text)
    code, out, _ = one.end()
    assert code == ExitCode.OK
    assert "What the fleet achieved, measured" in out
    assert "best policy" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["server at", "AI_Node_2 joined"])
def test_a_signal_ends_everything(
    demo: Callable[..., Demo], number: signal.Signals, moment: str
) -> None:
    one = demo("--seconds", "60", "--trainers", "2")
    one.wait_for(moment)
    code, _, err = one.end(number)
    assert code == ExitCode.INTERRUPTED
    assert err == "coord: interrupted; everything that was started has ended\n"
    assert one.nothing_is_left()
    assert list(one.tmp.iterdir()) == []


def test_a_killed_demo_leaves_no_process(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "60", "--trainers", "2")
    one.wait_for("AI_Node_2 joined")
    assert len(one.marked()) > 4
    one.end(signal.SIGKILL)
    wait_for(one.nothing_is_left, what="its processes to end")


def test_a_child_that_ends_early_fails_the_demo(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "60", "--trainers", "1")
    one.wait_for("AI_Node_1 joined")
    worker = next(pid for pid, line in one.marked().items() if "rq.cli" in line)
    os.kill(worker, signal.SIGKILL)
    code, _, err = one.end()
    assert code == ExitCode.FAILED
    assert "coord: AI_Node_1 has ended early" in err
    assert one.nothing_is_left()


def test_what_a_killed_demo_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "x-left").mkdir()
    (tmp_path / "x-new").mkdir()
    os.utime(tmp_path / "x-left", (1, 1))
    (tmp_path / "x-link").symlink_to(tmp_path)
    with scratch_directory("x-") as busy:
        os.utime(busy, (1, 1))
        with scratch_directory("x-") as mine:
            assert stat.S_IMODE(mine.stat().st_mode) == 0o700
            assert busy.exists()
        assert sorted(tmp_path.iterdir()) == sorted([busy, tmp_path / "x-link", tmp_path / "x-new"])
    assert not busy.exists()


def test_what_a_child_leaves_behind_is_killed_with_it(tmp_path: Path) -> None:
    """One that ignores SIGTERM, and a grandchild in a process group of its own."""
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setpgrp()\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    log_path = tmp_path / "log"
    command = [sys.executable, "-c", program]
    child = children.start("child", command, dict(os.environ), log_path, tied=True)
    wait_for(lambda: len(child.last_lines()) == 2)
    assert len(child.session) == 2
    children.stop([child], 0.1)
    assert not child.lives
    assert child.session == []


def test_claims_are_measured_again_and_nonsense_is_passed_over() -> None:
    problem = find_problem("file_system")
    assert problem is not None
    workload = problem.held_out_workloads[0]
    values = {parameter.name: parameter.default for parameter in problem.parameters}

    def item(contributor: str, gap: object, parameters: object) -> dict[str, object]:
        data = {
            "parameters": parameters,
            "workload": problem.training_workloads[0],
            "gap_closed": gap,
            "held_out": {"workload": workload},
        }
        return {
            "id": f"p-{contributor}",
            "specialization": "file_system",
            "contributor": contributor,
            "timestamp": "2026-01-01T00:00:00",
            "pattern": {"data": data, "derived_from": [1]},
        }

    boast = item("boaster", 99.0, values)
    empty = item("empty", "high", {})
    bare = item("bare", 0.5, None) | {"pattern": {}}
    found = measure([boast, empty, bare])
    assert found["best"]["contributor"] == "boaster"
    assert found["best"]["claimed_gap_closed"] == 99.0
    score = problem.evaluate(values, workload)
    assert found["best"]["measured"]["gap_closed"] == score.gap_closed < 1
    assert found["trainers"]["empty"]["best"] is None
    assert found["trainers"]["bare"]["best"] is None
    assert measure([]) == {"trainers": {}, "best": None}
