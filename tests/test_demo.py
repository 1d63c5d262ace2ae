"""coord demo: a whole fleet of real processes, of which nothing is ever left."""

from __future__ import annotations

import io
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
from typing import Any

import pytest
from redis import Redis
from rich.console import Console

from cli import children
from cli.board import Board
from cli.demo import PIPED_WIDTH
from cli.demo_summary import TOGETHER_SHOWN, WHAT_IS_SHOWN, print_summary, together_rows
from cli.evaluation import measure
from cli.options import OpenFleet
from cli.output import ExitCode, console
from cli.scratch import scratch_directory
from cli.verdicts import (
    count_verdicts,
    counts_row,
    read_validated,
    sandbox_rows,
    validated_rows,
)
from coordinator.history import Line
from coordinator.keys import RecordKey
from tests.lineages import Records
from tests.servers import python_environment, wait_for
from workers.problems import PROBLEMS, find_problem

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


def test_a_demo_ends_with_what_it_measured(demo: Callable[..., Demo], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    one = demo("--seconds", "15", "--trainers", "2", "--json", "--report", str(page))
    code, out, err = one.end()
    assert (code, err) == (ExitCode.OK, "")
    assert one.nothing_is_left()
    assert list(one.tmp.iterdir()) == []
    found = json.loads(out)
    assert found["patterns_shared"] == sum(t["patterns"] for t in found["trainers"].values()) > 0
    assert found["components_shared"] > 0
    assert found["messages_by_type"]["hello"] == found["messages_by_type"]["goodbye"] == 3
    assert set() < set(found["best"]) <= {"file_system", "process_manager"}
    for specialization, best in found["best"].items():
        problem = find_problem(specialization)
        assert problem is not None
        assert best["cost_unit"] == problem.cost_unit
        assert set(best["held_out"]) == set(problem.held_out_workloads)
        score = best["measured"]
        assert best["measured"] == best["held_out"][best["workload"]]
        assert score["bound"] < score["achieved"]
        assert 0 < best["trained_gap_closed"] < 1
    completed = [each for each in found["sessions"] if each["state"] == "completed"]
    assert all(session["participants"] for session in completed)
    assert sum(found["verdicts"].values()) == found["components_shared"]
    assert all(best["validator"] == "Validator_1" for best in found["validated"].values())
    assert found["report"] == str(page)
    assert list(tmp_path.iterdir()) == [page]
    told = page.read_text(encoding="utf-8")
    assert "<h1>What 3 AIs did together</h1>" in told
    assert all(best["component_id"] in told for best in found["validated"].values())


def test_a_demo_tells_what_happens_line_by_line(demo: Callable[..., Demo]) -> None:
    report = "/proc/no/such/report.html"
    one = demo("--seconds", "5", "--trainers", "1", "--no-http", "--report", report)
    for text in ("server at unix://", "coordinator is active", "1 trainer and a validator are"):
        one.wait_for(text)
    code, out, err = one.end()
    assert code == ExitCode.OK
    assert err.startswith("coord: warning: there is no report: /proc/no/such/report.html cannot be")
    assert "What the fleet achieved, measured" in out
    assert "worked together" in out
    assert "best patterns" in out
    assert "specialization  problem" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("moment", "number"),
    [("server at", signal.SIGTERM), ("AI_Node_1 joined (file_system", signal.SIGINT)],
)
def test_a_signal_ends_everything(
    demo: Callable[..., Demo], moment: str, number: signal.Signals
) -> None:
    one = demo("--seconds", "60", "--trainers", "1", "--no-http", "--no-report")
    one.wait_for(moment)
    code, _, err = one.end(number)
    assert code == ExitCode.INTERRUPTED
    assert err == "coord: interrupted; everything that was started has ended\n"
    assert one.nothing_is_left()
    assert list(one.tmp.iterdir()) == []


def test_a_killed_demo_leaves_no_process(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "60", "--trainers", "1", "--no-report")
    one.wait_for("AI_Node_1 joined")
    assert len(one.marked()) > 4
    one.end(signal.SIGKILL)
    wait_for(one.nothing_is_left, what="its processes to end")


def test_a_child_that_ends_early_fails_the_demo(demo: Callable[..., Demo]) -> None:
    one = demo("--seconds", "60", "--trainers", "1", "--no-http", "--no-report")
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
    best = found["best"]["file_system"]
    assert best["contributor"] == "boaster"
    assert best["claimed_gap_closed"] == 99.0
    score = problem.evaluate(values, workload)
    assert best["measured"]["gap_closed"] == score.gap_closed < 1
    assert found["trainers"]["empty"]["best"] is None
    assert found["trainers"]["bare"]["best"] is None
    assert measure([]) == {"trainers": {}, "best": {}}


