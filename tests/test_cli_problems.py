"""`coord problems` and `coord components --best`: what is measured, and who is best at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.main import app
from cli.output import ExitCode
from coordinator.keys import RecordKey
from tests.lineages import Records
from workers.problems import JOINT_PROBLEMS, PROBLEMS

HOSTILE = "x\x1b[2Jy"


@pytest.fixture
def records(real_redis: Redis) -> Records:
    """Of file_system a component and a feature that passed, and one of it and process_manager."""
    records = Records(real_redis)
    for kind, record_id, ai, quality, problem in (
        ("component", "worse", "a", 0.25, "buffer_cache"),
        ("feature", "better", "b", 0.5, "buffer_cache"),
        ("component", "both", "c", 0.75, "cache_and_scheduler"),
    ):
        records.share(kind, record_id, ai)
        records.rank(RecordKey(kind, record_id), quality, problem)
    real_redis.zadd(records.keys.best("component", "buffer_cache"), {"gone": 0.9})
    return records


@pytest.fixture
def coord(real_url: str) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--redis", real_url])


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_all_problems_are_listed_with_the_best_of_each(
    records: Records, coord: Callable[..., Result]
) -> None:
    found = json.loads(coord("problems", "--json").stdout)["problems"]
    assert [item["name"] for item in found] == [one.name for one in (*PROBLEMS, *JOINT_PROBLEMS)]
    best = {item["name"]: item["best"] for item in found if item["best"]}
    assert {name: (one["kind"], one["id"], one["contributor"]) for name, one in best.items()} == {
        "buffer_cache": ("feature", "better", "b"),
        "cache_and_scheduler": ("component", "both", "c"),
    }
    assert best["buffer_cache"]["quality_score"] == 0.5
    for item, problem in zip(found, (*PROBLEMS, *JOINT_PROBLEMS), strict=True):
        assert item["specializations"] == list(problem.interfaces)
        assert item["cost_unit"] == problem.cost_unit
        told = (item["decides"], item["workload"], item["baseline"], item["bound"])
        about = problem.about
        assert told == (about.decides, about.workload, about.baseline, about.bound)


def test_the_table_has_them_in_a_line_each(records: Records, coord: Callable[..., Result]) -> None:
    lines = coord("problems").stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("buffer_cache"))
    assert line.split("  ")[0] == "buffer_cache of file_system"
    assert line.endswith("50.0% by b")
    assert [one.endswith("-") for one in lines if one.startswith("cpu_scheduler")] == [True]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_a_terminal(
    records: Records, coord: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, coord("problems").stdout.splitlines())) <= width


def test_without_a_server_no_best_is_known_and_that_is_told(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["problems", "--json", "--state-dir", str(tmp_path)])
    assert shown.exit_code == ExitCode.OK
    assert {item["best"] for item in json.loads(shown.stdout)["problems"]} == {None}
    assert shown.stderr.startswith("the best so far is not known: no server")


def test_the_best_of_a_specialization_come_by_problem_the_best_first(
    records: Records, coord: Callable[..., Result]
) -> None:
    found = json.loads(coord("components", "--best", "file_system", "--json").stdout)["best"]
    assert found["buffer_cache"][0]["kind"] == "feature"
    listed = {problem: ids(items) for problem, items in found.items() if items}
    assert listed == {"buffer_cache": ["better", "worse"], "cache_and_scheduler": ["both"]}
    listed = json.loads(coord("components", "--best", "process_manager", "--json").stdout)["best"]
    assert {problem: ids(items) for problem, items in listed.items()} == {
        "cpu_scheduler": [],
        "cache_and_scheduler": ["both"],
    }
    few = coord("components", "--best", "file_system", "--limit", "1", "--json").stdout
    assert ids(json.loads(few)["best"]["buffer_cache"]) == ["better"]


def test_the_best_are_shown_in_tables(records: Records, coord: Callable[..., Result]) -> None:
    records.share("component", HOSTILE, "a")
    records.rank(RecordKey("component", HOSTILE), 0.1, "buffer_cache")
    shown = coord("components", "--best", "file_system").stdout
    lines = shown.splitlines()
    assert lines[0] == "best of buffer_cache"
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["better", "b", "50.0%"],
        ["worse", "a", "25.0%"],
        ["x\\x1b[2Jy", "a", "10.0%"],
    ]
    assert "\x1b" not in shown
    shown = coord("components", "--best", "process_manager").stdout
    assert "no component of cpu_scheduler has passed a validation yet" in shown


def test_another_specialization_is_refused_with_those_that_there_are(
    coord: Callable[..., Result],
) -> None:
    shown = coord("components", "--best", "file_sytem")
    assert (shown.exit_code, shown.stdout) == (ExitCode.USAGE, "")
    told = " ".join(shown.stderr.replace("│", " ").split())
    assert "--best file_sytem: did you mean file_system?" in told
    shown = coord("components", "--best", "cooking")
    told = " ".join(shown.stderr.replace("│", " ").split())
    assert "--best cooking: there are " in told
    assert all(problem.specialization in told and problem.name in told for problem in PROBLEMS)


def test_the_best_of_a_problem_are_those_of_it_alone(
    records: Records, coord: Callable[..., Result]
) -> None:
    best = json.loads(coord("components", "--best", "buffer_cache", "--json").stdout)["best"]
    assert {name: ids(found) for name, found in best.items()} == {
        "buffer_cache": ["better", "worse"]
    }
