"""An archive as it is read back, also while another process writes it."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coordinator.archive.failures import explained, explanation
from coordinator.archive.file import check, check_nothing_beside, check_place, connected
from coordinator.archive.lines import epoch_line, event_line, gap_line, json_or_text, message_line
from coordinator.archive.projections import record_table
from coordinator.archive.schema import JSON_COLUMNS, TABLES
from coordinator.epochs import fleet_of
from coordinator.history import Cursor, Line
from coordinator.keys import Kind
from coordinator.reads import Item

NOTHING_BESIDE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Of a medium, and of a directory, on which this process may make no file."""


class ArchiveReader:
    """One fleet's archive, open until ``close``.

    Its methods raise BadArchive for a file that is spoiled.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        """Use ``read``."""
        self.path = path
        self._database = database
        self._values = dict(database.execute("SELECT name, value FROM archive").fetchall())

    @staticmethod
    def read(path: Path) -> ArchiveReader:
        """The archive at ``path``, to be read, also while another process writes it. BadArchive for
        a file that is none, or of a newer coord."""
        check_place(path, create=False)
        with ExitStack() as opened, explained(path):
            # It writes nothing, but the last to close the file has to put in what lies beside it.
            database = opened.enter_context(closing(connected(path, "rw")))
            database.execute("PRAGMA query_only = 1")
            try:
                check(database, path)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in NOTHING_BESIDE:
                    raise
                # Nothing can be written beside it, as he who writes it would have done.
                check_nothing_beside(path)
                database.close()
                database = opened.enter_context(closing(connected(path, "ro&immutable=1")))
                check(database, path)
            archive = ArchiveReader(path, database)
            opened.pop_all()
        return archive

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def archive_id(self) -> str:
        """By which the fleet's coordinator knows it."""
        return str(self._values["archive_id"])

    @property
    def fleet(self) -> str:
        """Whose it is: the part of the epochs that stays; "" as long as nothing was read."""
        return fleet_of(self.cursor.epoch)

    @property
    def cursor(self) -> Cursor:
        """How far it has come."""
        values = self._values
        return Cursor(values["epoch"], values["log_n"], values["events_n"])

    def begins(self) -> list[Cursor]:
        """Where each epoch began that was read, the oldest first."""
        return [Cursor(row["epoch"], row["log_n"], row["events_n"]) for row in self.rows("epochs")]

    def lines(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Line]:
        """The history from ``since_ms`` on and before ``until_ms``, by time; both streams, with
        their gaps and epochs."""
        span = (-1 if since_ms is None else since_ms, 2**62 if until_ms is None else until_ms)
        lines = (
            (epoch_line(row) for row in self._span("epochs", "ms, rowid", span)),
            (gap_line(row) for row in self._span("gaps", "ms, source DESC, first_n", span)),
            (message_line(row) for row in self._span("messages", "ms, source DESC, n", span)),
            (event_line(row) for row in self._span("events", "ms, n", span)),
        )
        return heapq.merge(*lines, key=_place)

    def records(self, kind: Kind) -> Iterator[Item]:
        """The records as they are: a row each, its JSON read; the last shared last."""
        table = record_table(kind)
        return self._items(table, f"ORDER BY shared_ms, {kind}_id")

    def sessions(self) -> Iterator[Item]:
        """The last that is known of each session, in the order in which they were opened."""
        return self._items("sessions", "ORDER BY created_ms, session_id")

    def units(self, session_id: str) -> list[Item]:
        """All attempts at the units of a session, in the order in which they began."""
        where = "WHERE session_id = ? ORDER BY began_ms, unit_id, attempt"
        return list(self._items("units", where, (session_id,)))

    def ais(self) -> Iterator[Item]:
        """Everybody who was ever there, by name."""
        return self._items("ais", "ORDER BY ai")

    def contributions(self) -> dict[str, float]:
        """The contribution score of each AI that has one."""
        found = self._items("contributions", "ORDER BY ai")
        return {item["ai"]: item["contribution_score"] for item in found}

    def counts(self) -> dict[str, int]:
        """How many rows each table of the history has, and how many numbers are ``missing``."""
        tables = (name for name in TABLES if name != "archive")
        counts = {name: self._count(f"SELECT count(*) AS count FROM {name}") for name in tables}
        return counts | {"missing": self.missing()}

    def missing(self) -> int:
        """How many numbers were cut before they were read."""
        return self._count("SELECT coalesce(sum(last_n - first_n + 1), 0) AS count FROM gaps")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is as it was at one moment, whoever writes meanwhile."""
        with explained(self.path):
            self._database.execute("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")

    def rows(self, table: str) -> Iterator[Item]:
        """The rows of ``table`` as they are stored, in the order in which they were."""
        return self.query(f"SELECT * FROM {table} ORDER BY rowid")

    def query(self, sql: str, values: Sequence[object] = ()) -> Iterator[Item]:
        """What a SELECT finds, by the names of its columns; a row at a time, for it may be long."""
        with explained(self.path):
            found = self._database.execute(sql, values)
        names = [column[0] for column in found.description]
        while (row := self._fetched(found)) is not None:
            yield dict(zip(names, row, strict=True))

    def _fetched(self, found: sqlite3.Cursor) -> Any:
        try:
            return found.fetchone()
        except sqlite3.DatabaseError as error:
            raise explanation(self.path, error) from error

    def _count(self, sql: str) -> int:
        return int(next(self.query(sql))["count"])

    def _items(self, table: str, rest: str, values: Sequence[object] = ()) -> Iterator[Item]:
        """Rows with their JSON read; what is none, since somebody has changed it, stays text."""
        for row in self.query(f"SELECT * FROM {table} {rest}", values):
            for name in JSON_COLUMNS.get(table, ()):
                row[name] = json_or_text(row[name])
            yield row

    def _span(self, table: str, order: str, span: tuple[int, int]) -> Iterator[Item]:
        sql = f"SELECT * FROM {table} WHERE ms >= ? AND ms < ? ORDER BY {order}"
        return self.query(sql, span)


def _place(line: Line) -> tuple[int, int, int]:
    """By time, as a follower tells them: of one moment first the log, and last a new epoch."""
    rank = 2 if line.kind == "epoch" else int(line.source == "events")
    return (line.ms, rank, line.first)
