"""coord validate: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import validate as command
from cli.main import app
from coordinator.payloads import Verdict
from tests.components import LRU, ROUND_ROBIN
from tests.sandboxes import needs_sandbox
from workers.sandbox import Limits
from workers.validation import Component
from workers.validation.source import SOURCE_BYTES
from workers.validation.workload_seed import BY_HAND

PASSED = Verdict(
    verdict="passed",
    problem="buffer_cache",
    evaluator="buffer_cache-0123456789ab",
    workload="0123456789ab",
    score=0.25,
    costs={"achieved": 0.4, "baseline": 0.5, "bound": 0.1},
    cost_unit="miss ratio",
    sandbox="bubblewrap",
    limits={"wall_s": 20.0, "memory_bytes": 256 * 1024 * 1024},
    timings={"parse_ms": 1.26, "total_ms": 300.0},
    tests=["test_a", "test_b"],
    not_run=["it is\nfast"],
)


@pytest.fixture
def coord() -> Callable[..., Result]:
    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, ["validate", *arguments], **more)

    return run


class Judge:
    """Stands for validation: gives a verdict, and remembers what it was asked to judge."""

    def __init__(self) -> None:
        self.verdict = PASSED
        self.component = Component({})
        self.seed = b""
        self.is_public = False

    def __call__(self, component: Component, seed: bytes, on_step: Any, is_public: bool) -> Verdict:
        on_step("reading it")
        self.component, self.seed, self.is_public = component, seed, is_public
        return self.verdict


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    judge = Judge()
    monkeypatch.setattr(command, "validate", judge)
    return judge


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.py"
    path.write_text(LRU)
    return str(path)


def one_error(result: Result) -> str:
    """The text in the box of a usage error."""
    assert (result.exit_code, result.stdout) == (2, "")
    _, _, box = result.stderr.partition("Error")
    return " ".join(line.strip("│╭╰─╮╯ ") for line in box.splitlines()).strip()


def test_the_report_for_people(coord: Callable[..., Result], judge: Judge, policy: str) -> None:
    result = coord(policy, "--specialization", "file_system")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "passed  score 0.250: 25.0% of the way from the baseline to the best possible",
        "cost          achieved 0.4, baseline 0.5, bound 0.1 miss ratio",
        "problem       buffer_cache, by buffer_cache-0123456789ab",
        "workload      0123456789ab",
        "tests passed  test_a, test_b",
        "not run       it is\\nfast",
        "sandbox       bubblewrap",
        "limits        wall 20 s, memory 256.0 MiB",
        "milliseconds  parse 1, total 300",
    ]
    assert judge.component == Component({"language": "python", "code": LRU}, "file_system")
    assert (judge.seed, judge.is_public) == (BY_HAND, True)


def test_the_report_as_json(coord: Callable[..., Result], judge: Judge, policy: str) -> None:
    result = coord(policy, "-s", "file_system", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == judge.verdict.model_dump()


@pytest.mark.parametrize(
    ("verdict", "reason", "code", "begin"),
    [
        ("failed", "line 1 of the code is no Python", 1, "failed\nline 1 of the code is no Python"),
        ("failed", "\x1b[2J", 1, "failed\n\\x1b[2J\n"),
        ("compiled", "g++ compiles it", 0, "compiled, not measured\ng++ compiles it\n"),
        ("not_validated", "no sandbox; install it", 5, "not validated\nno sandbox; install it\n"),
    ],
)
def test_how_it_ends(
    coord: Callable[..., Result],
    judge: Judge,
    policy: str,
    verdict: Any,
    reason: str,
    code: int,
    begin: str,
) -> None:
    judge.verdict = Verdict(verdict=verdict, reason=reason)
    result = coord(policy, "-s", "file_system")
    assert (result.exit_code, result.stderr) == (code, "")
    assert result.stdout.startswith(begin)


def test_worse_than_the_baseline_is_said_in_words(
    coord: Callable[..., Result], judge: Judge, policy: str
) -> None:
    judge.verdict = Verdict(verdict="passed", score=-1.5)
    shown = coord(policy, "-s", "x").stdout
    assert shown.strip() == "passed  score -1.500: worse than the baseline"


@pytest.mark.parametrize(
    ("name", "options", "language"),
    [
        ("a.py", (), "python"),
        ("a.CPP", (), "cpp"),
        ("a.cc", (), "cpp"),
        ("a.txt", (), "python"),
        ("a.py", ("--language", "rust"), "rust"),
    ],
)
def test_the_language_is_told_by_the_name(
    coord: Callable[..., Result],
    judge: Judge,
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
    language: str,
) -> None:
    (tmp_path / name).write_text("int a;")
    coord(str(tmp_path / name), "-s", "x", *options)
    assert judge.component == Component({"language": language, "code": "int a;"}, "x")


def test_the_input_is_read_too(coord: Callable[..., Result], judge: Judge) -> None:
    coord("-", "-s", "x", input="a = 'é'\n")
    assert judge.component == Component({"language": "python", "code": "a = 'é'\n"}, "x")


def test_two_files_are_one_component_of_both(
    coord: Callable[..., Result], judge: Judge, policy: str
) -> None:
    coord(policy, "-", "-s", "file_system", "-s", "process_manager", input=ROUND_ROBIN)
    code = {"file_system": LRU, "process_manager": ROUND_ROBIN}
    assert judge.component == Component({"language": "python", "code": code}, "file_system")


def test_it_may_be_measured_as_the_validators_here_do(
    coord: Callable[..., Result], judge: Judge, policy: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    coord(policy, "-s", "x", "--validators-workload", "--state-dir", str(state))
    assert judge.seed == (state / "validation.seed").read_bytes().strip() != BY_HAND
    assert not judge.is_public


# -- what is refused -------------------------------------------------------------------------------


def test_what_cannot_be_read_is_refused(coord: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff")
    (tmp_path / "huge").write_bytes(b"#" * (SOURCE_BYTES + 1))
    for name, why in {
        "missing": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "binary": "is no text, which a component must be: byte 4 is no UTF-8",
        "huge": "is too large: a component has at most 256.0 KiB",
    }.items():
        error = one_error(coord(str(tmp_path / name), "-s", "x", env={"COLUMNS": "300"}))
        assert error.endswith(why)


def test_what_does_not_fit_together_is_refused(coord: Callable[..., Result], policy: str) -> None:
    wide = {"COLUMNS": "300"}
    assert "1 FILE and 2 --specialization: give one for each" in one_error(
        coord(policy, "-s", "a", "-s", "b", env=wide)
    )
    assert "--specialization is the same twice" in one_error(
        coord(policy, policy, "-s", "a", "-s", "a", env=wide)
    )


def test_help_teaches_with_an_example(coord: Callable[..., Result]) -> None:
    shown = " ".join(coord("--help").stdout.split())
    assert "Example: coord validate my_policy.py --specialization file_system" in shown


# -- while it takes long ---------------------------------------------------------------------------


def test_who_waits_is_told_what_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()

    def advise(text: str) -> None:
        print(text)
        said.set()

    monkeypatch.setattr(command, "PATIENCE_S", 0.001)
    monkeypatch.setattr(command, "advise", advise)
    with command.patience() as on_step:
        on_step("measuring it")
        assert said.wait(10)
    assert capsys.readouterr().out == "measuring it …\n"


# -- for real --------------------------------------------------------------------------------------


@needs_sandbox
def test_without_a_server_and_a_fleet(
    coord: Callable[..., Result], policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 60.0)
    result = coord(policy, "-s", "file_system", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    verdict = json.loads(result.stdout)
    assert (verdict["verdict"], verdict["score"]) == ("passed", 0.0)
    assert verdict["limits"]["wall_s"] == Limits().wall_s
