"""Whether the values of an archive are what its columns are for: SQLite keeps any value in any
column, and people change files by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from coordinator.archive.failures import BadArchive
from coordinator.archive.schema import DEFINITIONS, TABLES

LARGEST = 2**53
"""No number or time of a fleet's history is larger."""
SHOWN = 40
"""So much of a value that does not fit is shown."""

_VALUES = {
    "archive_id": "TEXT",
    "epoch": "TEXT",
    "log_n": "INTEGER",
    "events_n": "INTEGER",
    "ms": "INTEGER",
}
"""The rows of the table ``archive``, and the types of their values."""
_PLACES = ("epochs", "gaps")
"""Where each row says where something in the history stands; there are few of them."""
_CONDITIONS = {
    "TEXT": "typeof({0}) = 'text'",
    "INTEGER": f"(typeof({{0}}) = 'integer' AND {{0}} BETWEEN 0 AND {LARGEST})",
    "REAL": "(typeof({0}) IN ('integer', 'real') AND abs({0}) < 9e999)",
}
_TOLD = {
    "TEXT": "text",
    "INTEGER": f"a whole number from 0 to {LARGEST}",
    "REAL": "a finite number",
}


def check_contents(database: sqlite3.Connection, path: Path) -> None:
    """Check what an archive cannot be read without: its columns, and the few rows that say where
    it stands. The other rows are checked by those who need them. Raises BadArchive."""
    for table in TABLES:
        there = _columns_of(database, table)
        for name in _types()[table]:
            if name not in there:
                raise _changed(path, f"the table {table} has no column {name}")
    for name, kind in _VALUES.items():
        sql = f"SELECT value, {_CONDITIONS[kind].format('value')} FROM archive WHERE name = ?"
        value, fits = database.execute(sql, (name,)).fetchone() or (None, None)
        if fits is None:
            raise _changed(path, f"in the table archive, the row {name} is missing")
        if not fits:
            told = f"{name} is {_shown(value)}, not {_TOLD[kind]}"
            raise _changed(path, f"in the table archive, {told}")
    for table in _PLACES:
        found = database.execute(misfits(table))
        names = [column[0] for column in found.description]
        if row := found.fetchone():
            raise _changed(path, f"in {describe(table, dict(zip(names, row, strict=True)))}")


def fitting(table: str, *columns: str) -> str:
    """The SQL condition that the values of ``columns`` are what these are for."""
    return " AND ".join(_condition(table, name) for name in columns)


def misfits(table: str, *columns: str) -> str:
    """The SELECT of the rows of which a value in ``columns``, or any, is not what it is for; each
    is told by ``describe``."""
    names = columns or tuple(_types()[table])
    cases = (f"WHEN NOT {_condition(table, name)} THEN '{name}'" for name in names)
    return (
        f"SELECT rowid AS place, CASE {' '.join(cases)} END AS misfit, {', '.join(names)}"
        f" FROM {table} WHERE misfit IS NOT NULL ORDER BY rowid"
    )


def describe(table: str, row: Mapping[str, Any]) -> str:
    """What is wrong with a row that ``misfits`` found."""
    name = row["misfit"]
    told = f"{name} is {_shown(row[name])}, not {_TOLD[_types()[table][name]]}"
    return f"row {row['place']} of the table {table}, {told}"


def _condition(table: str, name: str) -> str:
    return _CONDITIONS[_types()[table][name]].format(name)


@cache
def _types() -> Mapping[str, Mapping[str, str]]:
    """The types of each table's columns, as SQLite understands their definitions."""
    with closing(sqlite3.connect(":memory:")) as database:
        for definition in DEFINITIONS:
            database.execute(definition)
        return {table: _columns_of(database, table) for table in TABLES}


def _columns_of(database: sqlite3.Connection, table: str) -> dict[str, str]:
    found = database.execute("SELECT name, type FROM pragma_table_info(?) ORDER BY cid", (table,))
    return dict(found.fetchall())


def _shown(value: object) -> str:
    return repr(value)[:SHOWN]


def _changed(path: Path, detail: str) -> BadArchive:
    return BadArchive(
        path,
        f"{path} was changed by hand: {detail}: correct that, or restore the file from a copy",
    )
