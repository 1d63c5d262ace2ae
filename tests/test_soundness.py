"""An archive that was changed by hand is refused when it is opened, with what is wrong where."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from coordinator.archive.archive import Archive
from coordinator.archive.failures import BadArchive
from coordinator.archive.file import check
from coordinator.archive.reader import ArchiveReader
from coordinator.history import Line
from tests.test_export import sent, shared


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hub_data.db"
    epoch = Line("epoch", "log", 0, 0, 0, "f.e", {"events_n": 0})
    gap = Line("gap", "log", 1, 3, 0, "f.e")
    with Archive.open(path, create=True) as archive:
        archive.take([epoch, gap, shared(1, "p", "words"), sent(4)])
    return path


def spoil(path: Path, command: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(command)


SPOILED = {
    "UPDATE archive SET value = 'x' WHERE name = 'log_n'": "in the table archive, log_n is 'x',",
    "UPDATE archive SET value = 7 WHERE name = 'epoch'": "in the table archive, epoch is 7, not",
    "UPDATE archive SET value = x'00' WHERE name = 'epoch'": "archive, epoch is b'\\x00', not text",
    "UPDATE archive SET value = -1 WHERE name = 'ms'": "ms is -1, not a whole number from 0",
    "UPDATE archive SET value = 9223372036854775807 WHERE name = 'log_n'": "log_n is 92233720368",
    "UPDATE archive SET value = 1.5 WHERE name = 'events_n'": "events_n is 1.5, not a whole number",
    "DELETE FROM archive WHERE name = 'epoch'": "in the table archive, the row epoch is missing",
    "DELETE FROM archive": "in the table archive, the row archive_id is missing",
    "UPDATE epochs SET log_n = 'x'": "in row 1 of the table epochs, log_n is 'x', not a whole",
    "UPDATE epochs SET epoch = x'ff'": "in row 1 of the table epochs, epoch is b'\\xff', not text",
    "UPDATE epochs SET forgot = -5": "in row 1 of the table epochs, forgot is -5, not a whole",
    "UPDATE gaps SET last_n = 'x'": "in row 1 of the table gaps, last_n is 'x', not a whole number",
    "ALTER TABLE events DROP COLUMN text": "the table events has no column text",
    "ALTER TABLE messages RENAME COLUMN payload TO load": "the table messages has no column pay",
}


@pytest.mark.parametrize("open_it", [ArchiveReader.read, lambda path: Archive.open(path, False)])
@pytest.mark.parametrize("command", SPOILED)
def test_what_was_changed_by_hand_is_named(
    path: Path, command: str, open_it: Callable[[Path], ArchiveReader]
) -> None:
    spoil(path, command)
    with pytest.raises(BadArchive) as raised, open_it(path):
        pass
    assert SPOILED[command] in raised.value.detail
    assert raised.value.detail.startswith(f"{path} was changed by hand: ")
    assert "restore the file from a copy" in raised.value.detail


def test_columns_that_were_added_are_let_be(path: Path) -> None:
    """A newer coord, or whoever owns the file, adds them at the end."""
    spoil(path, "ALTER TABLE events ADD COLUMN remark TEXT")
    with ArchiveReader.read(path) as archive:
        assert sorted(line.n for line in archive.lines()) == [0, 1, 3, 4]


@pytest.mark.parametrize("command", [["restore"], ["export", "-f", "csv", "-o", "out"]], ids=str)
def test_what_is_no_regular_file_is_no_archive(tmp_path: Path, command: list[str]) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = CliRunner().invoke(app, [command[0], str(tmp_path / "fifo"), *command[1:]])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "fifo" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_who_reads_it_leaves_one_file_behind(path: Path) -> None:
    with ArchiveReader.read(path) as archive:
        assert len(list(archive.rows("events"))) == 1
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_it_cannot_write_it(path: Path) -> None:
    with ArchiveReader.read(path) as archive, pytest.raises(BadArchive, match="readonly"):
        list(archive.query("DELETE FROM events RETURNING n"))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY])
def test_it_is_read_where_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """On a medium that is read only, or in the directory of another user."""

    def refused(database: sqlite3.Connection, path: Path) -> None:
        monkeypatch.setattr("coordinator.archive.reader.check", check)
        error = sqlite3.OperationalError("nothing can be written")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr("coordinator.archive.reader.check", refused)
    with ArchiveReader.read(path) as archive:
        assert len(list(archive.rows("events"))) == 1
