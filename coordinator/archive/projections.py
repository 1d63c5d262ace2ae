"""What events change in the tables that show how a fleet is now: its records, work and people."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from coordinator.clock import iso
from coordinator.events import (
    Credited,
    FleetEvent,
    Joined,
    Left,
    Retracted,
    SessionChanged,
    Shared,
    UnitChanged,
    Validated,
)
from coordinator.history import Line
from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.messages import to_json
from coordinator.validation.models import LASTING, VALIDATED_KINDS

Database = sqlite3.Connection

SPOILED = (
    *(AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError),
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""What is raised for an entry that is not as the coordinator writes it."""

_PUT_EDGE = "INSERT OR REPLACE INTO lineage VALUES (?, ?, ?)"


def project(database: Database, line: Line, event: FleetEvent) -> list[str]:
    """Change what ``event``, which ``line`` tells of, says has changed; nothing by one that says
    nothing of the kind. Returns the names of the records whose uses are to be counted again.
    Raises SPOILED."""
    match event:
        case Shared():
            return _share(database, event)
        case Validated():
            return _validate(database, line, event)
        case Retracted():
            return _retract(database, event)
        case Credited():
            score = (event.ai, event.contribution_score, event.ms)
            database.execute("INSERT OR REPLACE INTO contributions VALUES (?, ?, ?)", score)
        case SessionChanged():
            _put_session(database, event)
        case UnitChanged():
            _put_unit(database, event)
        case Joined():
            _join(database, event)
        case Left():
            left = (event.ms, event.ai)
            database.execute("UPDATE ais SET left_ms = ? WHERE ai = ?", left)
    return []


def count_uses(database: Database, names: Iterable[str]) -> None:
    """Of those records. It is done once for many events: all that were begun from each are
    counted."""
    for name in dict.fromkeys(names):
        key = RecordKey.from_name(name)
        if key is not None:
            database.execute(_COUNT_USES[key.kind], {"name": name, "id": key.id})


# -- records ---------------------------------------------------------------------------------------


def record_table(kind: Kind) -> str:
    return f"shared_{kind}s"


def _share_command(kind: Kind) -> str:
    """A later share is a revision: what was first stays, and a verdict as long as it is of what the
    record still is (``validation.waiting_list.submit``)."""
    common = "specialization, revision, contributors, origins, shared_ms"
    head = f"{kind}_id, {kind}_data, contributor, timestamp, usage_count, {common}"
    values = (
        ":id, :record, :contributor, :timestamp, 0, :specialization, 1, :contributors,"
        " coalesce(:origins, '[]'), :ms"
    )
    kept = (
        f"{kind}_data = :record, specialization = :specialization, revision = revision + 1,"
        " contributors = :contributors, origins = coalesce(:origins, origins), shared_ms = :ms"
    )
    if kind in VALIDATED_KINDS:
        head, values = f"{head}, hash", f"{values}, :hash"
        words = ", ".join(f"'{word}'" for word in LASTING)
        is_same = f"hash = :hash AND json_extract(verdict, '$.verdict') IN ({words})"
        kept += (
            f", hash = :hash, verdict = CASE WHEN {is_same} THEN verdict END,"
            f" quality_score = CASE WHEN {is_same} THEN quality_score END"
        )
    return (
        f"INSERT INTO {record_table(kind)} ({head}) VALUES ({values})"
        f" ON CONFLICT DO UPDATE SET {kept}"
    )


def _uses_command(kind: Kind) -> str:
    """As ``reads.usage_count`` has it: only of what passed can others be said to have begun."""
    uses = "(SELECT count(*) FROM lineage WHERE parent = :name AND is_use)"
    if kind in VALIDATED_KINDS:
        uses = f"CASE WHEN quality_score IS NULL THEN 0 ELSE {uses} END"
    return f"UPDATE {record_table(kind)} SET usage_count = {uses} WHERE {kind}_id = :id"


_SHARE = {kind: _share_command(kind) for kind in KINDS}
_COUNT_USES = {kind: _uses_command(kind) for kind in KINDS}


