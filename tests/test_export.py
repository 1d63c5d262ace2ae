"""Exports: what other programs read is what the archive has, in each format."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from coordinator.archive import parquet
from coordinator.archive.archive import Archive
from coordinator.archive.export import ExportFailed, export
from coordinator.archive.failures import BadArchive
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.schema import JSON_COLUMNS, TABLES
from coordinator.history import Line

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '"quoted", and\nmore', "\x1b[2J", "ü€"]


def shared(n: int, record_id: str, words: str) -> Line:
    record = {"id": record_id, "words": words}
    data = {"kind": "pattern", "id": record_id, "specialization": "audio", "record": record}
    data |= {"contributors": ["a"], "hash": ""}
    told = {"event": "shared", "ai": "a", "text": words, "data": data}
    return Line("event", "events", n, n, 1_750_000_000_000 + n, "f.e", told)


def sent(n: int) -> Line:
    message = {"message_id": f"m{n}", "sender_id": "a", "message_type": "message"}
    message |= {"timestamp": "", "payload": {"text": "hello"}, "target_ai": None}
    return Line("message", "log", n, n, 1_750_000_000_000 + n, "f.e", message)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "hub_data.db"
    epoch = Line("epoch", "log", 0, 0, 0, "f.e", {"events_n": 0})
    with Archive.open(path, create=True) as opened:
        events = [shared(n, f"p{n}", words) for n, words in enumerate(HOSTILE, 1)]
        opened.take([epoch, *events, sent(1)])
    return path


def exported(path: Path, directory: Path, *arguments: Any, **options: Any) -> dict[str, int]:
    with ArchiveReader.read(path) as archive:
        return export(archive, directory, *arguments, **options)


def stored(path: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def spoil(path: Path, command: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(command, values)


# -- each format comes back ------------------------------------------------------------------------


def from_json_lines(path: Path, table: str) -> list[dict[str, Any]]:
    """With their JSON columns as text again."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        for name in JSON_COLUMNS.get(table, ()):
            if row[name] is not None:
                row[name] = json.dumps(row[name], ensure_ascii=False, separators=(",", ":"))
    return rows


def from_csv(path: Path, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the types that the archive has, and without the guards."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: typed(text, was[name]) for name, text in row.items()}
            for row, was in zip(csv.DictReader(file), like, strict=True)
        ]


def typed(text: str, like: Any) -> Any:
    if like is None:
        return None if text == "" else text
    return type(like)(text.removeprefix("'") if isinstance(like, str) else text)


def test_json_lines_come_back_as_they_were(archive: Path, tmp_path: Path) -> None:
    counts = exported(archive, tmp_path / "out", "jsonl")
    assert counts.keys() == TABLES.keys()
    for table, count in counts.items():
        rows = from_json_lines(tmp_path / "out" / f"{table}.jsonl", table)
        assert rows == stored(archive, table)
        assert len(rows) == count
    assert (counts["shared_patterns"], counts["messages"]) == (len(HOSTILE), 1)


def test_csv_comes_back_as_it_was(archive: Path, tmp_path: Path) -> None:
    for table in exported(archive, tmp_path / "out", "csv"):
        was = stored(archive, table)
        assert from_csv(tmp_path / "out" / f"{table}.csv", was) == was


def test_parquet_comes_back_as_it_was(archive: Path, tmp_path: Path) -> None:
    for table in exported(archive, tmp_path / "out", "parquet"):
        found = pyarrow.parquet.read_table(tmp_path / "out" / f"{table}.parquet")
        was = stored(archive, table)
        if table == "archive":
            was = [row | {"value": str(row["value"])} for row in was]
        assert found.to_pylist() == was
    kinds = {
        field.name: str(field.type)
        for field in pyarrow.parquet.read_schema(tmp_path / "out" / "shared_components.parquet")
    }
    assert (kinds["component_id"], kinds["quality_score"], kinds["revision"]) == (
        "string",
        "double",
        "int64",
    )


