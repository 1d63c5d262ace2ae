"""How lines of the history become rows, each in the tables that it concerns."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coordinator.clock import iso
from coordinator.history import Line
from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.messages import to_json
from coordinator.reads import Item
from coordinator.validation.models import LASTING, VALIDATED_KINDS

log = logging.getLogger("coord.archive")

Database = sqlite3.Connection

AUDIT = frozenset(
    {
        *("enrolled", "rotated", "revoked", "login_refused", "refused"),
        *("kicked", "draining", "retracted", "dead_retried", "dead_dropped", "unit_retried"),
        "archive_left_behind",
    }
)
"""Events that are rows of the table audit, too."""

_SPOILED = (
    *(AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError),
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
)
"""What is raised for an event that is not as the coordinator writes it."""

_PUT_MESSAGE = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_EDGE = "INSERT OR REPLACE INTO lineage VALUES (?, ?, ?)"


def record_table(kind: Kind) -> str:
    return f"shared_{kind}s"


def write(database: Database, lines: Iterable[Line]) -> None:
    """Insert the rows of ``lines``, which follow on what the archive has. What is current, such as
    the verdict on a record, is changed in its place."""
    messages: list[tuple[Any, ...]] = []
    events: list[tuple[Any, ...]] = []
    for line in lines:
        try:
            if line.kind == "epoch":
                _begin(database, line)
            elif line.kind == "gap":
                _leave_out(database, line)
            elif line.kind == "message":
                messages.append(_message_row(line, line.data))
                _note_report(database, line, line.data)
            elif (sent := _sent(line)) is not None:
                messages.append(_message_row(line, sent))
                _note_report(database, line, sent)
            else:
                events.append(_event_row(line))
                _apply(database, line)
        except _SPOILED as error:
            log.warning("%s %d cannot be stored: %r", line.source, line.n, error)
            _leave_out(database, line)
    database.executemany(_PUT_MESSAGE, messages)
    database.executemany(_PUT_EVENT, events)


def _begin(database: Database, line: Line) -> None:
    row = (line.epoch, line.ms, line.n, line.data["events_n"], line.data.get("forgot", 0))
    database.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?)", row)


def _leave_out(database: Database, line: Line) -> None:
    row = (line.source, line.epoch, line.first, line.n, line.ms)
    database.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?)", row)


def _message_row(line: Line, message: Item) -> tuple[Any, ...]:
    target = message["target_ai"]
    return (
        *(line.source, line.epoch, line.n, line.ms),
        _text(message["message_id"]),
        _text(message["sender_id"]),
        _text(message["message_type"]),
        _text(message["timestamp"]),
        None if target is None else _text(target),
        to_json(message["payload"]),
    )


def _event_row(line: Line) -> tuple[Any, ...]:
    event = line.data
    told = (event["event"], event["ai"], event["text"], to_json(event["data"]))
    return (line.epoch, line.n, line.ms, *told)


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value)


def _sent(line: Line) -> Item | None:
    """The message that the event tells was sent to one AI; None for an event of another kind."""
    if line.data["event"] != "message":
        return None
    try:
        message: Item = json.loads(line.data["data"]["message"])
        _message_row(line, message)
    except _SPOILED:
        return None
    return message


def _note_report(database: Database, line: Line, message: Item) -> None:
    if message["message_type"] != "performance_report":
        return
    try:
        report = message["payload"]
        metrics = to_json({name: float(value) for name, value in report["performance"].items()})
        row = (report["component_id"], message["sender_id"], metrics, iso(line.ms))
        place = (line.ms, line.epoch, line.n, line.source)
        database.execute("INSERT INTO benchmarks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, *place))
    except _SPOILED as error:
        log.warning("%s %d is no performance report: %r", line.source, line.n, error)


def _apply(database: Database, line: Line) -> None:
    """Change what the event says has changed. One that strangers have spoiled changes nothing."""
    kind: str = line.data["event"]
    if kind in AUDIT:
        event = line.data
        row = (line.ms, kind, event["ai"], event["text"], to_json(event["data"]))
        database.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, line.epoch, line.n)
        )
    apply = _APPLY.get(kind)
    if apply is None:
        return
    database.execute("SAVEPOINT event")
    try:
        apply(database, line, line.data["data"])
    except _SPOILED as error:
        database.execute("ROLLBACK TO event")
        log.warning("event %d says nothing of use of %s: %r", line.n, kind, error)
    database.execute("RELEASE event")


# -- records ---------------------------------------------------------------------------------------


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


def _shared(database: Database, line: Line, data: Item) -> None:
    record_key = RecordKey(data["kind"], data["id"])
    origins = data.get("origins")
    names = None if origins is None else [origin["name"] for origin in origins]
    database.execute(
        _SHARE[record_key.kind],
        {
            "id": record_key.id,
            "record": to_json(data["record"]),
            "contributor": data["contributors"][0],
            "timestamp": iso(line.ms),
            "specialization": data["specialization"],
            "contributors": to_json(data["contributors"]),
            "origins": None if names is None else to_json(names),
            "ms": line.ms,
            "hash": data["hash"],
        },
    )
    touched = [record_key.name]
    if origins is not None:
        touched += _cut_off(database, record_key.name)
        edges = [(origin["name"], record_key.name, bool(origin["is_use"])) for origin in origins]
        database.executemany(_PUT_EDGE, edges)
        touched += names or []
    _count_uses(database, touched)


def _cut_off(database: Database, child: str) -> list[str]:
    """Take the edges up from ``child`` away; where they led to."""
    found = database.execute("SELECT parent FROM lineage WHERE child = ?", (child,)).fetchall()
    database.execute("DELETE FROM lineage WHERE child = ?", (child,))
    return [parent for (parent,) in found]


def _count_uses(database: Database, names: Iterable[str]) -> None:
    for name in dict.fromkeys(names):
        key = RecordKey.from_name(name)
        if key is not None:
            database.execute(_COUNT_USES[key.kind], {"name": name, "id": key.id})


def _retracted(database: Database, line: Line, data: Item) -> None:
    record_id: str = data["id"]
    database.execute("DELETE FROM benchmarks WHERE component_id = ?", (record_id,))
    for kind in data["kinds"]:
        name = RecordKey(kind, record_id).name
        database.execute(f"DELETE FROM {record_table(kind)} WHERE {kind}_id = ?", (record_id,))
        parents = _cut_off(database, name)
        database.execute("DELETE FROM lineage WHERE parent = ?", (name,))
        _count_uses(database, parents)


_OF_RECORD = ("kind", "component_id", "hash", "contributors")
"""What an event of a verdict says besides the verdict itself."""


def _validated(database: Database, line: Line, data: Item) -> None:
    verdict = {name: value for name, value in data.items() if name not in _OF_RECORD}
    kind, record_id = data["kind"], data["component_id"]
    word, score = verdict["verdict"], verdict.get("score")
    texts = [verdict.get(name, "") for name in ("problem", "workload", "evaluator", "cost_unit")]
    costs, reason = to_json(verdict.get("costs", {})), verdict.get("reason", "")
    row = (record_id, kind, data["contributors"][0], verdict["validator"], word, score, *texts)
    told = (costs, reason, bool(verdict["regression"]), line.ms, to_json(data))
    database.execute(
        f"INSERT INTO validations VALUES ({', '.join('?' * 17)})",
        (*row, *told, line.epoch, line.n),
    )
    quality = score if word == "passed" else None
    database.execute(
        f"UPDATE {record_table(kind)} SET verdict = ?, quality_score = ?, hash = ?"
        f" WHERE {kind}_id = ?",
        (to_json(verdict), quality, data["hash"], record_id),
    )
    _count_uses(database, [RecordKey(kind, record_id).name])


def _credited(database: Database, line: Line, data: Item) -> None:
    row = (line.data["ai"], data["contribution_score"], line.ms)
    database.execute("INSERT OR REPLACE INTO contributions VALUES (?, ?, ?)", row)


# -- work ------------------------------------------------------------------------------------------

_SESSION = ("id", "type", "initiator", "target", "description", "state")


def _session(database: Database, line: Line, data: Item) -> None:
    session = data["session"]
    result = session["result"]
    row = (
        *(session[name] for name in _SESSION),
        to_json(session["participants"]),
        *(session[name] for name in ("progress", "created_ms", "began_ms", "ended_ms", "reason")),
        session["component_id"],
        None if result is None else to_json(result),
        to_json(session),
    )
    database.execute(f"INSERT OR REPLACE INTO sessions VALUES ({', '.join('?' * len(row))})", row)


def _unit(database: Database, line: Line, data: Item) -> None:
    unit, n = data["unit"], data["attempt"]
    attempt = unit["attempts"][n - 1]
    output = data.get("output")
    row = (
        *(unit["id"], n, unit["session_id"], unit["name"], unit["kind"]),
        *(attempt["ai"], unit["state"], attempt["began_ms"], attempt["ended_ms"]),
        *(attempt["outcome"], attempt["reason"]),
        None if output is None else to_json(output),
    )
    database.execute(f"INSERT OR REPLACE INTO units VALUES ({', '.join('?' * len(row))})", row)


# -- who was there ---------------------------------------------------------------------------------


def _joined(database: Database, line: Line, data: Item) -> None:
    """One that is there already, and says something else of itself, does not join once more."""
    capabilities = to_json(data.get("capabilities", []))
    database.execute(
        "INSERT INTO ais VALUES (:ai, :specialization, :capabilities, :ms, :ms, NULL, 1)"
        " ON CONFLICT DO UPDATE SET specialization = :specialization,"
        " capabilities = :capabilities, joins = joins + (left_ms IS NOT NULL),"
        " last_joined_ms = CASE WHEN left_ms IS NULL THEN last_joined_ms ELSE :ms END,"
        " left_ms = NULL",
        {
            "ai": line.data["ai"],
            "specialization": data["specialization"],
            "capabilities": capabilities,
            "ms": line.ms,
        },
    )


def _left(database: Database, line: Line, data: Item) -> None:
    database.execute("UPDATE ais SET left_ms = ? WHERE ai = ?", (line.ms, line.data["ai"]))


_SESSION_EVENTS: Sequence[str] = (
    *("session_opened", "session_active", "session_completed", "session_failed"),
    *("session_cancelled", "session_declined", "session_expired"),
)
_UNIT_EVENTS: Sequence[str] = (
    *("unit_assigned", "unit_completed", "unit_failed", "unit_lost", "unit_cancelled"),
)
_APPLY: dict[str, Callable[[Database, Line, Item], None]] = {
    "shared": _shared,
    "retracted": _retracted,
    "validated": _validated,
    "credited": _credited,
    "joined": _joined,
    "left": _left,
    **dict.fromkeys(_SESSION_EVENTS, _session),
    **dict.fromkeys(_UNIT_EVENTS, _unit),
}
"""What changes by an event of that kind."""