def test_each_problem_has_a_best_of_its_own() -> None:
    def item(specialization: str) -> dict[str, object]:
        problem = find_problem(specialization)
        assert problem is not None
        data = {
            "parameters": {parameter.name: parameter.default for parameter in problem.parameters},
            "held_out": {"workload": problem.held_out_workloads[0]},
        }
        return {
            "id": specialization,
            "specialization": specialization,
            "contributor": f"AI_{specialization}",
            "timestamp": "2026-01-01T00:00:00",
            "pattern": {"data": data},
        }

    best = measure([item("file_system"), item("process_manager")])["best"]
    assert {name: found["pattern_id"] for name, found in best.items()} == {
        "file_system": "file_system",
        "process_manager": "process_manager",
    }
    assert (best["file_system"]["cost_unit"], best["process_manager"]["cost_unit"]) == (
        "miss ratio",
        "s",
    )


def judged(word: str) -> dict[str, Any]:
    """A component as it is read, with a verdict on it."""
    return {"validation": {"verdict": word} if word else None}


VALIDATED = {
    "component_id": "c",
    "contributor": "AI_1",
    "quality_score": 0.5,
    "built_on": [],
    "sandbox": "a box of many layers",
    "costs": {"baseline": 0.741, "bound": 0.562},
}


def test_verdicts_are_counted() -> None:
    words = ("passed", "failed", "passed", "waiting", "compiled", "")
    counts = count_verdicts(map(judged, words))
    assert counts == {"passed": 2, "failed": 1, "waiting": 1, "compiled": 1}
    assert counts_row(counts)[1] == "2 passed, 1 failed, 1 waiting, 1 compiled, not measured"
    assert sandbox_rows({"hill": VALIDATED, "vale": VALIDATED}) == [
        ("sandbox", "a box of many layers")
    ]
    assert sandbox_rows({}) == []


def test_the_best_that_was_validated_and_whom_it_was_built_on(real_redis: Redis) -> None:
    """Through one's own records, and of what several made also from what they brought."""
    records = Records(real_redis)
    records.share("pattern", "above", "c")
    records.share("pattern", "p", "b", derived_from="above")
    records.share("pattern", "own", "a", derived_from="p")
    for record_id, parents, quality in (("worse", None, 0.25), ("best", ["own"], 0.5)):
        records.share("component", record_id, "a", "b", derived_from=parents)
        records.rank(RecordKey("component", record_id), quality, "buffer_cache")
    assert read_validated(OpenFleet(real_redis, "here", records.keys)) == {
        "buffer_cache": {
            "specializations": ["file_system"],
            "component_id": "best",
            "contributor": "a",
            "quality_score": 0.5,
            "built_on": ["b"],
            "costs": None,
            "evaluator": None,
            "workload": "w1",
            "validator": "v",
            "sandbox": "bubblewrap 0.11.0",
        }
    }


def test_each_problem_that_was_trained_for_has_a_row() -> None:
    """And each joint one of which something passed."""
    joint = VALIDATED | {"built_on": ["AI_2", "AI_3"], "costs": {}}
    large = VALIDATED | {"costs": {"baseline": 12345.6, "bound": 999.9}}
    trained = ("file_system", "process_manager", "gardening")
    rows = {row[1]: row for row in validated_rows({}, trained)}
    assert rows == {
        "buffer_cache": ("file_system", "buffer_cache", "miss ratio", "", "", "none yet"),
        "cpu_scheduler": ("process_manager", "cpu_scheduler", "s", "", "", "none yet"),
    }
    validated = {"buffer_cache": VALIDATED, "cpu_scheduler": large, "cache_and_scheduler": joint}
    assert [row[2:] for row in validated_rows(validated, ())] == [
        ("miss ratio", "0.741", "0.562", "50.0%", "AI_1", ""),
        ("s", "12,346", "999.9", "50.0%", "AI_1", ""),
        ("s", "", "", "50.0%", "AI_1", "AI_2, AI_3"),
    ]


def session(state: str, progress: float = 0.0, **more: object) -> dict[str, object]:
    return {
        "id": "s1",
        "type": "cross_specialization",
        "initiator": "AI_1",
        "participants": ["AI_1", "AI_2"],
        "units": ["a", "b", "c", "d"],
        "state": state,
        "progress": progress,
        "reason": "",
        "component_id": None,
        "result": None,
        **more,
    }


COURSE = [
    session("pending"),
    session("active"),
    session("active"),
    session("active", 0.75),
    session("completed", 1.0, result={"text": "twice as fast\x1b[2J"}),
]


