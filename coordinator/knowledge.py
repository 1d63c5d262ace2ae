"""What the fleet knows: patterns, components, features and reports, shared and taken back."""

from __future__ import annotations

from typing import Any

from coordinator import collaborations, features
from coordinator.access import is_operator
from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.fleet import RecordKey
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
from coordinator.records import is_free, store

SHARES: dict[str, Kind] = {
    "pattern_share": "pattern",
    "code_share": "component",
    "os_component_share": "feature",
}


def shared_record(message: Incoming) -> RecordKey | None:
    """Which record it would write to; None if that is no one's yet, or cannot be told."""
    kind = SHARES.get(message.envelope.message_type)
    record = message.envelope.payload.get(RECORD_FIELD[kind]) if kind else None
    record_id = record.get("id") if isinstance(record, dict) else None
    return (kind, record_id) if kind and isinstance(record_id, str) else None


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
        context.fleet.contributors[kind, record_id] = ()
        for specialization in (None, *specializations):
            writes.append(Write(("ZREM", keys.records(kind, specialization), record_id)))
    kinds = ", ".join(found)
    text = f"{message.sender} retracted {kinds} {record_id}"
    return [*writes, Event("retracted", OPERATOR, text, {"id": record_id, "kinds": list(found)})]


def _share(kind: Kind, model: type[Payload], message: Incoming, context: Context) -> list[Effect]:
    """Store the record in the payload and pass the message on.

    The first contributor is kept, and its later shares of the id count as revisions. Scores in it
    are claims: they are stored as they came, and nothing is ordered by them.
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
    _check_contributor(kind, record["id"], message, context)
    specialization = record.get("specialization") or _specialization_of(message, context)
    writes = store(kind, record, specialization, [message.sender], context)
    text = f"{message.sender} shared {kind} {record['id']} ({specialization})"
    return [*writes, *pass_on(message), Note(text)]


def _check_contributor(kind: Kind, record_id: str, message: Incoming, context: Context) -> None:
    """BadMessage for a record of somebody else's; operators may replace it."""
    if is_free(kind, record_id, [message.sender], context) or is_operator(message.sender, context):
        return
    owner = context.fleet.contributors[kind, record_id][0]
    field = f"payload.{RECORD_FIELD[kind]}.id"
    raise BadMessage(
        "forbidden",
        f"{field} {record_id!r} is a {kind} of {owner}, which nobody else may replace; give yours "
        "another id, or none to be given one",
        field,
    )


def _specialization_of(message: Incoming, context: Context) -> str:
    ai = context.fleet.ais.get(message.sender)
    return ai.specialization if ai else "general"
