"""The archive as a file that is written, in batches, each with the cursor."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

from coordinator.archive.failures import BadArchive, OtherFleet, explained
from coordinator.archive.file import begin, check_place, connected, locked, prepare, write_values
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.writer import write
from coordinator.clock import Ids, RandomIds
from coordinator.epochs import fleet_of
from coordinator.history import Cursor, Line

ID_LENGTH = 12
_RANDOM_IDS = RandomIds()


class Archive(ArchiveReader):
    """An archive that this process alone writes; any number may read it meanwhile.

    Its methods raise BadArchive for a file that is spoiled, ArchiveFull when its disk is.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int) -> None:
        """Use ``open``; ``lock`` is the descriptor that keeps other writers out."""
        super().__init__(path, database)
        self._lock: int | None = lock
        self._size_bytes = 0

    @staticmethod
    def open(path: Path, create: bool, ids: Ids = _RANDOM_IDS) -> Archive:
        """The archive at ``path``, to be written; made if it is missing and ``create`` says so.

        Raises BadArchive for a file that is none, is of a newer coord, or is written by another
        process, and where it or its directory is missing or cannot be written.
        """
        check_place(path, create)
        with ExitStack() as opened, explained(path):
            if not path.exists():
                begin(path, ids.new()[:ID_LENGTH])
            lock = locked(path)
            opened.callback(os.close, lock)
            database = opened.enter_context(closing(connected(path, "rw")))
            prepare(database, path)
            archive = Archive(path, database, lock)
            opened.pop_all()
        return archive

    def close(self) -> None:
        """All that was taken is in the file, and it is the one file that there is."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take(self, lines: Sequence[Line]) -> None:
        """Store ``lines``, which follow on the cursor, and move that: all of it or nothing.

        OtherFleet for lines of another fleet, BadArchive if the file is no longer there.
        """
        self.check_file()
        cursor, ms = self._moved(lines)
        values = {"epoch": cursor.epoch, "log_n": cursor.log, "events_n": cursor.events, "ms": ms}
        with explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                write(self._database, self._with_times(lines))
                write_values(self._database, values)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        self._values |= values

    def sync(self) -> None:
        """Have the disk keep all that was taken, whatever becomes of the machine. A commit alone
        outlives the process only: what a crash of the machine takes of the rows, it takes of the
        cursor too, and they are read again if the server still has them."""
        with suppress(FileNotFoundError), open(f"{self.path}-wal", "rb") as file:
            os.fsync(file)

    def _moved(self, lines: Iterable[Line]) -> tuple[Cursor, int]:
        """Where the cursor will be after ``lines``, and the time of the last of them."""
        cursor, ms = self.cursor, self._values["ms"]
        for line in lines:
            if line.kind == "epoch":
                self._check_fleet(cursor.epoch, line.epoch)
            cursor = cursor.after(line)
            ms = line.ms or ms
        return cursor, ms

    def _check_fleet(self, known: str, new: str) -> None:
        if known and fleet_of(known) != fleet_of(new):
            raise OtherFleet(
                self.path,
                f"{self.path} is the archive of another fleet ({fleet_of(known)}), and this one is"
                f" {fleet_of(new)}: name another file",
            )

    def _with_times(self, lines: Iterable[Line]) -> Iterator[Line]:
        """What has no time of its own has that of the line before."""
        ms = self._values["ms"]
        for line in lines:
            ms = line.ms or ms
            yield line if line.ms else replace(line, ms=ms)

    def check_file(self) -> None:
        """BadArchive if something has become of the file: SQLite would go on to write to one that
        nobody finds any more, or of which a part is gone."""
        assert self._lock is not None, "it was opened to be read"
        own = os.fstat(self._lock)
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            raise BadArchive(
                self.path, f"{self.path} was removed or replaced while it was written: start again"
            )
        if there.st_size < self._size_bytes:
            raise BadArchive(
                self.path,
                f"{self.path} was cut short while it was written: restore it from a copy, or name"
                " another file",
            )
        self._size_bytes = there.st_size
