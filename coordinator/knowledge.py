"""What the fleet knows: patterns, components, features and reports, shared and taken back."""

from __future__ import annotations

from typing import Any

from coordinator.clock import iso
from coordinator.context import Context, Message, pass_on
from coordinator.effects import Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.keys import Kind
from coordinator.messages import OPERATOR, to_json
from coordinator.payloads import (
    CodeShare,
    ComponentShare,
    PatternShare,
    Payload,
    PerformanceReport,
    Retract,
    parse_payload,
)


def pattern_share(message: Message, context: Context) -> list[Effect]:
    return _share("pattern", "pattern", PatternShare, message, context)


def code_share(message: Message, context: Context) -> list[Effect]:
    return _share("component", "code", CodeShare, message, context)


def os_component_share(message: Message, context: Context) -> list[Effect]:
    return _share("feature", "component", ComponentShare, message, context)


def performance_report(message: Message, context: Context) -> list[Effect]:
    """Append what somebody measured of a component: the reporter's word, which ranks nothing."""
    report = parse_payload(PerformanceReport, message.envelope.payload)
    entry = ("reporter", message.sender, "ms", context.now_ms)
    write = Write(
        (
            "XADD",
            context.keys.benchmarks(report.component_id),
            "MAXLEN",
            context.settings.benchmarks_keep,
            "*",
            *entry,
            "metrics",
            to_json(report.performance),
        )
    )
    text = f"{message.sender} reported on {report.component_id}"
    return [write, *pass_on(message), Note(text)]


def retract(message: Message, context: Context) -> list[Effect]:
    """An operator takes a record back. ``found`` maps the kinds that have it to specializations."""
    record_id = parse_payload(Retract, message.envelope.payload).id
    found: dict[Kind, str] = context.found
    if not found:
        raise BadMessage(
            "not_found",
            f"payload.id names no pattern, component or feature: {record_id!r}; `coord patterns` "
            "and `coord components` list them",
            "payload.id",
        )
    keys = context.keys
    writes = [Write(("DEL", keys.benchmarks(record_id)))]
    for kind, specialization in found.items():
        writes.append(Write(("DEL", keys.record(kind, record_id))))
        writes.append(Write(("ZREM", keys.records(kind), record_id)))
        writes.append(Write(("ZREM", keys.records(kind, specialization), record_id)))
    kinds = ", ".join(found)
    text = f"{message.sender} retracted {kinds} {record_id}"
    return [*writes, Event("retracted", OPERATOR, text, {"id": record_id, "kinds": list(found)})]


def _share(
    kind: Kind, field: str, model: type[Payload], message: Message, context: Context
) -> list[Effect]:
    """Store what ``field`` of the payload holds and pass the message on.

    The first contributor is kept and later shares of the id count as revisions. Scores in it are
    claims: they are stored as they came, and nothing is ordered by them.
    """
    payload = message.envelope.payload
    if not payload.get(field):
        raise BadMessage(
            "bad_payload",
            f"payload.{field} is missing or empty; it must be an object that says what is shared",
            f"payload.{field}",
        )
    parse_payload(model, payload)
    record: dict[str, Any] = payload[field]
    if record.get("id") is None:
        record = {**record, "id": context.ids.new()}
        payload = {**payload, field: record}
    specialization = record.get("specialization") or _specialization_of(message, context)
    writes = _store(kind, record, specialization, message.sender, context)
    text = f"{message.sender} shared {kind} {record['id']} ({specialization})"
    return [*writes, *pass_on(message, payload), Note(text)]


def _specialization_of(message: Message, context: Context) -> str:
    ai = context.fleet.ais.get(message.sender)
    return ai.specialization if ai else "general"


def _store(
    kind: Kind, record: dict[str, Any], specialization: str, contributor: str, context: Context
) -> list[Effect]:
    keys = context.keys
    record_id = record["id"]
    key = keys.record(kind, record_id)
    latest = ("record", to_json(record), "specialization", specialization)
    return [
        Write(("HSET", key, *latest, "shared_ms", context.now_ms, "revised_by", contributor)),
        Write(("HSETNX", key, "contributor", contributor)),
        Write(("HSETNX", key, "timestamp", iso(context.now_ms))),
        Write(("HINCRBY", key, "revision", 1)),
        Write(("ZADD", keys.records(kind), context.now_ms, record_id)),
        Write(("ZADD", keys.records(kind, specialization), context.now_ms, record_id)),
    ]
