"""The archive as a file: opened, written in batches with its cursor, and read back."""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coordinator.archive import rows
from coordinator.archive.failures import BadArchive, explained
from coordinator.archive.schema import APPLICATION_ID, DEFINITIONS, JSON_COLUMNS, TABLES, VERSION
from coordinator.clock import Ids, RandomIds
from coordinator.fleet import fleet_of
from coordinator.history import Cursor, Line
from coordinator.keys import Kind
from coordinator.messages import to_json
from coordinator.private_files import try_lock
from coordinator.reads import Item
from coordinator.streams import Source

BUSY_S = 30.0
"""So long another program, such as `sqlite3`, may keep the file from being written."""
ID_LENGTH = 12
READ_AT_ONCE = 500
_RANDOM_IDS = RandomIds()


class Archive:
    """One fleet's archive, open until ``close``. Only one process writes it at a time; any number
    may read it meanwhile.

    Its methods raise BadArchive for a file that is spoiled, ArchiveFull when its disk is.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock: int | None) -> None:
        """Use ``open`` or ``read``; ``lock`` is the descriptor that keeps other writers out."""
        self.path = path
        self._database = database
        self._lock = lock
        self._values = dict(database.execute("SELECT name, value FROM archive").fetchall())

    @staticmethod
    def open(path: Path, create: bool, ids: Ids = _RANDOM_IDS) -> Archive:
        """The archive at ``path``, to be written; made if it is missing and ``create`` says so.

        Raises BadArchive for a file that is none, is of a newer coord, or is written by another
        process, and where it or its directory is missing or cannot be written.
        """
        _check_place(path, create)
        with ExitStack() as opened, explained(path):
            lock = _locked(path, create)
            opened.callback(os.close, lock)
            database = opened.enter_context(closing(_connected(path, "rw")))
            _make(database, path, ids.new()[:ID_LENGTH], create)
            archive = Archive(path, database, lock)
            opened.pop_all()
        return archive

    @staticmethod
    def read(path: Path) -> Archive:
        """The archive at ``path``, to be read, also while another process writes it. BadArchive for
        a file that is none, or of a newer coord."""
        _check_place(path, create=False)
        with ExitStack() as opened, explained(path):
            database = opened.enter_context(closing(_connected(path, "ro")))
            try:
                _check(database, path)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
                    raise
                # Nothing can be written beside it, so that nobody writes it either.
                database.close()
                database = opened.enter_context(closing(_connected(path, "ro&immutable=1")))
                _check(database, path)
            archive = Archive(path, database, None)
            opened.pop_all()
        return archive

    def close(self) -> None:
        """All that was taken is in the file, and it is the one file that there is."""
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing ---------------------------------------------------------------------------------

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

    def take(self, lines: Sequence[Line]) -> None:
        """Store ``lines``, which follow on the cursor, and move that: all of it or nothing.

        BadArchive for lines of another fleet, and if the file is no longer there.
        """
        self._check_file()
        moved, ms = self._moved(lines)
        with explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                rows.write(self._database, self._with_times(lines))
                _write_values(self._database, moved | {"ms": ms})
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        self._values |= moved | {"ms": ms}

    def sync(self) -> None:
        """Have the disk keep all that was taken, whatever becomes of the machine. A commit alone
        outlives the process only: what a crash of the machine takes of the rows, it takes of the
        cursor too, and they are read again if the server still has them."""
        with suppress(FileNotFoundError), open(f"{self.path}-wal", "rb") as file:
            os.fsync(file)

    def _moved(self, lines: Iterable[Line]) -> tuple[Item, int]:
        """Where the cursor will be after ``lines``, and the time of the last of them."""
        epoch, last = self.cursor.epoch, {"log": self.cursor.log, "events": self.cursor.events}
        ms = self._values["ms"]
        for line in lines:
            last[line.source] = line.n
            ms = line.ms or ms
            if line.kind == "epoch":
                self._check_fleet(epoch, line.epoch)
                epoch, last["events"] = line.epoch, line.data["events_n"]
        return {"epoch": epoch, "log_n": last["log"], "events_n": last["events"]}, ms

    def _check_fleet(self, known: str, new: str) -> None:
        if known and fleet_of(known) != fleet_of(new):
            raise BadArchive(
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

    def _check_file(self) -> None:
        """SQLite would go on to write to a file that nobody finds any more."""
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

    # -- reading back ----------------------------------------------------------------------------

    def lines(self, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[Line]:
        """The history from ``since_ms`` on and before ``until_ms``, by time; both streams, with
        their gaps and epochs."""
        span = (-1 if since_ms is None else since_ms, 2**62 if until_ms is None else until_ms)
        lines = (
            (_begin_line(row) for row in self._span("epochs", "ms, rowid", span)),
            (_gap_line(row) for row in self._span("gaps", "ms, source DESC, first_n", span)),
            (_message_line(row) for row in self._span("messages", "ms, source DESC, n", span)),
            (_event_line(row) for row in self._span("events", "ms, n", span)),
        )
        return heapq.merge(*lines, key=_place)

    def records(self, kind: Kind) -> Iterator[Item]:
        """The records as they are: a row each, its JSON read; the last shared last."""
        table = rows.record_table(kind)
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
        with explained(self.path):
            names = [name for name in TABLES if name != "archive"]
            counts = {
                name: int(self._database.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
                for name in names
            }
            cut = "SELECT coalesce(sum(last_n - first_n + 1), 0) FROM gaps"
            return counts | {"missing": int(self._database.execute(cut).fetchone()[0])}

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

    def rows(self, table: str, rest: str = "", values: Sequence[object] = ()) -> Iterator[Item]:
        """The rows of ``table`` as they are stored, in the order in which they were, a few at a
        time; ``rest`` is the end of the query."""
        with explained(self.path), closing(self._database.cursor()) as found:
            found.arraysize = READ_AT_ONCE
            found.execute(f"SELECT * FROM {table} {rest or 'ORDER BY rowid'}", values)
            names = [column[0] for column in found.description]
            while some := found.fetchmany():
                for row in some:
                    yield dict(zip(names, row, strict=True))

    def _items(self, table: str, rest: str, values: Sequence[object] = ()) -> Iterator[Item]:
        """Rows with their JSON read; what is none, since somebody has changed it, stays text."""
        for row in self.rows(table, rest, values):
            for name in JSON_COLUMNS.get(table, ()):
                row[name] = _parsed(row[name])
            yield row

    def _span(self, table: str, order: str, span: tuple[int, int]) -> Iterator[Item]:
        return self.rows(table, f"WHERE ms >= ? AND ms < ? ORDER BY {order}", span)


# -- the file --------------------------------------------------------------------------------------


def _check_place(path: Path, create: bool) -> None:
    if path.is_dir():
        raise BadArchive(
            path, f"{path} is a directory; name a file, such as {path / 'hub_data.db'}"
        )
    if not path.parent.is_dir():
        raise BadArchive(path, f"the directory of {path} is missing: make it, or name another file")
    if not create and not path.exists():
        raise BadArchive(path, f"there is no archive at {path}: `coord archive {path}` makes one")


def _locked(path: Path, create: bool) -> int:
    """A descriptor of the file, by which this process alone writes it. It is closed after the
    database, for that would lose SQLite's own locks with any descriptor of the file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
    except OSError as error:
        raise BadArchive(
            path,
            f"{path} cannot be written ({error.strerror}): make it writable, or name another file",
        ) from error
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    raise BadArchive(
        path, f"{path} is being written by another `coord archive`: end that, or name another file"
    )


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", BUSY_S, isolation_level=None, uri=True
    )