def test_no_cell_begins_as_a_formula_does(archive: Path, tmp_path: Path) -> None:
    exported(archive, tmp_path, "csv", ["events"])
    with (tmp_path / "events.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    guarded = [f"'{text}" for text in HOSTILE[:6]]
    assert texts == [*guarded, *HOSTILE[6:]]


def test_json_columns_are_json_in_json_lines(archive: Path, tmp_path: Path) -> None:
    exported(archive, tmp_path, "jsonl", ["shared_patterns"])
    (first, *_) = (tmp_path / "shared_patterns.jsonl").read_text().splitlines()
    row = json.loads(first)
    assert row["pattern_data"] == {"id": "p1", "words": "=1+1"}
    assert (row["contributors"], row["origins"]) == (["a"], [])


@pytest.mark.parametrize("spoiled", ["{", "NaN", '{"x": Infinity}', "[" * 50_000])
def test_json_that_somebody_has_spoiled_stays_text(
    archive: Path, tmp_path: Path, spoiled: str
) -> None:
    spoil(archive, "UPDATE shared_patterns SET pattern_data = ? WHERE pattern_id = 'p1'", spoiled)
    exported(archive, tmp_path, "jsonl", ["shared_patterns"])
    lines = (tmp_path / "shared_patterns.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["pattern_data"] == spoiled


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_values_of_other_types_than_the_columns_do_no_harm(
    archive: Path, tmp_path: Path, file_format: Any
) -> None:
    spoil(archive, "UPDATE events SET text = ?, ms = 'soon' WHERE n = 1", b"\xff\x00")
    spoil(archive, "UPDATE events SET ms = 1.5 WHERE n = 2")
    counts = exported(archive, tmp_path, file_format, ["events"])
    assert counts == {"events": len(HOSTILE)}


# -- a few rows at a time --------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"ROWS_AT_ONCE": 4}, {"BYTES_AT_ONCE": 500}], ids=str)
def test_parquet_is_written_in_groups(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(parquet, name, limit)
    exported(archive, tmp_path, "parquet", ["events"])
    found = pyarrow.parquet.ParquetFile(tmp_path / "events.parquet")
    assert found.num_row_groups > 1
    assert found.metadata.num_rows == len(HOSTILE)


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_rows_are_written_as_they_are_read(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: Any
) -> None:
    """However many there are, so few are in memory: they come one by one."""
    many = 20_000
    row = stored(archive, "events")[0]
    alive = 0
    most = 0

    class Counted(dict[str, Any]):
        def __init__(self, values: dict[str, Any]) -> None:
            nonlocal alive, most
            super().__init__(values)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows(self: ArchiveReader, table: str) -> Any:
        return (Counted(row | {"n": n}) for n in range(many))

    monkeypatch.setattr(ArchiveReader, "rows", rows)
    assert exported(archive, tmp_path, file_format, ["events"]) == {"events": many}
    assert most <= parquet.ROWS_AT_ONCE + 2


def test_all_tables_are_of_one_moment(archive: Path, tmp_path: Path) -> None:
    """Though more is archived while they are written."""

    def more(table: str, rows: int) -> None:
        if table == "messages":
            with Archive.open(archive, create=False) as writer:
                writer.take([sent(2), shared(len(HOSTILE) + 1, "new", "words")])

    counts = exported(archive, tmp_path, "jsonl", on_progress=more)
    assert (counts["messages"], counts["events"]) == (1, len(HOSTILE))
    assert stored(archive, "events")[-1]["text"] == "words"


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_file_is_no_place_for_files(archive: Path) -> None:
    with pytest.raises(ExportFailed, match=r"hub_data\.db is no directory: name one"):
        exported(archive, archive, "csv")


def test_nothing_is_replaced_unless_it_is_said(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("mine")
    with pytest.raises(ExportFailed, match=r"events\.csv is there already: --force replaces it"):
        exported(archive, tmp_path, "csv")
    assert [path.name for path in tmp_path.glob("*.csv")] == ["events.csv"]
    exported(archive, tmp_path, "csv", overwrite=True)
    assert (tmp_path / "events.csv").read_bytes().startswith(b"epoch,n,ms,kind,ai,text,data\r\n")


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_what_could_not_be_written_in_full_is_not_there(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: Any
) -> None:
    def rows(self: ArchiveReader, table: str) -> Any:
        yield from read(self, table)
        if table == "messages":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    read = ArchiveReader.rows
    monkeypatch.setattr(ArchiveReader, "rows", rows)
    with pytest.raises(ExportFailed, match=r"messages.* cannot be written: No space left"):
        exported(archive, tmp_path / "out", file_format, ["events", "messages"])
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_read_leaves_no_file(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is to be replaced is left as it was."""

    def rows(self: ArchiveReader, table: str) -> Any:
        yield from read(self, table)
        if table == "messages":
            raise BadArchive(self.path, "spoiled")

    read = ArchiveReader.rows
    monkeypatch.setattr(ArchiveReader, "rows", rows)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "events.csv").write_text("mine")
    with pytest.raises(BadArchive, match="spoiled"):
        exported(archive, tmp_path / "out", "csv", ["events", "messages"], overwrite=True)
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_rows_are_read_one_by_one(archive: Path) -> None:
    """However long they are."""
    spoil(archive, "UPDATE events SET data = hex(zeroblob(1000000))")
    with ArchiveReader.read(archive) as opened:
        tracemalloc.start()
        try:
            lengths = [len(row["data"]) for row in opened.rows("events")]
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert lengths == [2_000_000] * len(HOSTILE)
    assert most < 3 * 2_000_000


def test_a_directory_that_cannot_be_made_is_named(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportFailed, match="file/out cannot be made"):
        exported(archive, tmp_path / "file" / "out", "csv")


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "coordinator.archive.parquet", raising=False)


@pytest.mark.usefixtures("without_pyarrow")
def test_without_its_library_parquet_says_what_to_install(archive: Path, tmp_path: Path) -> None:
    done = command(archive, "--format", "parquet", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "pip install 'coord[parquet]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert command(archive, "--format", "csv", "--out", tmp_path / "out").exit_code == 0


# -- the command -----------------------------------------------------------------------------------


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_command_says_how_many_rows_there_are(archive: Path, tmp_path: Path) -> None:
    chosen = ("--table", "events", "-t", "messages", "-t", "events")
    done = command(archive, "-f", "jsonl", "-o", tmp_path / "one", *chosen, "--json")
    assert json.loads(done.stdout) == {"events": len(HOSTILE), "messages": 1}
    shown = command(archive, "-f", "jsonl", "-o", tmp_path / "one", *chosen, "--force")
    assert "events.jsonl    9 rows" in shown.stdout
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "events.jsonl",
        "messages.jsonl",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--format", "xml", "--out", "out"], 2, "xml"),
        (["--format", "csv"], 2, "--out"),
        (["--out", "out"], 2, "--format"),
        (["--format", "csv", "--out", "out", "--table", "event"], 2, "did you mean events"),
        (["--format", "csv", "--out", "out", "--table", "x;"], 2, "there are shared_patterns"),
    ],
    ids=str,
)
def test_what_is_asked_wrongly_is_a_usage_error(
    archive: Path, arguments: list[str], code: int, told: str
) -> None:
    done = command(archive, *arguments)
    assert done.exit_code == code
    assert told in done.stderr


def test_a_file_that_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database")
    done = command(tmp_path / "x.db", "--format", "csv", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "x.db" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_module_is_loaded_when_it_is_needed(without_pyarrow: Callable[[], None]) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("coordinator.archive.parquet")