def _share(database: Database, event: Shared) -> list[str]:
    name = event.record_key.name
    names = None if event.origins is None else [origin.name for origin in event.origins]
    database.execute(
        _SHARE[event.kind],
        {
            "id": event.id,
            "record": to_json(event.record),
            "contributor": event.contributors[0],
            "timestamp": iso(event.ms),
            "specialization": event.specialization,
            "contributors": to_json(event.contributors),
            "origins": None if names is None else to_json(names),
            "ms": event.ms,
            "hash": event.hash,
        },
    )
    touched = [name]
    if event.origins is not None:
        touched += _cut_off(database, name)
        edges = [(origin.name, name, origin.is_use) for origin in event.origins]
        database.executemany(_PUT_EDGE, edges)
        touched += names or []
    return touched


def _cut_off(database: Database, child: str) -> list[str]:
    """Take the edges up from ``child`` away; where they led to."""
    found = database.execute("SELECT parent FROM lineage WHERE child = ?", (child,)).fetchall()
    database.execute("DELETE FROM lineage WHERE child = ?", (child,))
    return [parent for (parent,) in found]


def _retract(database: Database, event: Retracted) -> list[str]:
    touched: list[str] = []
    database.execute("DELETE FROM benchmarks WHERE component_id = ?", (event.id,))
    for key in event.record_keys:
        database.execute(f"DELETE FROM {record_table(key.kind)} WHERE {key.kind}_id = ?", (key.id,))
        touched += _cut_off(database, key.name)
        database.execute("DELETE FROM lineage WHERE parent = ?", (key.name,))
    return touched


def _validate(database: Database, line: Line, event: Validated) -> list[str]:
    of_record = (event.component_id, event.kind, event.contributors[0])
    found = (event.validator, event.verdict, event.score)
    measured = (event.problem, event.workload, event.evaluator, event.cost_unit)
    told = (to_json(event.costs), event.reason, event.regression, event.ms, to_json(event.data))
    row = (*of_record, *found, *measured, *told, line.epoch, line.n)
    _insert(database, "INSERT INTO validations", row)
    quality = event.score if event.verdict == "passed" else None
    database.execute(
        f"UPDATE {record_table(event.kind)} SET verdict = ?, quality_score = ?, hash = ?"
        f" WHERE {event.kind}_id = ?",
        (to_json(event.found), quality, event.hash, event.component_id),
    )
    return [event.record_key.name]


# -- work ------------------------------------------------------------------------------------------


def _put_session(database: Database, event: SessionChanged) -> None:
    session = event.session
    row = (
        *(session.id, session.type, session.initiator, session.target, session.description),
        *(session.state, to_json(session.participants), session.progress),
        *(session.created_ms, session.began_ms, session.ended_ms, session.reason),
        session.component_id,
        None if session.result is None else to_json(session.result),
        to_json(event.data["session"]),
    )
    _insert(database, "INSERT OR REPLACE INTO sessions", row)


def _put_unit(database: Database, event: UnitChanged) -> None:
    unit, tried = event.unit, event.tried
    row = (
        *(unit.id, event.attempt, unit.session_id, unit.name, unit.kind),
        *(tried.ai, unit.state, tried.began_ms, tried.ended_ms, tried.outcome, tried.reason),
        None if event.output is None else to_json(event.output),
    )
    _insert(database, "INSERT OR REPLACE INTO units", row)


def _insert(database: Database, command: str, row: tuple[Any, ...]) -> None:
    database.execute(f"{command} VALUES ({', '.join('?' * len(row))})", row)


# -- who was there ---------------------------------------------------------------------------------


def _join(database: Database, event: Joined) -> None:
    """One that is there already, and says something else of itself, does not join once more."""
    database.execute(
        "INSERT INTO ais VALUES (:ai, :specialization, :capabilities, :ms, :ms, NULL, 1)"
        " ON CONFLICT DO UPDATE SET specialization = :specialization,"
        " capabilities = :capabilities, joins = joins + (left_ms IS NOT NULL),"
        " last_joined_ms = CASE WHEN left_ms IS NULL THEN last_joined_ms ELSE :ms END,"
        " left_ms = NULL",
        {
            "ai": event.ai,
            "specialization": event.specialization,
            "capabilities": to_json(event.capabilities),
            "ms": event.ms,
        },
    )
