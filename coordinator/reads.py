"""Reads of a fleet's state, in the shapes that clients and people see."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis

from coordinator.clock import LAST_MS, iso
from coordinator.keys import KINDS, RECORD_FIELD, Keys, Kind
from coordinator.record_search import EVERY_RECORD, Wanted, containing, read_record_ids
from coordinator.stored import (
    json_of,
    number_of,
    read_hashes,
    read_one,
    replies_of,
    text_of,
    whole_number,
)
from coordinator.validation.models import parse_verdict, queued_ms_of

Item = dict[str, Any]

log = logging.getLogger("coord")

READ_AT_ONCE = 10
SHOWCASE_MAX_BYTES = 512 * 1024
WORK = ("units_completed", "units_failed", "collaborations_completed", "features_implemented")
CONTRIBUTION = "contribution_score"
CLAIMS = ("confidence", "test_coverage", "performance_score")
"""What a contributor says of a record's worth, in the record itself."""


class Page(NamedTuple):
    """Some items, the cursor of the next page (None at the end), and how many there are in all."""

    items: list[Item]
    cursor: str | None
    total: int


def read_records(
    connection: redis.Redis,
    keys: Keys,
    kind: Kind,
    limit: int,
    wanted: Wanted = EVERY_RECORD,
    cursor: str | None = None,
    max_bytes: int | None = None,
) -> Page:
    """The newest of the ``wanted`` records, newest first, as ``read_record_ids`` finds them.

    No more are read once they have ``max_bytes``. Of a contributor all are counted, and a page of
    them has those of the specialization. BadMessage for a cursor that is gone.
    """
    ids, next_cursor, total = read_record_ids(connection, keys, kind, wanted, limit, cursor)
    items, read = _read_items(connection, keys, kind, ids, wanted.specialization, max_bytes)
    return Page(items, ids[read - 1] if read < len(ids) else next_cursor, total)


def _read_items(
    connection: redis.Redis,
    keys: Keys,
    kind: Kind,
    ids: Sequence[str],
    specialization: str | None,
    max_bytes: int | None,
) -> tuple[list[Item], int]:
    """Those records as items, if they are (still) of ``specialization``; and how many of ``ids``
    were read, no more once they have ``max_bytes``."""
    items: list[Item] = []
    read = size_bytes = 0
    while read < len(ids) and (max_bytes is None or size_bytes < max_bytes):
        chunk = ids[read : read + READ_AT_ONCE]
        read += len(chunk)
        for fields, uses in _read_stored(connection, keys, kind, chunk):
            size_bytes += len(fields.get(b"record", b""))
            items += _readable(kind, fields, uses)
    if specialization is not None:
        items = [item for item in items if item["specialization"] == specialization]
    return items, read


def read_record(connection: redis.Redis, keys: Keys, kind: Kind, record_id: str) -> Page:
    """The record of that id alone, if there is one."""
    ((fields, uses),) = _read_stored(connection, keys, kind, [record_id])
    items = _readable(kind, fields, uses)
    return Page(items, None, len(items))


