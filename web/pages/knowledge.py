"""What the fleet knows: the newest records, those that somebody looks for, and how far each problem
has come."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.reads import Item, read_counts
from coordinator.record_search import Wanted, read_record_ids
from coordinator.specializations import CAPABILITIES
from reports import formats
from reports.palette import colours_of
from web.fleet_reader import FleetReader
from web.pages.look import Look
from web.pages.records import Row, read_best_rows, read_rows
from web.pages.urls import page_url
from web.parameters import CursorQuery, RecordsFilter
from workers.ranking import PROBLEM_BY_NAME, problem_item

ROWS = 50


class KnowledgeQuery(RecordsFilter, CursorQuery):
    """Records of which kind, and which of them."""

    kind: Kind = Field("pattern", description="Patterns, components or features.")

    @property
    def is_filtered(self) -> bool:
        return any((self.search, self.specialization, self.contributor))


class Progress(NamedTuple):
    """A problem, as ``workers.ranking`` tells it, and the best that passed."""

    problem: Item
    best: Row | None


def read_knowledge(look: Look, query: KnowledgeQuery) -> Item:
    """Raises BadMessage for a cursor that is gone."""
    reader = look.reader
    place = (reader.connection, reader.keys)
    wanted = Wanted(query.specialization, query.contributor, query.search or "")
    found = read_record_ids(*place, query.kind, wanted, ROWS, query.cursor)
    rows = read_rows(reader, [RecordKey(query.kind, record_id) for record_id in found.ids])
    if query.specialization is not None:  # those of a contributor are of several
        rows = [row for row in rows if row.specialization == query.specialization]
    counts = read_counts(*place)
    is_first = query.cursor is None and not query.is_filtered
    return {
        "query": query,
        "counts": counts,
        "rows": rows,
        "colours": colours_of([*CAPABILITIES, *(row.specialization for row in rows)]),
        "cursor": found.cursor,
        "kinds": [_tab(kind, counts[f"{kind}s"], query) for kind in KINDS],
        "specializations": list(CAPABILITIES),
        "progress": _read_progress(reader) if is_first else [],
    }


def _tab(kind: Kind, count: int, query: KnowledgeQuery) -> tuple[str, str, bool]:
    """Leads to those of another kind that pass the same filters."""
    filters = query.model_dump(exclude={"kind", "cursor"})
    url = page_url("/knowledge", kind=kind, **filters)
    return f"{kind.capitalize()}s ({formats.grouped(count)})", url, kind == query.kind


def _read_progress(reader: FleetReader) -> list[Progress]:
    """How far each problem has come, those of one specialization first."""
    best = read_best_rows(reader, PROBLEM_BY_NAME, limit=1)
    return [
        Progress(problem_item(problem, None), next(iter(best[name]), None))
        for name, problem in PROBLEM_BY_NAME.items()
    ]
