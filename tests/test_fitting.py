"""What is shown fits where it is shown: tables, moments and counts."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence

import pytest
from rich.console import Console

from cli import output

COLUMNS = ("record", "by", "verdict, quality", "name")
ROWS = [
    ("cache.AI_1.5d2f3d61.12", "AI_1", "passed 0.654", "a cache"),
    ("b", "AI_2", "not validated", "漢字"),
]


def lines_of(width: int, rows: Sequence[Sequence[str]] = ROWS) -> list[str]:
    """The table at that width, without the line below its headings."""
    shown = Console(file=io.StringIO(), width=width, record=True)
    shown.print(output.table("", COLUMNS, rows, spare=("name",)))
    lines = shown.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines if not line.startswith("─")]


def test_all_columns_are_shown_where_there_is_room() -> None:
    assert lines_of(60) == [
        "record                  by    verdict, quality  name",
        "cache.AI_1.5d2f3d61.12  AI_1  passed 0.654      a cache",
        "b                       AI_2  not validated     漢字",
    ]


def test_headings_break_before_cells_and_then_what_can_be_spared_goes() -> None:
    assert lines_of(52)[1:3] == [
        "record                  by    quality        name",
        "cache.AI_1.5d2f3d61.12  AI_1  passed 0.654   a cache",
    ]
    assert lines_of(51) == [
        "record                  by    verdict, quality",
        "cache.AI_1.5d2f3d61.12  AI_1  passed 0.654",
        "b                       AI_2  not validated",
        "no room for: name (--json has all)",
    ]


def test_a_heading_breaks_before_a_wider_cell_does() -> None:
    shown = Console(file=io.StringIO(), width=40, record=True)
    shown.print(
        output.table("", ("claimed gap closed", "why"), [("0.5", "it was too slow to count")])
    )
    lines = [line.rstrip() for line in shown.export_text().splitlines()]
    assert lines[-1] == "0.5             it was too slow to count"


def test_words_break_last() -> None:
    assert lines_of(39)[2:6] == [
        "cache.AI_1.5d2f3d61.12  AI_1  passed",
        "                              0.654",
        "b                       AI_2  not",
        "                              validated",
    ]
    assert lines_of(30)[2:4] == ["cache.AI_1.5d  AI_1  passed", "2f3d61.12            0.654"]


def test_a_table_of_no_rows_and_one_of_empty_cells() -> None:
    assert lines_of(60, []) == ["record  by  verdict, quality  name"]
    assert lines_of(60, [("", "", "", "")]) == ["record  by  verdict, quality  name", ""]
    assert lines_of(60, [("b", "AI_2")])[1:] == ["b       AI_2"]


def test_what_is_piped_is_as_wide_as_columns_says_and_ends_in_no_blanks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output.console().print("a word and another  ", "  ")
    monkeypatch.setenv("COLUMNS", "wide")
    output.console(30).print("a word and another and one more")
    assert capsys.readouterr().out == "a word and another\na word and another and one\nmore\n"


@pytest.fixture
def eastern_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_moments_are_local_to_the_second(eastern_time: None) -> None:
    assert output.moment("2026-01-01T22:00:00.999+00:00") == "2026-01-02 01:00:00"
    assert output.moment("x\x1b[2J") == "x\x1b[2J"


def test_ages_are_short() -> None:
    now_ms = 1_767_304_800_000  # 2026-01-01T22:00:00Z
    told = {
        "2026-01-01T22:00:00.999Z": "0s",
        "2026-01-01T21:58:00.001Z": "119s",
        "2026-01-01T21:58:00Z": "2m",
        "2026-01-01T20:00:00Z": "2h",
        "2025-12-25T22:00:00Z": "7d",
        "whenever": "whenever",
    }
    assert {moment: output.age_of(moment, now_ms) for moment in told} == told


def test_counts_have_their_plurals() -> None:
    told = [output.counted(count, "pattern") for count in (0, 1, 2)]
    assert told == ["0 patterns", "1 pattern", "2 patterns"]
