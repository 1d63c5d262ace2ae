"""The table of commands: what it tells is what they are, and none loads what another needs."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.commands import PANELS
from cli.lazy import LazyCommand
from cli.main import app
from tests.servers import REPOSITORY

PLACES = [place for places in PANELS.values() for place in places]
HEAVY = ("matplotlib", "starlette", "textual", "numpy", "workers.problems")


def lazy(name: str) -> LazyCommand:
    group: Any = typer.main.get_command(app)
    found = group.commands[name]
    assert isinstance(found, LazyCommand)
    return found


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_table_tells_the_first_sentence_of_each_command(place: Any) -> None:
    paragraph = (lazy(place.name).load().help or "").split("\n\n")[0]
    sentence = " ".join(paragraph.split()).partition(". ")[0].rstrip(".")
    assert place.about == sentence


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_a_help_of_80_columns_breaks_lines_only_where_they_end(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    command = lazy(place.name).load()
    for name in getattr(command, "commands", {"": command}):
        shown = CliRunner().invoke(app, [place.name, *([name] if name else []), "--help"]).stdout
        usage, *paragraphs = shown.partition("╭")[0].strip().split("\n" + " " * 80 + "\n")
        assert "{" not in usage
        assert "[[" not in usage
        assert paragraphs[-1].split()[:2] == ["Example:", "coord"]
        for paragraph in paragraphs:
            lines = [line.strip() for line in paragraph.splitlines()]
            for line, following in pairwise(lines):
                assert len(line) + len(f" {following.split()[0]}") > 78, line


def test_each_name_is_there_once() -> None:
    names = [place.name for place in PLACES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["status", "--redis", "redis://127.0.0.1:1"], 3)],
)
def test_a_command_loads_only_what_it_needs(arguments: list[str], code: int) -> None:
    program = (
        "import sys, cli.main as m\n"
        "try: m.main()\n"
        "except SystemExit as end: ended = end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], int(ended))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"[] {code}"
