"""What the fleet knows: patterns, components, features and reports, shared and taken back."""

from __future__ import annotations

from typing import Any

from coordinator import collaborations, features
from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.keys import RECORD_FIELD, Kind
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
from coordinator.records import store


def pattern_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on what somebody learned."""
    return _share("pattern", PatternShare, message, context)


def code_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on code that somebody wrote."""
    return _share("component", CodeShare, message, context)


def os_component_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on a feature's component; it may fulfil requests, or complete a session."""
    shared = _share("feature", ComponentShare, message, context)
    share = parse_payload(ComponentShare, message.envelope.payload)
    component = message.envelope.payload["component"]
    return [
        *shared,
        *collaborations.component_shared(message, share, component, context),
        *features.component_shared(message, share, component, context),
    ]


def performance_report(message: Incoming, context: Context) -> list[Effect]:
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


def retract(message: Incoming, context: Context) -> list[Effect]:
    """An operator takes a record back. ``found`` tells under what it is to be found."""
    record_id = parse_payload(Retract, message.envelope.payload).id
    found: dict[Kind, list[str]] = context.found
    if not found:
        raise BadMessage(
            "not_found",
            f"payload.id names no pattern, component or feature: {record_id!r}; `coord patterns` "
            "and `coord components` list them",
            "payload.id",
        )
    keys = context.keys
    writes = [Write(("DEL", keys.benchmarks(record_id)))]
    for kind, specializations in found.items():
        writes.append(Write(("DEL", keys.record(kind, record_id))))
        for specialization in (None, *specializations):
            writes.append(Write(("ZREM", keys.records(kind, specialization), record_id)))
    kinds = ", ".join(found)
    text = f"{message.sender} retracted {kinds} {record_id}"
    return [*writes, Event("retracted", OPERATOR, text, {"id": record_id, "kinds": list(found)})]


def _share(kind: Kind, model: type[Payload], message: Incoming, context: Context) -> list[Effect]:
    """Store the record in the payload and pass the message on.

    The first contributor is kept and later shares of the id count as revisions. Scores in it are
    claims: they are stored as they came, and nothing is ordered by them.
    """
    field = RECORD_FIELD[kind]
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
        record["id"] = context.ids.new()
    specialization = record.get("specialization") or _specialization_of(message, context)
    writes = store(kind, record, specialization, [message.sender], context)
    text = f"{message.sender} shared {kind} {record['id']} ({specialization})"
    return [*writes, *pass_on(message), Note(text)]


def _specialization_of(message: Incoming, context: Context) -> str:
    ai = context.fleet.ais.get(message.sender)
    return ai.specialization if ai else "general"
