"""Stored records of what is shared: patterns, components and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coordinator import lineage
from coordinator.clock import iso
from coordinator.context import Context
from coordinator.effects import Effect, Event, Write
from coordinator.keys import Kind, RecordKey
from coordinator.messages import to_json
from coordinator.validation.models import VALIDATED_KINDS
from coordinator.validation.waiting_list import submit


def is_free(kind: Kind, record_id: str, contributors: Sequence[str], context: Context) -> bool:
    """Whether ``contributors`` may share a record under that id: nobody else has, or one of them
    had a part in it."""
    known = context.fleet.contributors[RecordKey(kind, record_id)]
    return not known or any(ai in known for ai in contributors)


def store(
    kind: Kind,
    record: dict[str, Any],
    specialization: str,
    contributors: Sequence[str],
    context: Context,
) -> list[Effect]:
    """Store ``record`` under its id with what it began from, and have it validated. The first
    contributor is kept, later shares count as revisions; of several contributors all are named."""
    keys = context.keys
    record_key = RecordKey(kind, record["id"])
    key = keys.record(*record_key)
    known = context.fleet.contributors
    sharer = contributors[0]
    contributors = tuple(dict.fromkeys((*known[record_key], *contributors)))
    known[record_key] = contributors
    latest = ["record", to_json(record), "specialization", specialization]
    if len(contributors) > 1:
        latest += ["contributors", to_json(contributors)]
    origins = lineage.derived(kind, record, contributors, context)
    submitted: list[Effect] = []
    if kind in VALIDATED_KINDS:
        submitted = submit(record_key, record, specialization, sharer, context)
    indexes = [
        keys.records(kind),
        keys.records(kind, specialization),
        *(keys.records_of(kind, ai) for ai in contributors),
    ]
    return [
        Write(("HSET", key, *latest, f"in:{specialization}", 1)),
        Write(("HSETNX", key, "contributor", contributors[0])),
        Write(("HSETNX", key, "timestamp", iso(context.now_ms))),
        Write(("HINCRBY", key, "revision", 1)),
        *(Write(("ZADD", index, context.now_ms, record_key.id)) for index in indexes),
        *origins,
        _shared(record_key, record, specialization, sharer, bool(origins), context),
        *submitted,
    ]


def _shared(
    record_key: RecordKey,
    record: dict[str, Any],
    specialization: str,
    sharer: str,
    has_origins: bool,
    context: Context,
) -> Event:
    """That it was shared, with all that the history tells of it. One that names no origins keeps
    those that it had."""
    fleet = context.fleet
    kind, record_id = record_key
    data: dict[str, Any] = {
        "kind": kind,
        "id": record_id,
        "specialization": specialization,
        "contributors": fleet.contributors[record_key],
        "record": record,
        "hash": fleet.judged[record_key].hash if kind in VALIDATED_KINDS else "",
    }
    if has_origins:
        data["origins"] = lineage.named_origins(record_key, context)
    return Event("shared", sharer, f"{sharer} shared {record_key} ({specialization})", data)