def test_sessions_are_told_line_by_line() -> None:
    shown = Console(record=True, width=200, file=io.StringIO())
    with Board(shown, {"AI_1": "file_system"}, silent=False) as board:
        for item in COURSE:
            board.show_sessions([item])
    assert [line[10:] for line in shown.export_text().splitlines()] == [
        "session s1 cross_specialization: AI_1 looks for partners",
        "session s1 cross_specialization of AI_1, AI_2: 0/4 units",
        "session s1 cross_specialization of AI_1, AI_2: 3/4 units",
        "session s1 cross_specialization of AI_1, AI_2 completed: twice as fast\\x1b[2J",
    ]


def test_verdicts_are_told_as_they_come() -> None:
    text = "V_1 validated component c of AI_1: passed, 50.0% of the gap closed"
    data = {"event": "validated", "ai": "AI_1", "text": text, "data": {"verdict": "passed"}}
    shown = Console(record=True, width=200, file=io.StringIO())
    with Board(shown, {"AI_1": "file_system"}, silent=False) as board:
        board.take(Line("event", "events", 1, 1, 0, "e.1", data))
    assert shown.export_text()[10:].strip() == text


@pytest.mark.parametrize("field", ["code", "component"])
def test_a_component_is_told_by_the_id_that_its_verdict_has(field: str) -> None:
    kind = {"code": "code_share", "component": "os_component_share"}[field]
    data = {"message_type": kind, "sender_id": "AI_1"}
    shared = {"id": "hill.AI_1.5d2f3d61.12.policy", "name": "hill policy"}
    shown = Console(record=True, width=200, file=io.StringIO())
    with Board(shown, {"AI_1": "file_system"}, silent=False) as board:
        board.take(Line("message", "log", 1, 1, 0, "e.1", data | {"payload": {field: shared}}))
    assert shown.export_text()[10:].strip() == f"AI_1 shared component {shared['id']}"


def test_on_a_terminal_sessions_have_bars() -> None:
    shown = Console(width=200, file=io.StringIO(), force_terminal=True, color_system=None)
    with Board(shown, {"AI_1": "file_system"}, silent=False) as board:
        for item in COURSE[:4]:
            board.show_sessions([item])
            board.redraw()
        page = Console(record=True, width=200, file=io.StringIO())
        page.print(board.page())
    text = page.export_text()
    assert "3/4 units" in text
    assert "━" in text


def test_the_summary_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    half = {"gap_closed": 0.5, "achieved": 0.75, "baseline": 1.0, "bound": 0.5}
    best = {"problem": "hill", "held_out": {"w": half, "v": half | {"gap_closed": 0.25}}}
    joint = VALIDATED | {"built_on": ["AI_2", "AI_3"]}
    summary = {
        "patterns_shared": 1,
        "components_shared": 2,
        "messages_routed": 9,
        "messages_by_type": {"hello": 9},
        "trainer_ids": ["AI_1", "AI_2"],
        "specializations": [problem.specialization for problem in PROBLEMS],
        "trainers": {"AI_1": {"patterns": 1, "built_on": [], "best": best}},
        "sessions": [],
        "best": {"hills": best},
        "verdicts": {"passed": 2},
        "validated": {"buffer_cache": VALIDATED, "cache_and_scheduler": joint},
    }
    print_summary(console(PIPED_WIDTH), summary)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert all(len(line) <= PIPED_WIDTH and line == line.rstrip() for line in lines)
    told = " ".join(shown.split())
    assert "shared 1 pattern, 2 components" in told
    assert "AI_1 1 pattern, none of them" in told
    assert "AI_2 shared no pattern" in told
    assert "best patterns hill 37.5% of the gap closed" in told
    assert told.count("a box of many layers") == 1
    assert [line.split()[0] for line in lines if "none yet" in line] == [
        problem.specialization for problem in PROBLEMS if problem.name != "buffer_cache"
    ]
    assert told.endswith(WHAT_IS_SHOWN)


def test_the_summary_tells_who_worked_together_on_what() -> None:
    sessions = [*COURSE[-1:], session("failed", reason="r")]
    rows = together_rows(sessions)
    assert rows[0] == ("worked together", "1 completed, 1 failed when time was up")
    assert rows[2:] == [("", "AI_1, AI_2 on cross_specialization: twice as fast\\x1b[2J")]
    assert together_rows([]) == [("worked together", "nobody")]
    assert "and 3 more" in together_rows(COURSE[-1:] * (TOGETHER_SHOWN + 3))[-1][1]
