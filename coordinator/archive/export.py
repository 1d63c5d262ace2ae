"""The tables of an archive as files for other programs: JSON lines, CSV, Parquet.

Rows are read and written a few at a time. The files have their names only once all are whole.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TextIO

from coordinator.archive.lines import json_or_text
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.schema import JSON_COLUMNS, TABLES
from coordinator.errors import CoordError
from coordinator.reads import Item

Format = Literal["jsonl", "csv", "parquet"]
Write = Callable[[Item], None]
Columns = Mapping[str, str]
"""The names of a table's columns, and their types in SQL."""
OpenTable = Callable[[Path, str, Columns], AbstractContextManager[Write]]
"""Given a file, a table and its columns: what writes a row."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet may run what begins with one of these."""
GUARD = "'"
"""Stands before such text in a cell."""


class ExportFailed(CoordError):
    """The files cannot be written."""

    code = "export_failed"


def export(
    archive: ArchiveReader,
    directory: Path,
    file_format: Format,
    tables: Sequence[str] = (),
    overwrite: bool = False,
    on_progress: Callable[[str, int], None] = lambda table, rows: None,
) -> dict[str, int]:
    """Write ``tables``, or all, into ``directory``: how many rows each has.

    All are of one moment. ``on_progress`` hears now and then how many rows a table has had so far.
    Raises ExportFailed, also for files that are there already unless ``overwrite`` says so;
    BadArchive.
    """
    open_table = _opener(file_format)
    files = {table: directory / f"{table}.{file_format}" for table in tables or TABLES}
    _check_places(directory, [] if overwrite else list(files.values()))
    parts = {table: _part_of(file) for table, file in files.items()}
    try:
        with archive.snapshot():
            counts = {
                table: _write(archive, table, part, open_table, on_progress)
                for table, part in parts.items()
            }
        for table, part in parts.items():
            with _explained(files[table]):
                part.replace(files[table])
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return counts


def _opener(file_format: Format) -> OpenTable:
    if file_format == "jsonl":
        return _json_lines
    return _csv if file_format == "csv" else _parquet()


def _check_places(directory: Path, files: Sequence[Path]) -> None:
    if directory.exists() and not directory.is_dir():
        raise ExportFailed(
            f"{directory} is no directory: name one, which the files of all tables go into"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportFailed(f"{directory} cannot be made: {error.strerror}") from error
    for file in files:
        if file.exists():
            raise ExportFailed(f"{file} is there already: --force replaces it")


def _part_of(file: Path) -> Path:
    """Where a file is written until all are whole."""
    return file.with_name(f".{file.name}.{os.getpid()}.part")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportFailed(f"{file} cannot be written: {error.strerror or error}") from error


def _write(
    archive: ArchiveReader,
    table: str,
    file: Path,
    open_table: OpenTable,
    on_progress: Callable[[str, int], None],
) -> int:
    """One table into one file: how many rows it has."""
    count = 0
    with _explained(file), open_table(file, table, _columns(archive, table)) as write:
        for row in archive.rows(table):
            write(row)
            count += 1
            if count % 1000 == 0:
                on_progress(table, count)
    on_progress(table, count)
    return count


def _columns(archive: ArchiveReader, table: str) -> Columns:
    found = archive.query("SELECT * FROM pragma_table_info(?) ORDER BY cid", (table,))
    return {column["name"]: column["type"] for column in found}


# -- JSON lines ------------------------------------------------------------------------------------


@contextmanager
def _json_lines(file: Path, table: str, columns: Columns) -> Iterator[Write]:
    """An object a line. JSON columns are JSON in it; one that somebody has spoiled stays text."""
    nested = JSON_COLUMNS.get(table, ())
    with _text_file(file) as opened:

        def write(row: Item) -> None:
            told = {name: _readable(value) for name, value in row.items()}
            told |= {name: json_or_text(told[name]) for name in nested}
            opened.write(json.dumps(told, separators=(",", ":")) + "\n")

        yield write


# -- CSV -------------------------------------------------------------------------------------------


@contextmanager
def _csv(file: Path, table: str, columns: Columns) -> Iterator[Write]:
    """The names of the columns, then a line a row. NULL is an empty cell."""
    with _text_file(file) as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        yield lambda row: writer.writerow([_cell(row[name]) for name in columns])


def _cell(value: Any) -> Any:
    """Text that a spreadsheet could take for a formula is told to be text."""
    value = _readable(value)
    return GUARD + value if isinstance(value, str) and value.startswith(FORMULA) else value


# -- what they have in common ----------------------------------------------------------------------


def _text_file(file: Path) -> TextIO:
    return file.open("w", encoding="utf-8", newline="")


def _readable(value: Any) -> Any:
    """Bytes, which nobody but a stranger puts there, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _parquet() -> OpenTable:
    """What writes Parquet, for which a library is needed that need not be there."""
    try:
        module = importlib.import_module("coordinator.archive.parquet")
    except ModuleNotFoundError as error:
        raise ExportFailed(
            "Parquet is written by pyarrow, which is not installed: pip install 'coord[parquet]'"
        ) from error
    opener: OpenTable = module.open_table
    return opener
