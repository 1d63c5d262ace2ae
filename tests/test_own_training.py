"""A trainer class of one's own: how it is found, what of it is shared, how it is run."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.output import ExitCode
from tests.clients import RealFleet, in_loop
from tests.servers import python_environment, wait_for
from tests.trainers import Start, patterns_of
from workers.lines import REFUSED_EXIT, read_line
from workers.own_training import PAUSE_S, TrainerError, find_trainer, learned, make_trainer, train

MODULE = """\
import sys

class Good:
    async def run_comprehensive_demo(self):
        return {}

class Silent:
    pass

class Blocking:
    def run_comprehensive_demo(self):
        return {}

class Choosy(Good):
    def __init__(self, choice):
        pass

good = Good()
"""
FAULTS = {
    "own_module:Silent": "the class needs `async def run_comprehensive_demo(self)`",
    "own_module:Blocking": "the class needs `async def run_comprehensive_demo(self)`",
    "own_module:good": "it is no class",
    "own_module:Absent": "AttributeError: module 'own_module' has no attribute 'Absent'",
    "no_such_module:Good": "ModuleNotFoundError: No module named 'no_such_module'",
    "bad_module:Good": "ZeroDivisionError: division by zero",
    "leaving_module:Good": "SystemExit: 7",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with modules in it."""
    (tmp_path / "own_module.py").write_text(MODULE)
    (tmp_path / "bad_module.py").write_text("print('loading')\n1 / 0\n")
    (tmp_path / "leaving_module.py").write_text("import sys\nsys.exit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("own_module", "bad_module", "leaving_module"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("directory")
def test_a_class_that_can_be_used_is_found_and_made() -> None:
    assert find_trainer("own_module:Good").__name__ == "Good"
    assert type(make_trainer("own_module:Good")).__name__ == "Good"


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(("reference", "fault"), FAULTS.items())
def test_what_cannot_be_used_is_told_in_one_line(reference: str, fault: str) -> None:
    with pytest.raises(TrainerError) as raised:
        find_trainer(reference)
    assert raised.value.detail == f"--trainer {reference}: {fault}"


@pytest.mark.usefixtures("directory")
def test_a_class_that_wants_arguments_cannot_be_made() -> None:
    with pytest.raises(TrainerError, match=r"own_module:Choosy: TypeError: .*'choice'"):
        make_trainer("own_module:Choosy")


@pytest.mark.usefixtures("directory")
def test_coord_trainer_looks_for_the_class_before_it_joins(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The console script does not have the current directory on its path; training has."""
    for reference in ("own_module:Silent", "bad_module:Good"):
        named = ["trainer", "AI_1", "--redis", "unix:///nowhere", "--trainer", reference]
        result = CliRunner().invoke(app, named)
        assert result.exit_code == ExitCode.USAGE
        assert f"coord: --trainer {reference}: {FAULTS[reference]}\n" in (
            result.stderr + capfd.readouterr().err
        )
    good = ["trainer", "AI_1", "--redis", "unix:///nowhere", "--trainer", "own_module:Good"]
    assert CliRunner().invoke(app, good).exit_code == ExitCode.NO_SERVER


def test_a_reference_of_another_form_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["trainer", "AI_1", "--trainer", "own_module"])
    assert result.exit_code == ExitCode.USAGE
    assert "--trainer" in result.stderr


# -- what is shared --------------------------------------------------------------------------------


class Holder:
    """A trainer that keeps what it made in lists of its own."""

    def __init__(self, **lists: Any) -> None:
        vars(self).update(lists)


def lines(result: dict[str, Any], trainer: Any = None, most_bytes: int = 1000) -> list[Any]:
    return list(learned("AI_1", trainer or Holder(), result, most_bytes))


def test_what_is_in_the_lists_is_shared_and_the_gain_of_each_component() -> None:
    result = {
        "patterns_learned": [{"id": "p", "data": 1}],
        "components_built": [{"id": "c", "code": "x = 1"}],
        "performance_gain": 0.5,
    }
    performance = {"performance_gain": 0.5}
    assert lines(result) == [
        {"pattern": {"id": "AI_1.p", "data": 1}},
        {"code": {"id": "AI_1.c", "code": "x = 1"}, "performance": performance},
    ]


def test_counts_are_no_lists_and_the_object_s_own_lists_are_shared() -> None:
    holder = Holder(patterns=[{"id": "p"}], components=[{"id": "c"}])
    result = {"patterns_learned": 1, "components_built": 1}
    assert lines(result, holder) == [
        {"pattern": {"id": "AI_1.p"}},
        {"code": {"id": "AI_1.c"}},
    ]
    assert lines({}, Holder(patterns={"p": 1}, components=None)) == []


@pytest.mark.parametrize("nameless", [{"data": 1}, {"data": 1, "id": None}, {"data": 1, "id": ""}])
def test_one_without_an_id_always_gets_the_same_one(nameless: dict[str, Any]) -> None:
    one, two = (lines({"patterns_learned": [dict(nameless)]}) for _ in range(2))
    other = lines({"patterns_learned": [{"data": 2}]})
    assert one == two != other
    assert one[0]["pattern"]["id"].startswith("AI_1.pattern.")


@pytest.mark.parametrize(
    ("derived_from", "shared"),
    [
        ("p", "AI_1.p"),
        ("another's", "another's"),
        ({"pattern_id": "p", "contributor": "p"}, {"pattern_id": "AI_1.p", "contributor": "p"}),
        (["p", {"component_id": "c"}, "q"], ["AI_1.p", {"component_id": "AI_1.c"}, "q"]),
        (None, None),
        (7, 7),
    ],
)
def test_what_a_record_was_derived_from_is_told_by_the_ids_that_are_shared(
    derived_from: Any, shared: Any
) -> None:
    component = {"id": "c", "derived_from": derived_from}
    result = {"patterns_learned": [{"id": "p"}, "no dict"], "components_built": [component]}
    assert lines(result)[1] == {"code": {"id": "AI_1.c", "derived_from": shared}}


@pytest.mark.parametrize("gain", [None, "0.5", True, float("nan"), float("inf"), 10**400, [1]])
def test_a_gain_that_is_no_finite_number_is_not_reported(gain: Any) -> None:
    assert lines({"components_built": [{"id": "c"}], "performance_gain": gain}) == [
        {"code": {"id": "AI_1.c"}}
    ]


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("text", "it is no dict"),
        ({"data": {1, 2}}, "it is no JSON: Object of type set"),
        ({"data": float("nan")}, "it is no JSON"),
        (LOOP, "it is no JSON"),
        ({"data": "x" * 1000}, "the most is 1000"),
    ],
)
def test_what_cannot_be_sent_is_told_of_and_keeps_nothing_else_back(
    bad: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert lines({"patterns_learned": [bad, {"id": "p"}]}) == [{"pattern": {"id": "AI_1.p"}}]
    (record,) = caplog.records
    assert "AI_1: one of patterns_learned is not shared: " in record.message
    assert reason in record.message


# -- how it is run ---------------------------------------------------------------------------------


class Over(Exception):
    """The time that a test gives is over."""


class Runs:
    """A trainer whose runs end as they are given; it is over when none is left."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)

    async def run_comprehensive_demo(self) -> Any:
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def run(runs: Runs) -> tuple[list[dict[str, Any]], list[float]]:
    """What it shared, and how long it waited after each run."""
    stream = io.StringIO()
    waited_s: list[float] = []

    async def sleep(seconds: float) -> None:
        waited_s.append(seconds)
        if not runs.ends:
            raise Over

    with pytest.raises(Over):
        await train("AI_1", runs, stream, 1000, sleep)
    return [read_line(line) for line in stream.getvalue().splitlines()], waited_s


def patterns(*ids: str) -> dict[str, Any]:
    return {"patterns_learned": [{"id": one} for one in ids]}


@in_loop
async def test_what_is_new_is_shared_after_each_run() -> None:
    shared, waited_s = await run(Runs(patterns("p"), patterns("p", "q"), {}, patterns("q")))
    assert shared == [{"pattern": {"id": "AI_1.p"}}, {"pattern": {"id": "AI_1.q"}}]
    assert waited_s == [PAUSE_S] * 4


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [record.message for record in caplog.records]


def test_a_run_that_fails_is_told_and_tried_again_ever_more_seldom(
    said: Callable[[], list[str]],
) -> None:
    @in_loop
    async def scenario() -> None:
        failures = [ValueError("no"), None, *[OSError()] * 5]
        shared, waited_s = await run(Runs(*failures, patterns("p"), ValueError("no")))
        assert shared == [{"pattern": {"id": "AI_1.p"}}]
        assert waited_s == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 1.0, 2.0]

    scenario()
    assert said()[:2] == [
        "AI_1: run_comprehensive_demo: ValueError: no",
        "AI_1: run_comprehensive_demo: TypeError: it returned None, which is no dict",
    ]


PRINTING = """\
import os

class Loud:
    async def run_comprehensive_demo(self):
        print("printed")
        os.system("echo by another program")
        os.write(1, b"written\\n")
        return {"patterns_learned": [{"id": "p"}]}
"""


def test_nothing_that_a_class_prints_is_taken_for_a_line_of_ours(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(PRINTING)
    command = [sys.executable, "-m", "workers.own_training", "AI_1", "loud:Loud"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = python_environment()
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **streams) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == '{"pattern":{"id":"AI_1.p"}}\n'
        rest, errors = process.communicate()  # it ends with its input
    assert (rest, process.returncode) == ("", 0)
    assert {"printed", "by another program", "written"} <= set(errors.splitlines())


def test_training_with_a_class_that_cannot_be_made_is_given_up(directory: Path) -> None:
    command = [sys.executable, "-m", "workers.own_training", "AI_1", "own_module:Choosy"]
    environment = python_environment()
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == REFUSED_EXIT
    assert "--trainer own_module:Choosy: TypeError" in done.stderr
    assert "Traceback" not in done.stderr


TALKATIVE = """\
from coordinator.settings import Settings

class Talkative:
    async def run_comprehensive_demo(self):
        room = Settings().message_max_bytes - len('{"id": "large", "data": ""}')
        large = {"id": "large", "data": "x" * room}
        return {"patterns_learned": [large, {"id": "bad", "type": 5}, {"id": "small"}]}
"""


def test_one_that_no_message_has_room_for_does_not_end_the_trainer(
    fleet: RealFleet, ai: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "skills" / "talkative.py").write_text(TALKATIVE)
    monkeypatch.setenv("COORD_TRAINER", "talkative:Talkative")
    trainer = start(ai)
    wait_for(lambda: patterns_of(fleet, ai), what=f"a pattern of {ai}")
    wait_for(lambda: "payload.pattern.type" in trainer.said(), what="a refusal")
    assert f"{ai}: not shared: " in trainer.said()
    assert "Traceback" not in trainer.said()
    assert trainer.process.poll() is None
