"""What the fleet knows: patterns, components, features and reports, shared and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from coordinator import collaborations, credit, features, lineage
from coordinator.access import is_operator
from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.keys import RECORD_FIELD, Keys, Kind, RecordKey
from coordinator.messages import OPERATOR, to_json
from coordinator.orders import Retract
from coordinator.payloads import (
    CodeShare,
    ComponentShare,
    PatternShare,
    Payload,
    PerformanceReport,
    parse_payload,
)
from coordinator.reads import read_homes
from coordinator.records import is_free, store
from coordinator.settings import Settings
from coordinator.validation.models import VALIDATED_KINDS
from coordinator.validation.waiting_list import withdraw

SHARES: dict[str, Kind] = {
    "pattern_share": "pattern",
    "code_share": "component",
    "os_component_share": "feature",
}


class Found(NamedTuple):
    """A record to take back: the specializations under which each kind of it is listed, and what
    it is credited for."""

    homes: dict[Kind, list[str]]
    ledger: credit.Ledger


def shared_records(message: Incoming) -> Sequence[RecordKey]:
    """Which records it would look at: that which it would write to, unless that is no one's yet,
    and those that it may begin from."""
    own, record = _shared_in(message)
    return [*own, *lineage.named_parents(record)]


def derived_records(message: Incoming) -> Sequence[RecordKey]:
    """That which it would write to, if it says what this began from."""
    own, record = _shared_in(message)
    return own if "derived_from" in record else ()


def _shared_in(message: Incoming) -> tuple[list[RecordKey], dict[str, Any]]:
    """The key that a shared record names, if it names one, and the record; {} if there is none."""
    kind = SHARES.get(message.envelope.message_type)
    record = message.envelope.payload.get(RECORD_FIELD[kind]) if kind else None
    if kind is None or not isinstance(record, dict):
        return [], {}
    record_id = record.get("id")
    return [RecordKey(kind, record_id)] if isinstance(record_id, str) else [], record


def read_found(connection: redis.Redis, keys: Keys, _: Settings, message: Incoming) -> Found:
    """What is to be taken back."""
    record_id = parse_payload(Retract, message.envelope.payload).id
    homes = read_homes(connection, keys, record_id)
    record_keys = [RecordKey(kind, record_id) for kind in homes]
    return Found(homes, credit.read_ledger(connection, keys, *record_keys, all_above=True))


def pattern_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on what somebody learned."""
    return _share("pattern", _checked("pattern", PatternShare, message, context), message, context)


def code_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on code that somebody wrote."""
    return _share("component", _checked("component", CodeShare, message, context), message, context)


def os_component_share(message: Incoming, context: Context) -> list[Effect]:
    """Store and pass on a feature's component; it may fulfil requests, or complete a session."""
    component = _checked("feature", ComponentShare, message, context)
    share = parse_payload(ComponentShare, message.envelope.payload)
    session = collaborations.completed_by(message.sender, share, component, context)
    return [
        *_share("feature", component, message, context),
        *collaborations.component_shared(session, message.sender, component, context),
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
    """An operator takes a record back, and with it what it earned."""
    record_id = parse_payload(Retract, message.envelope.payload).id
    found: Found = context.found
    if not found.homes:
        raise BadMessage(
            "not_found",
            f"payload.id names no pattern, component or feature: {record_id!r}; `coord patterns` "
            "and `coord components` list them",
            "payload.id",
        )
    keys = context.keys
    writes: list[Effect] = [Write(("DEL", keys.benchmarks(record_id)))]
    writes += credit.retracted(found.ledger, keys)
    for kind, specializations in found.homes.items():
        record_key = RecordKey(kind, record_id)
        if kind in VALIDATED_KINDS:
            writes += withdraw(record_key, context)
        writes.append(Write(("DEL", keys.record(*record_key))))
        indexes = [
            *(keys.records(kind, specialization) for specialization in (None, *specializations)),
            *(keys.records_of(kind, ai) for ai in context.fleet.contributors[record_key]),
        ]
        writes += [Write(("ZREM", index, record_id)) for index in indexes]
        context.fleet.contributors[record_key] = context.fleet.origins[record_key] = ()
    kinds = ", ".join(found.homes)
    text = f"{message.sender} retracted {kinds} {record_id}"
    return [
        *writes,
        Event("retracted", OPERATOR, text, {"id": record_id, "kinds": list(found.homes)}),
    ]


def _checked(
    kind: Kind, model: type[Payload], message: Incoming, context: Context
) -> dict[str, Any]:
    """The record in the payload, with an id. BadMessage unless it may be shared; what a message is
    refused for is found out before anything changes."""
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
    if "derived_from" in record:
        lineage.check(record, f"payload.{field}")
    return record


def _share(kind: Kind, record: dict[str, Any], message: Incoming, context: Context) -> list[Effect]:
    """Store the record and pass the message on.

    The first contributor is kept, and its later shares of the id count as revisions. Scores in it
    are claims: they are stored as they came, and nothing is ordered by them.
    """
    specialization = record.get("specialization") or _specialization_of(message, context)
    return [*store(kind, record, specialization, [message.sender], context), *pass_on(message)]


def _check_contributor(kind: Kind, record_id: str, message: Incoming, context: Context) -> None:
    """BadMessage for a record of somebody else's; operators may replace it."""
    if is_free(kind, record_id, [message.sender], context) or is_operator(message.sender, context):
        return
    owner = context.fleet.contributors[RecordKey(kind, record_id)][0]
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
