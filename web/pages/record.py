"""One record, whole: what it is, what was found of it, and who built on whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from pydantic import Field

from coordinator.clock import ms_of
from coordinator.keys import RECORD_FIELD, Kind
from coordinator.lineage_reads import read_lineage
from coordinator.reads import CLAIMS, Item, read_benchmarks, read_record
from coordinator.stored import finite_number, json_of
from coordinator.validation.models import VALIDATED_KINDS, language_of
from reports import formats
from reports.best import SOURCES, programs_of
from reports.palette import colours_of
from web.answers import ApiError
from web.pages.lineage import picture_of
from web.pages.look import Look
from web.pages.records import Row, claimed_gap, row_of
from web.pages.verdict import verdict_of
from web.parameters import Query, RecordId
from workers.ranking import PROBLEM_BY_NAME

MAKERS_MAX = 16
REPORTS = 10
METRICS_MAX = 12
"""So many numbers of a report are shown."""
LINEAGE_RECORDS = 25


class WholeQuery(Query):
    """Which record, and how far its lineage is shown."""

    kind: Kind
    id: RecordId
    depth: int = Field(3, ge=1, le=16, description="So many generations before it, and after it.")


class Report(NamedTuple):
    """What ``reporter`` says to have measured, a number by each name; ``more`` are left out."""

    reporter: str
    ms: int | None
    metrics: list[tuple[str, str]]
    more: int


def read_whole(look: Look, query: WholeQuery) -> Item:
    """Raises ApiError ``not_found``."""
    reader = look.reader
    place = (reader.connection, reader.keys)
    items = read_record(*place, query.kind, query.id).items
    lineage = read_lineage(*place, query.id, query.depth, LINEAGE_RECORDS, [query.kind])
    if not (items and lineage.roots):
        detail = f"there is no {query.kind} {query.id!r}: it was never shared, or it was taken back"
        raise ApiError("not_found", detail, "id")
    (item,), (key,) = items, lineage.roots
    record = item[RECORD_FIELD[query.kind]]
    row = row_of(key, lineage.nodes[key], claimed_gap(record))
    programs = programs_of(record)
    shown_apart = SOURCES if programs else ()
    return {
        "title": formats.name(query.id),
        "query": query,
        "row": row,
        "revision": item["revision"],
        "makers": _read_makers(look, row),
        "about": _about(record),
        "claims": _claims(record, row),
        "verdict": verdict_of(item["validation"]) if item.get("validation") else None,
        "is_judged": query.kind in VALIDATED_KINDS,
        "problems": PROBLEM_BY_NAME,
        "programs": programs,
        "rest": {name: value for name, value in record.items() if name not in shown_apart},
        "reports": _read_reports(look, query),
        "picture": picture_of(lineage),
        "colours": colours_of([row.specialization]),
    }


def _read_makers(look: Look, row: Row) -> list[str]:
    """All who had a part in it, whoever shared it first being the first."""
    name = look.reader.keys.record(*row.key)
    stored = json_of(cast("bytes | None", look.reader.connection.hget(name, "contributors")))
    named = [one for one in stored if isinstance(one, str)] if isinstance(stored, list) else []
    return list(dict.fromkeys([row.maker, *named]))[:MAKERS_MAX]


def _about(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What its maker calls it."""
    told = {name: record.get(name) for name in ("name", "component_name", "type", "description")}
    told["language"] = language_of(record)
    return [
        (name.replace("_", " "), text)
        for name, text in told.items()
        if isinstance(text, str) and text.strip()
    ]


def _claims(record: Mapping[str, Any], row: Row) -> list[tuple[str, str]]:
    """What its maker says of its worth: nobody measured that."""
    numbers = {name.replace("_", " "): finite_number(record.get(name)) for name in CLAIMS}
    shown = [(name, f"{number:.3g}") for name, number in numbers.items() if number is not None]
    gap = [] if row.claimed is None else [("gap closed", formats.percent(row.claimed))]
    return [*gap, *shown]


def _read_reports(look: Look, query: WholeQuery) -> list[Report]:
    """The newest that AIs sent of it."""
    place = (look.reader.connection, look.reader.keys)
    found = read_benchmarks(*place, [query.id], REPORTS).get(query.id, [])
    return [_report(one) for one in found]


def _report(found: Item) -> Report:
    shown = [(name, formats.cost(value)) for name, value in found["metrics"].items()]
    metrics = [(name, text) for name, text in shown if text][:METRICS_MAX]
    ms = ms_of(found["timestamp"])
    return Report(found["reporter"], ms, metrics, len(found["metrics"]) - len(metrics))
