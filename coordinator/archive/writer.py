"""Lines of the history written into the tables of an archive, each into those that it concerns."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable

from coordinator.archive.lines import (
    PUT_EPOCH,
    PUT_EVENT,
    PUT_GAP,
    PUT_MESSAGE,
    Row,
    epoch_row,
    event_row,
    gap_row,
    message_row,
)
from coordinator.archive.projections import SPOILED, count_uses, project
from coordinator.audit import AUDIT_KINDS
from coordinator.clock import iso
from coordinator.events import MODELS, read_event
from coordinator.history import Line
from coordinator.messages import to_json
from coordinator.reads import Item

log = logging.getLogger("coord.archive")


def write(database: sqlite3.Connection, lines: Iterable[Line]) -> None:
    """Insert the rows of ``lines``, which follow on what the archive has. What is current, such as
    the verdict on a record, is changed in its place."""
    messages: list[Row] = []
    events: list[Row] = []
    used: list[str] = []
    for line in lines:
        try:
            if line.kind == "epoch":
                database.execute(PUT_EPOCH, epoch_row(line))
            elif line.kind == "gap":
                database.execute(PUT_GAP, gap_row(line))
            elif (message := line.envelope) is not None:
                messages.append(message_row(line, message))
                _note_report(database, line, message)
            else:
                events.append(event_row(line))
                used += _note_event(database, line)
        except SPOILED as error:
            log.warning("%s %d cannot be stored: %r", line.source, line.n, error)
            database.execute(PUT_GAP, gap_row(line))
    database.executemany(PUT_MESSAGE, messages)
    database.executemany(PUT_EVENT, events)
    count_uses(database, used)


def _note_report(database: sqlite3.Connection, line: Line, message: Item) -> None:
    if message["message_type"] != "performance_report":
        return
    try:
        report = message["payload"]
        metrics = to_json({name: float(value) for name, value in report["performance"].items()})
        row = (report["component_id"], message["sender_id"], metrics, iso(line.ms))
        place = (line.ms, line.epoch, line.n, line.source)
        database.execute("INSERT INTO benchmarks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, *place))
    except SPOILED as error:
        log.warning("%s %d is no performance report: %r", line.source, line.n, error)


def _note_event(database: sqlite3.Connection, line: Line) -> list[str]:
    """Change what the event says has changed; the records whose uses are to be counted again. One
    that strangers have spoiled changes nothing."""
    told = line.data
    if told["event"] in AUDIT_KINDS:
        row = (line.ms, told["event"], told["ai"], told["text"], to_json(told["data"]))
        place = (line.epoch, line.n)
        database.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, *place))
    if told["event"] not in MODELS:
        return []
    touched: list[str] = []
    database.execute("SAVEPOINT event")
    try:
        event = read_event(line)
        if event is not None:
            touched = project(database, line, event)
    except SPOILED as error:
        database.execute("ROLLBACK TO event")
        log.warning("event %d says nothing of use of %s: %r", line.n, told["event"], error)
    database.execute("RELEASE event")
    return touched
