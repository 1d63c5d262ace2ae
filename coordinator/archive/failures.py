"""How an archive fails: the file is none of ours, or cannot take more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import CoordError

_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class BadArchive(CoordError):
    """The file at ``path`` is no archive that this coord can use."""

    code = "bad_archive"

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(detail)
        self.path = path


class OtherFleet(BadArchive):
    """The archive at ``path`` is of another fleet: to start again changes nothing of that."""


class ArchiveFull(CoordError):
    """The disk of the file at ``path`` takes no more; what it has is whole."""

    code = "archive_full"

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(detail)
        self.path = path


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite raises inside as BadArchive or ArchiveFull."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise explanation(path, error) from error


def explanation(path: Path, error: sqlite3.DatabaseError) -> BadArchive | ArchiveFull:
    """What an error of SQLite means for whoever gave that file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest are details of it
    if code in _FULL:
        return ArchiveFull(
            path,
            f"{path} cannot be written any further ({error}): make room on its disk, or see what"
            " is wrong with that, and start again; it goes on where it was",
        )
    if code in _BUSY:
        return BadArchive(
            path,
            f"{path} is being written by another program ({error}): end that, or its transaction",
        )
    if code == sqlite3.SQLITE_READONLY:
        return BadArchive(
            path, f"{path} cannot be written ({error}): make it writable, or name another file"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return BadArchive(
            path,
            f"{path} cannot be opened ({error}): it must be a file, and its directory writable",
        )
    return BadArchive(
        path,
        f"{path} cannot be read as an archive ({error}): restore it from a copy, or name another",
    )