def _make(database: sqlite3.Connection, path: Path, archive_id: str, create: bool) -> None:
    """Check that the file is an archive, or make an empty one into it."""
    if not (create and _is_empty(database)):
        _check(database, path)
    # Readers and the writer are not in each other's way; and a commit costs no wait for the disk,
    # which it need not, since the cursor is in the same transaction as the rows (see ``sync``).
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if not _is_empty(database):
        return
    database.execute("BEGIN IMMEDIATE")
    for definition in DEFINITIONS:
        database.execute(definition)
    nothing = {"archive_id": archive_id, "epoch": "", "log_n": 0, "events_n": 0, "ms": 0}
    _write_values(database, nothing)
    database.execute("COMMIT")


def _is_empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    return not tables and not application_id


def _check(database: sqlite3.Connection, path: Path) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
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


def _write_values(database: sqlite3.Connection, values: Item) -> None:
    database.executemany("INSERT OR REPLACE INTO archive VALUES (?, ?)", values.items())


# -- rows as lines ---------------------------------------------------------------------------------


def _place(line: Line) -> tuple[int, int, int]:
    """By time, as a follower tells them: of one moment first the log, and last a new epoch."""
    rank = 2 if line.kind == "epoch" else int(line.source == "events")
    return (line.ms, rank, line.first)


def _begin_line(row: Item) -> Line:
    data = {"events_n": row["events_n"], "forgot": row["forgot"]}
    return Line("epoch", "log", row["log_n"], row["log_n"], row["ms"], row["epoch"], data)


def _gap_line(row: Item) -> Line:
    return Line("gap", row["source"], row["first_n"], row["last_n"], row["ms"], row["epoch"])


_HEAD = ("message_id", "sender_id", "message_type", "timestamp")


def _message_line(row: Item) -> Line:
    """Of a message to one AI the event that told of it."""
    source: Source = row["source"]
    n, ms, epoch = row["n"], row["ms"], row["epoch"]
    head, target = {name: row[name] for name in _HEAD}, row["target_ai"]
    if source == "log":
        message = head | {"payload": _parsed(row["payload"]), "target_ai": target}
        return Line("message", source, n, n, ms, epoch, message)
    # What is stored is compact JSON, as messages are.
    encoded = f'{to_json(head)[:-1]},"payload":{row["payload"]},"target_ai":{to_json(target)}}}'
    data = {"message_id": row["message_id"], "message": encoded}
    text = f"{row['sender_id']} sent {row['message_type']} to {target}"
    told = {"event": "message", "ai": target, "text": text, "data": data}
    return Line("event", source, n, n, ms, epoch, told)


def _event_line(row: Item) -> Line:
    told = {"event": row["kind"], "ai": row["ai"], "text": row["text"]}
    n = row["n"]
    data = told | {"data": _parsed(row["data"])}
    return Line("event", "events", n, n, row["ms"], row["epoch"], data)


def _parsed(text: Any) -> Any:
    try:
        return text if text is None else json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text
