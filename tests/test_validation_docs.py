"""docs/components.md says what is: its example runs, its tables equal what they list."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from cli.main import app
from coordinator.payloads import VerdictWord
from tests.clients import RealFleet
from tests.sandboxes import needs_sandbox
from tests.servers import REPOSITORY, python_environment
from tests.test_docs import blocks, table
from tests.trainers import Validator, started_trainers
from tests.validators import joined
from workers.problems import Interface, find_joint_problem, find_problem
from workers.sandbox import Limits
from workers.validation.interface_check import CONSTRUCTOR, POLICY
from workers.validation.measurement import takes_by_specialization
from workers.validation.source import LINE_BYTES, SOURCE_BYTES, TEST_CASES, TOKENS

COMPONENTS = REPOSITORY / "docs" / "components.md"
EXAMPLE = REPOSITORY / "examples" / "component.py"
TEXT = COMPONENTS.read_text()


def test_the_example_is_shown_in_full() -> None:
    assert EXAMPLE.read_text() in blocks(COMPONENTS, "python")
    assert len(EXAMPLE.read_text().splitlines()) < 50


def test_the_other_blocks_are_python() -> None:
    for block in blocks(COMPONENTS, "python"):
        ast.parse(block)


@needs_sandbox
def test_who_shares_the_example_is_told_what_was_found(
    fleet: RealFleet, ai: str, tmp_path: Path
) -> None:
    """As one who copied both from the page."""
    (sharing,) = (block for block in blocks(COMPONENTS, "python") if "share_code" in block)
    shutil.copy(EXAMPLE, tmp_path / "component.py")
    with started_trainers(tmp_path, lambda _: fleet.url, Validator) as start:
        joined(fleet, start, f"{ai}_v")
        done = subprocess.run(
            [sys.executable, "-c", sharing],
            cwd=tmp_path,
            env=python_environment(COORD_REDIS_URL=fleet.url),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert re.fullmatch(r"passed 0\.\d\d? \n", done.stdout), done.stderr


@needs_sandbox
def test_the_report_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    (shown,) = (block for block in blocks(COMPONENTS, "console") if "passed" in block)
    command, _, report = shown.partition("\n")
    result = CliRunner().invoke(app, command.split()[2:])
    assert result.exit_code == 0
    assert of_this_machine(report) == of_this_machine(result.stdout)
    assert max(map(len, report.splitlines())) <= 80


def of_this_machine(report: str) -> list[str]:
    """The lines of a report without what differs from one machine or version to the next."""
    told = re.sub(r"(?m)^(milliseconds|sandbox) .*$", r"\1", report)
    told = re.sub(r"-[0-9a-f]{12}\b", "-…", told)
    return [line.rstrip() for line in told.splitlines()]


def calls(specialization: str) -> dict[str, str]:
    """The calls of a specialization as they are written, each with its answer's type or ""."""
    problem = find_problem(specialization)
    assert problem is not None
    interface: Interface = problem.interfaces[specialization]
    found = {}
    for name, arguments in takes_by_specialization(problem)[specialization].items():
        answer = interface.asks.get(name)
        shown = str(answer) if get_args(answer) else getattr(answer, "__name__", "")
        found[f"{POLICY if name == CONSTRUCTOR else name}({', '.join(arguments)})"] = shown
    return found


def test_the_table_of_calls_equals_the_interfaces() -> None:
    rows = table(COMPONENTS, "specialization", "called", "what it means", "answer")
    for specialization in ("file_system", "process_manager"):
        listed = {
            call.strip("`"): answer.strip("`| ")
            for name, call, _, answer in rows
            if name == f"`{specialization}`"
        }
        assert listed == calls(specialization)


def test_what_is_measured_is_listed() -> None:
    listed = [row[0] for row in table(COMPONENTS, "specialization", "cost", "baseline", "bound")]
    assert listed == ["`file_system`", "`process_manager`", "both together"]
    assert find_joint_problem("file_system", "process_manager") is not None


def test_every_verdict_is_explained() -> None:
    rows = table(COMPONENTS, "verdict", "meaning", "score")
    assert [row[0].strip("`") for row in rows] == list(get_args(VerdictWord))


def test_the_limits_are_those_in_force() -> None:
    rows = table(COMPONENTS, "limit", "value", "of what")
    assert {row[0].strip("`"): float(row[1]) for row in rows} == asdict(Limits())
    for number in (
        f"{SOURCE_BYTES // 1024} KiB",
        f"{LINE_BYTES:,} bytes",
        f"up to {TEST_CASES} ",
        f"{TOKENS:,} words",
    ):
        assert number in TEXT


@needs_sandbox
def test_every_line_of_a_report_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    (shown,) = (block for block in blocks(COMPONENTS, "console") if "passed" in block)
    names = [line.partition("  ")[0] for line in shown.splitlines()[2:]]
    listed = [row[0].strip("`") for row in table(COMPONENTS, "line", "what it tells")]
    assert names == [name for name in listed if name not in ("not run", "dropped")]
