"""docs/components.md and docs/problems.md say what is: the example runs, tables equal what they
list."""

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
from workers.problems import JOINT_PROBLEMS, PROBLEMS, Interface, JointProblem, Problem
from workers.sandbox import Limits
from workers.validation.interface_check import CONSTRUCTOR, POLICY
from workers.validation.measurement import takes_by_specialization
from workers.validation.source import LINE_BYTES, SOURCE_BYTES, TEST_CASES, TOKENS

COMPONENTS = REPOSITORY / "docs" / "components.md"
EXAMPLE = REPOSITORY / "examples" / "component.py"
TEXT = COMPONENTS.read_text()
PROBLEM_TEXT = (REPOSITORY / "docs" / "problems.md").read_text()
EXPLAINED = [one for one in PROBLEMS if one.specialization in ("file_system", "process_manager")]
"""What the page explains; the others are in a page of their own."""


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
    assert re.fullmatch(r"passed -?0\.\d\d? \n", done.stdout), done.stderr


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


def calls(problem: Problem) -> dict[str, str]:
    """The calls of a policy as they are written, each with its answer's type or ""."""
    specialization = problem.specialization
    interface: Interface = problem.interfaces[specialization]
    found = {}
    for name, arguments in takes_by_specialization(problem)[specialization].items():
        answer = interface.asks.get(name)
        shown = str(answer) if get_args(answer) else getattr(answer, "__name__", "")
        found[f"{POLICY if name == CONSTRUCTOR else name}({', '.join(arguments)})"] = shown
    return found


def listed_calls(rows: list[list[str]], specialization: str) -> dict[str, str]:
    return {
        call.strip("`"): answer.strip("`| ")
        for name, call, _, answer in rows
        if name == f"`{specialization}`"
    }


@pytest.mark.parametrize("problem", EXPLAINED, ids=lambda problem: problem.specialization)
def test_the_table_of_calls_equals_the_interfaces(problem: Problem) -> None:
    rows = table(COMPONENTS, "specialization", "called", "what it means", "answer")
    assert listed_calls(rows, problem.specialization) == calls(problem)


def test_what_is_explained_is_measured() -> None:
    listed = [row[0] for row in table(COMPONENTS, "specialization", "cost", "baseline", "bound")]
    assert listed == [f"`{problem.specialization}`" for problem in EXPLAINED]


# -- every problem ---------------------------------------------------------------------------------


def section(name: str) -> str:
    """What docs/problems.md says of a problem."""
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", PROBLEM_TEXT, re.M | re.S)
    assert found, f"{name} has no section"
    return found[1]


def rows_of(text: str, *heads: str) -> list[list[str]]:
    """The cells of the rows of the one table with these heads."""
    head = f"| {' | '.join(heads)} |\n"
    assert text.count(head) == 1
    rows = text.partition(head)[2].partition("\n\n")[0].strip().splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def number(text: str) -> float:
    return float(text.strip("`| ").replace(",", "").replace("\N{MINUS SIGN}", "-"))


def test_the_overview_says_what_the_problems_say_of_themselves() -> None:
    rows = rows_of(PROBLEM_TEXT, "problem", "of", "decides", "cost in", "baseline", "bound")
    abouts = [(one, one.about) for one in (*PROBLEMS, *JOINT_PROBLEMS)]
    assert [[cell.strip("| ") for cell in row] for row in rows] == [
        [
            f"[{one.name}](#{one.name})",
            " and ".join(f"`{name}`" for name in one.interfaces),
            *(about.decides, one.cost_unit, about.baseline, about.bound),
        ]
        for one, about in abouts
    ]


def test_every_problem_has_a_section_and_nothing_else_has() -> None:
    names = [problem.name for problem in (*PROBLEMS, *JOINT_PROBLEMS)]
    assert sorted(re.findall(r"^### (\w+)$", PROBLEM_TEXT, re.M)) == sorted(names)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_every_problem_says_how_its_policy_is_called(problem: Problem) -> None:
    rows = rows_of(section(problem.name), "specialization", "called", "what it means", "answer")
    assert listed_calls(rows, problem.specialization) == calls(problem)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_every_problem_lists_its_parameters(problem: Problem) -> None:
    rows = rows_of(section(problem.name), "parameter", "meaning", "default", "range")
    listed = [
        (name.strip("`"), number(default), *map(number, ends.split("..")))
        for name, _, default, ends in rows
    ]
    assert listed == [(one.name, one.default, one.low, one.high) for one in problem.parameters]


@pytest.mark.parametrize("problem", JOINT_PROBLEMS, ids=lambda problem: problem.name)
def test_every_pair_names_its_specializations(problem: JointProblem) -> None:
    assert all(f"`{name}`" in section(problem.name) for name in problem.specializations)


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
