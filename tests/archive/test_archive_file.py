"""The file of an archive, whatever has become of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.archive import file as archive_file
from coordinator.archive.archive import Archive
from coordinator.archive.failures import ArchiveFull, BadArchive
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.schema import VERSION
from coordinator.errors import CoordError
from coordinator.history import Cursor
from tests.archives import (
    archive_all,
    contents,
    share,
    take_all,
)
from tests.fleet import FleetUnderTest


def spoil(path: Path, what: str) -> None:
    if what == "a directory":
        path.mkdir()
        return
    if what in ("no database", "cut"):
        Archive.open(path, create=True).close()
        path.write_bytes(
            b"dear diary\n" * 1000 if what == "no database" else path.read_bytes()[:5000]
        )
        return
    with closing(sqlite3.connect(path)) as database:
        if what == "foreign":
            database.execute("CREATE TABLE diary (day, words)")
    if what in ("newer", "without a table"):
        path.unlink()
        Archive.open(path, create=True).close()
        change = f"PRAGMA user_version = {VERSION + 1}" if what == "newer" else "DROP TABLE units"
        with closing(sqlite3.connect(path)) as database:
            database.execute(change)


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("a directory", "is a directory"),
        ("no database", "cannot be read as an archive"),
        ("cut", "cannot be read as an archive"),
        ("foreign", "another program's database"),
        ("newer", "made by a newer coord"),
        ("without a table", "has no table units"),
    ],
)
@pytest.mark.parametrize(
    "opened", [lambda path: Archive.open(path, create=True), ArchiveReader.read]
)
def test_a_file_that_is_none_of_ours(
    path: Path, what: str, word: str, opened: Callable[[Path], ArchiveReader]
) -> None:
    spoil(path, what)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BadArchive, match=word) as told:
        opened(path).close()
    assert told.value.path == path
    assert told.value.code == "bad_archive"
    assert str(path) in told.value.detail
    assert not before or path.read_bytes() == before


def test_a_file_that_is_not_there(path: Path) -> None:
    for opened in (ArchiveReader.read, lambda path: Archive.open(path, create=False)):
        with pytest.raises(BadArchive, match="there is no archive at"):
            opened(path)
    with pytest.raises(BadArchive, match=r"the directory of .* is missing"):
        Archive.open(path / "deeper" / "hub.db", create=True)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_an_empty_file_is_no_archive(path: Path, create: bool) -> None:
    """Something has become of it: what was in it is not silently begun anew."""
    path.touch()
    with pytest.raises(BadArchive, match="is empty: remove it to begin a new archive"):
        Archive.open(path, create)


def test_a_new_one_has_its_name_once_it_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "write_values", lambda *values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Archive.open(path, create=True)
    monkeypatch.undo()
    assert list(path.parent.iterdir()) == []
    with Archive.open(path, create=True) as archive:
        assert archive.cursor == Cursor()
        assert len(archive.archive_id) == 12


def test_only_a_regular_file_is_one(path: Path) -> None:
    os.mkfifo(path)
    for place in (path, Path("/dev/null")):
        for opened in (ArchiveReader.read, lambda place: Archive.open(place, create=True)):
            with pytest.raises(BadArchive, match="is no regular file"):
                opened(place)


def test_one_that_is_cut_while_it_is_written_is_noticed(fleet: FleetUnderTest, path: Path) -> None:
    archive_all(fleet.redis, path)
    with Archive.open(path, create=False) as archive:
        archive.check_file()
        os.truncate(path, 8192)
        with pytest.raises(BadArchive, match="was cut short while it was written"):
            archive.check_file()


def test_only_one_writes_it(archive: Archive, path: Path) -> None:
    with pytest.raises(BadArchive, match="being written by another `coord archive`"):
        Archive.open(path, create=True)
    archive.close()
    Archive.open(path, create=False).close()


def test_a_writer_that_another_program_keeps_waiting(
    fleet: FleetUnderTest, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "BUSY_S", 0.01)
    with (
        Archive.open(path, create=True) as archive,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BadArchive, match="being written by another program"):
            take_all(fleet.redis, archive)
        other.execute("ROLLBACK")
        take_all(fleet.redis, archive)
        assert archive.counts()["ais"] == 4


def test_it_is_read_while_it_is_written(
    fleet: FleetUnderTest, archive: Archive, path: Path
) -> None:
    take_all(fleet.redis, archive)
    with ArchiveReader.read(path) as reader:
        before = reader.counts()
        share(fleet, "a", "pattern", {"id": "p"})
        take_all(fleet.redis, archive)
        assert reader.counts()["shared_patterns"] == before["shared_patterns"] + 1
        assert list(reader.lines()) == list(archive.lines())


def test_a_reader_that_is_left_half_way_says_nothing(
    fleet: FleetUnderTest, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive_all(fleet.redis, path)
    with ArchiveReader.read(path) as reader:
        rows, lines = reader.rows("events"), reader.lines()
        next(rows), next(lines)
    with pytest.raises(BadArchive):
        next(reader.rows("events"))
    del rows, lines
    assert capfd.readouterr() == ("", "")


def test_once_closed_it_is_one_file(fleet: FleetUnderTest, path: Path) -> None:
    archive_all(fleet.redis, path)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_vanishes_is_noticed(fleet: FleetUnderTest, archive: Archive) -> None:
    archive.path.rename(archive.path.with_name("moved"))
    with pytest.raises(BadArchive, match="removed or replaced"):
        take_all(fleet.redis, archive)


def test_a_full_disk_loses_and_doubles_nothing(
    fleet: FleetUnderTest, path: Path, tmp_path: Path
) -> None:
    archive_all(fleet.redis, path)
    share(fleet, "a", "pattern", {"id": "p", "data": "x" * 100_000})
    with Archive.open(path, create=False) as archive:
        (pages,) = archive._database.execute("PRAGMA page_count").fetchone()
        archive._database.execute(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(ArchiveFull, match="make room") as told:
            take_all(fleet.redis, archive)
        assert isinstance(told.value, CoordError)
    archive_all(fleet.redis, path)
    archive_all(fleet.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")