def _readable(kind: Kind, fields: Mapping[bytes, bytes], uses: int) -> list[Item]:
    """The record as an item; none if it is gone, or strangers have spoiled it."""
    if b"record" not in fields:
        return []
    try:
        return [record_item(kind, fields, uses)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("left out a %s that cannot be read: %r", kind, error)
        return []


def _read_stored(
    connection: redis.Redis, keys: Keys, kind: Kind, ids: Sequence[str]
) -> list[tuple[dict[bytes, bytes], int]]:
    """The hash of each record, and how many records of other AIs began from it."""
    with connection.pipeline(transaction=False) as pipe:
        for record_id in ids:
            pipe.hgetall(keys.record(kind, record_id))
            pipe.zcount(keys.derived(kind, record_id), 1, 1)
        replies = replies_of(pipe)
    return [
        (fields or {}, uses or 0) for fields, uses in zip(replies[::2], replies[1::2], strict=True)
    ]


def record_item(kind: Kind, fields: Mapping[bytes, bytes], uses: int) -> Item:
    """A stored record as clients see it, from which ``uses`` records of others began. What has not
    passed a validation has no quality_score."""
    record = json.loads(fields[b"record"])
    verdict = verdict_of(fields)
    item: Item = {
        "id": record["id"],
        "specialization": text_of(fields.get(b"specialization")),
        "contributor": text_of(fields.get(b"contributor")),
        "timestamp": text_of(fields.get(b"timestamp")),
        "revision": whole_number(fields.get(b"revision")),
        "usage_count": usage_count(kind, verdict, uses),
    }
    item[RECORD_FIELD[kind]] = record
    if kind == "pattern":
        return item
    item |= {
        "quality_score": quality_of(fields),
        "integration_tested": verdict == "passed",
        "validation": _validation_of(fields),
    }
    if kind == "feature":
        item["performance_benchmarks"] = {}
    return item


def verdict_of(fields: Mapping[bytes, bytes]) -> str | None:
    """At what a record stands: its verdict, ``waiting`` until there is one, None if nobody is asked
    for one."""
    validation = _validation_of(fields)
    return str(validation["verdict"]) if validation else None


def usage_count(kind: Kind, verdict: str | None, uses: int) -> int:
    """How often others began from a record. From a component or feature nobody can be said to have
    begun before it passed: its uses count while it stands at that."""
    return uses if kind == "pattern" or verdict == "passed" else 0


def _validation_of(fields: Mapping[bytes, bytes]) -> Item | None:
    """What was found of a record, which holds until there is another verdict on it."""
    if verdict := parse_verdict(fields.get(b"validation")):
        return verdict
    since_ms = queued_ms_of(fields.get(b"validating", b""))
    if since_ms is None:
        return None
    return {"verdict": "waiting", "reason": "", "since": iso(since_ms)}


def quality_of(fields: Mapping[bytes, bytes]) -> float | None:
    """None if the record has not passed a validation, or if that cannot be read."""
    return number_of(fields.get(b"quality_score"))


def read_benchmarks(
    connection: redis.Redis, keys: Keys, component_ids: Iterable[str], limit: int
) -> dict[str, list[Item]]:
    """The newest reports of each component that has any, newest first."""
    ids = list(component_ids)
    with connection.pipeline(transaction=False) as pipe:
        for component_id in ids:
            pipe.xrevrange(keys.benchmarks(component_id), count=limit)
        reports = [
            [report for _, fields in entries or () for report in _readable_report(fields)]
            for entries in replies_of(pipe)
        ]
    return {
        component_id: readable
        for component_id, readable in zip(ids, reports, strict=True)
        if readable
    }


def _readable_report(fields: Mapping[bytes, bytes]) -> list[Item]:
    """A performance report; none if strangers have spoiled it."""
    ms, metrics = whole_number(fields.get(b"ms")), json_of(fields.get(b"metrics"))
    if not isinstance(metrics, dict) or ms > LAST_MS:
        return []
    reporter = text_of(fields.get(b"reporter"))
    return [{"reporter": reporter, "timestamp": iso(ms), "metrics": metrics}]


def read_counts(connection: redis.Redis, keys: Keys) -> Item:
    """How many there are of everything; ``messages`` by type since the fleet began."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.leases)
        for kind in KINDS:
            pipe.zcard(keys.records(kind))
        pipe.zcard(keys.validations)
        pipe.hgetall(keys.totals)
        *counts, totals = replies_of(pipe)
    ais, patterns, components, features, validations = (count or 0 for count in counts)
    by_type = {text_of(name): whole_number(count) for name, count in (totals or {}).items()}
    return {
        "ais": ais,
        "patterns": patterns,
        "components": components,
        "features": features,
        "open_validations": validations,
        "messages": sum(by_type.values()),
        "messages_by_type": dict(sorted(by_type.items())),
    }


def read_ais(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    specialization: str | None = None,
    capability: str | None = None,
    cursor: str | None = None,
    search: str = "",
) -> Page:
    """Live AIs in the order of their ids; ``cursor`` is the id to go on after. Their ids have
    ``search`` in them, in upper or lower case."""
    sets = []
    if specialization is not None:
        sets.append(keys.specialization(specialization))
    if capability is not None:
        sets.append(keys.capability(capability))
    listed = ("SINTER", *sets) if sets else ("ZRANGE", keys.leases, 0, -1)
    ids = sorted(containing(search, map(text_of, read_one(connection, *listed) or ())))
    later = [ai for ai in ids if cursor is None or ai > cursor]
    shown = later[:limit]
    hashes = read_hashes(connection, [keys.ai(ai) for ai in shown])
    pairs = zip(shown, hashes, strict=True)
    items = [item for ai, fields in pairs for item in _readable_ai(ai, fields)]
    return Page(items, later[limit - 1] if len(later) > limit else None, len(ids))


def read_ai(connection: redis.Redis, keys: Keys, ai: str) -> Page:
    """The AI of that id alone, if it is there."""
    (fields,) = read_hashes(connection, [keys.ai(ai)])
    items = _readable_ai(ai, fields)
    return Page(items, None, len(items))


def _readable_ai(ai: str, fields: dict[bytes, bytes]) -> list[Item]:
    """The AI as an item; none if its record has expired, or strangers have spoiled it."""
    if b"specialization" not in fields:
        return []
    try:
        return [ai_item(ai, fields)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("left out AI %s, which cannot be read: %r", ai, error)
        return []


def ai_item(ai: str, fields: dict[bytes, bytes]) -> Item:
    """ValueError, KeyError or TypeError for what the coordinator never writes."""
    return {
        "ai_id": ai,
        "specialization": fields[b"specialization"].decode(),
        "capabilities": [str(word) for word in json.loads(fields[b"capabilities"])],
        "status": fields[b"status"].decode(),
        "load": number_of(fields[b"load"]) or 0.0,
        "instance": fields[b"instance"].decode(),
        "door": fields[b"door"].decode(),
        "joined_ms": _moment(fields[b"joined_ms"]),
        "heartbeat_ms": _moment(fields[b"heartbeat_ms"]),
    }


def _moment(stored: bytes) -> int:
    """When something was. ValueError for what no calendar has."""
    ms = int(stored)
    if not 0 <= ms <= LAST_MS:
        raise ValueError(f"{ms} is no time in ms since 1970")
    return ms


def with_work(connection: redis.Redis, keys: Keys, ais: Iterable[Item]) -> list[Item]:
    """Those AIs, each with what it has done since it first joined, by the names in WORK, and with
    its CONTRIBUTION; in one round trip."""
    listed = list(ais)
    with connection.pipeline(transaction=False) as pipe:
        for ai in listed:
            pipe.hmget(keys.member(ai["ai_id"]), *WORK, CONTRIBUTION)
        rows = [row or [None] * (len(WORK) + 1) for row in replies_of(pipe)]
    return [
        ai
        | {name: whole_number(count) for name, count in zip(WORK, counts, strict=True)}
        | {CONTRIBUTION: number_of(score) or 0.0}
        for ai, (*counts, score) in zip(listed, rows, strict=True)
    ]


def read_ais_with_work(
    connection: redis.Redis,
    keys: Keys,
    limit: int,
    specialization: str | None = None,
    capability: str | None = None,
    cursor: str | None = None,
    search: str = "",
) -> Page:
    """As ``read_ais``, each ``with_work``."""
    page = read_ais(connection, keys, limit, specialization, capability, cursor, search)
    return page._replace(items=with_work(connection, keys, page.items))


class Showcase(NamedTuple):
    """What a newcomer is shown: of each kind the newest, and what was reported of them."""

    pages: dict[Kind, Page]
    benchmarks: dict[str, list[Item]]


def read_showcase(connection: redis.Redis, keys: Keys, keep: int) -> Showcase:
    """The newest ``keep`` of each kind; a feature with the newest report of it."""
    pages = {
        kind: read_records(connection, keys, kind, keep, max_bytes=SHOWCASE_MAX_BYTES)
        for kind in KINDS
    }
    features = pages["feature"].items
    ids = [item["id"] for item in (*pages["component"].items, *features)]
    benchmarks = read_benchmarks(connection, keys, ids, limit=5)
    for item in features:
        if item["id"] in benchmarks:
            item["performance_benchmarks"] = benchmarks[item["id"]][0]["metrics"]
    return Showcase(pages, benchmarks)


def read_homes(connection: redis.Redis, keys: Keys, record_id: str) -> dict[Kind, list[str]]:
    """Of which kinds there is a record with this id, and under which specializations."""
    found: dict[Kind, list[str]] = {}
    hashes = read_hashes(connection, [keys.record(kind, record_id) for kind in KINDS])
    for kind, fields in zip(KINDS, hashes, strict=True):
        if fields:
            names = [text_of(name) for name in fields if name.startswith(b"in:")]
            found[kind] = sorted(name.removeprefix("in:") for name in names)
    return found


def read_dead_letter(
    connection: redis.Redis, keys: Keys, letter_id: str
) -> dict[bytes, bytes] | None:
    entries = cast(Any, connection.xrange(keys.dead, letter_id, letter_id))
    return cast("dict[bytes, bytes]", entries[0][1]) if entries else None
