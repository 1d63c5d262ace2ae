"""Logs as JSON: one object a line, whoever says it and whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.foreground import log_to_stderr
from cli.launch import child_environment
from cli.main import app
from cli.output import ExitCode
from coordinator.json_logs import JsonLine
from coordinator.settings import Settings
from tests.foreground import running
from workers import logs as workers_logs

CREATED_S = 1_750_000_000.25
LONG_RUNNING = ("serve", "gateway", "dashboard", "archive", "trainer", "validator", "up")
SAYERS = ("coord", "coord.gateway", "coord.http", "asyncio", "uvicorn.error")


def record(message: str, *arguments: Any, **attached: Any) -> logging.LogRecord:
    made = logging.LogRecord("coord", logging.WARNING, "f.py", 1, message, arguments, None)
    made.created = CREATED_S
    vars(made).update(attached)
    return made


def parsed(line: str) -> dict[str, Any]:
    """A line of a log, which must be one object of printable ASCII."""
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert told.keys() - {"error", "place"} == {"time", "level", "logger", "message"}
    assert datetime.fromisoformat(told["time"]).tzinfo == UTC
    return dict(told)


@pytest.fixture
def _loggers_restored() -> Iterator[None]:
    """The logs of this process belong to the tests again."""
    names = (None, *SAYERS, "uvicorn", "rq.worker")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.handlers[:], each.propagate, each.level) for each in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


# -- one record ------------------------------------------------------------------------------------


def test_a_record_is_one_object() -> None:
    assert parsed(JsonLine().format(record("%s joined (%d skills)", "AI_1", 3))) == {
        "time": "2025-06-15T15:06:40.250+00:00",
        "level": "warning",
        "logger": "coord",
        "message": "AI_1 joined (3 skills)",
    }


@pytest.mark.parametrize(
    "hostile",
    ["a\nb", '"} {"forged": 1', "\x1b[31mred\x07", "\x7f\x9b2J", "\u202eevil\u2028", "\ud800", "é"],
)
def test_what_ais_wrote_forges_nothing(hostile: str) -> None:
    told = parsed(JsonLine().format(record("said: %s", hostile)))
    assert told["message"].isprintable()
    assert told["message"].startswith("said: ")


def test_an_exception_is_told_by_its_type_and_place() -> None:
    try:
        raise ValueError("the password is hunter2")
    except ValueError:
        failed = record("it broke", exc_info=sys.exc_info())
    told = parsed(JsonLine().format(failed))
    assert (told["error"], told["message"]) == ("ValueError", "it broke")
    assert told["place"].startswith("test_json_logs.py:")
    assert "hunter2" not in str(told)


def test_what_libraries_attach_is_not_told() -> None:
    line = JsonLine().format(record("a request", token="hunter2", scope={"x": object()}))
    assert parsed(line)["message"] == "a request"
    assert "hunter2" not in line


def test_a_record_that_is_no_text_is_told_as_one() -> None:
    made = record("")
    made.msg = {"level": "forged"}
    told = parsed(JsonLine().format(made))
    assert (told["level"], told["message"]) == ("warning", "{'level': 'forged'}")


# -- who says it -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_loggers_restored")
def test_libraries_log_as_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(quiet=False, log_json=True)
    for name in SAYERS:
        logging.getLogger(name).error("from %s", name)
    logging.getLogger("uvicorn.access").info("GET / of nobody's concern")
    lines = [parsed(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["logger"] for line in lines] == list(SAYERS)
    assert [line["message"] for line in lines] == [f"from {name}" for name in SAYERS]


@pytest.mark.usefixtures("_loggers_restored")
def test_quiet_is_quiet_in_either_form(capsys: pytest.CaptureFixture[str]) -> None:
    for log_json in (False, True):
        log_to_stderr(True, log_json)
        logging.getLogger("coord").info("nobody asked")
        logging.getLogger("coord").warning("somebody should know")
    text, line = capsys.readouterr().err.splitlines()
    assert text.endswith("warning: somebody should know")
    assert parsed(line)["message"] == "somebody should know"


@pytest.mark.usefixtures("_loggers_restored")
def test_what_rq_arranged_gives_way(capsys: pytest.CaptureFixture[str]) -> None:
    rq_log = logging.getLogger("rq.worker")
    rq_log.addHandler(logging.StreamHandler(sys.stdout))
    workers_logs.log_as_json()
    rq_log.error("a job was lost")
    logging.getLogger("coord.trainer").error("a result was refused")
    shown = capsys.readouterr()
    assert shown.out == ""
    messages = [parsed(line)["message"] for line in shown.err.splitlines()]
    assert messages == ["a job was lost", "a result was refused"]


# -- who is told to --------------------------------------------------------------------------------


def test_every_command_that_runs_until_it_is_stopped_has_the_flag() -> None:
    group: Any = typer.main.get_command(app)
    for name in LONG_RUNNING:
        command = group.get_command(None, name)
        if hasattr(command, "load"):
            command = command.load()
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--log-json" in options, name


def test_child_processes_are_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = child_environment(Settings(log_json=True), None)
    monkeypatch.setenv("COORD_LOG_JSON", environment["COORD_LOG_JSON"])
    assert Settings().log_json


def test_a_coordinator_and_a_trainer_log_objects_alone(state_dir: Path) -> None:
    at = ("--state-dir", str(state_dir), "--log-json")
    quiet_place = {"COORD_GATEWAY_LISTEN": "127.0.0.1:0"}
    with running("serve", "--no-http", *at, **quiet_place) as serve:
        serve.wait_for("active:")
        with running("trainer", "AI_1", "--minutes", "0.01", *at) as trainer:
            trainer.process.wait(40)
        serve.wait_for("AI_1 left")
        assert serve.end() == ExitCode.OK
    assert any("AI_1" in line for line in trainer.lines)
    secret = (state_dir / "operator.secret").read_text().strip()
    for line in serve.lines + trainer.lines:
        assert parsed(line)["logger"].split(".")[0] in ("coord", "rq")
        assert secret not in line
    assert any(parsed(line)["logger"] == "coord.gateway" for line in serve.lines)
    assert parsed(serve.lines[-2])["message"] == "stopped"
