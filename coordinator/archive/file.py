"""The file of an archive: found, checked, made and kept from other writers."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from coordinator.archive.failures import BadArchive
from coordinator.archive.schema import APPLICATION_ID, DEFINITIONS, TABLES, VERSION
from coordinator.archive.soundness import check_contents
from coordinator.private_files import try_lock
from coordinator.reads import Item

BUSY_S = 30.0
"""So long another program, such as `sqlite3`, may keep the file from being written."""


def check_place(path: Path, create: bool) -> None:
    if path.is_dir():
        raise BadArchive(
            path, f"{path} is a directory; name a file, such as {path / 'hub_data.db'}"
        )
    if path.exists() and not path.is_file():
        raise BadArchive(path, f"{path} is no regular file: name another one")
    if not path.parent.is_dir():
        raise BadArchive(path, f"the directory of {path} is missing: make it, or name another file")
    if not create and not path.exists():
        raise BadArchive(path, f"there is no archive at {path}: `coord archive {path}` makes one")


def check_nothing_beside(path: Path) -> None:
    """A file that cannot be written is read alone, without what was not put into it yet."""
    beside = Path(f"{path}-wal")
    if beside.exists() and beside.stat().st_size:
        raise BadArchive(
            path,
            f"the newest of {path} lies in {beside.name}, which cannot be read where nothing can be"
            " written: copy both to where it can",
        )


def locked(path: Path) -> int:
    """A descriptor of the file, by which this process alone writes it. It is closed after the
    database, for that would lose SQLite's own locks with any descriptor of the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path, error) from error
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    raise BadArchive(
        path, f"{path} is being written by another `coord archive`: end that, or name another file"
    )


def _unwritable(path: Path, error: OSError) -> BadArchive:
    return BadArchive(
        path,
        f"{path} cannot be written ({error.strerror}): make it writable, or name another file",
    )


def connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", BUSY_S, isolation_level=None, uri=True
    )


def begin(path: Path, archive_id: str) -> None:
    """Make an empty archive at ``path``, where there is nothing. It has its name once it is whole,
    for an empty file is no archive: something has become of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as database:
            database.execute("BEGIN")
            for definition in DEFINITIONS:
                database.execute(definition)
            nothing = {"archive_id": archive_id, "epoch": "", "log_n": 0, "events_n": 0, "ms": 0}
            write_values(database, nothing)
            database.execute("COMMIT")
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def prepare(database: sqlite3.Connection, path: Path) -> None:
    """Check an archive that is to be written.

    Readers and the writer are not in each other's way then; and a commit costs no wait for the
    disk, which it need not, since the cursor is in the same transaction as the rows.
    """
    check(database, path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")


def check(database: sqlite3.Connection, path: Path) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not application_id and not tables:
        raise BadArchive(
            path, f"{path} is empty: remove it to begin a new archive, or restore it from a copy"
        )
    if application_id != APPLICATION_ID:
        raise BadArchive(
            path,
            f"{path} is no archive of coord, but another program's database: name another file",
        )
    if version > VERSION:
        raise BadArchive(
            path,
            f"{path} was made by a newer coord (its format is {version}, this one knows {VERSION}):"
            " use that, or name another file",
        )
    there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    missing = sorted(TABLES.keys() - there)
    if missing:
        raise BadArchive(
            path, f"{path} has no table {missing[0]}: restore it from a copy, or name another file"
        )
    check_contents(database, path)


def write_values(database: sqlite3.Connection, values: Item) -> None:
    database.executemany("INSERT OR REPLACE INTO archive VALUES (?, ?)", values.items())
