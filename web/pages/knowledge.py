"""What the fleet knows: the newest records, those that somebody looks for, and how far each problem
has come."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.reads import Item, index_of, rank_after, read_counts
from coordinator.record_search import matching_ids
from coordinator.specializations import CAPABILITIES
from reports.palette import colours_of
from web.fleet_reader import FleetReader
from web.pages.look import Look
from web.pages.records import Row, read_best_rows, read_rows
from web.parameters import RecordsQuery
from workers.ranking import PROBLEM_BY_NAME, problem_item


class KnowledgeQuery(RecordsQuery):
    """Records of which kind, and which of them."""

    kind: Kind = Field("pattern", description="Patterns, components or features.")
    limit: int = Field(50, ge=1, le=100, description="At most so many records.")

    @property
    def is_filtered(self) -> bool:
        return any((self.search, self.specialization, self.contributor))


class Progress(NamedTuple):
    """A problem, as ``workers.ranking`` tells it, and the best that passed."""

    problem: Item
    best: Row | None


def read_knowledge(look: Look, query: KnowledgeQuery) -> Item:
    reader = look.reader
    ids, cursor = _read_ids(reader, query)
    rows = read_rows(reader, [RecordKey(query.kind, record_id) for record_id in ids])
    if query.specialization is not None:  # those of a contributor are of several
        rows = [row for row in rows if row.specialization == query.specialization]
    is_first = query.cursor is None and not query.is_filtered
    return {
        "query": query,
        "counts": read_counts(reader.connection, reader.keys),
        "rows": rows,
        "colours": colours_of([*CAPABILITIES, *(row.specialization for row in rows)]),
        "cursor": cursor,
        "kinds": KINDS,
        "specializations": list(CAPABILITIES),
        "progress": _read_progress(reader) if is_first else [],
    }


def _read_ids(reader: FleetReader, query: KnowledgeQuery) -> tuple[list[str], str | None]:
    """The ids of a page, and the cursor of the next one. BadMessage for a cursor that is gone."""
    index = index_of(reader.keys, query.kind, query.specialization, query.contributor)
    start = rank_after(reader.connection, index, query.cursor)
    return matching_ids(reader.connection, index, start, query.search or "", query.limit)


def _read_progress(reader: FleetReader) -> list[Progress]:
    """How far each problem has come, those of one specialization first."""
    best = read_best_rows(reader, PROBLEM_BY_NAME, limit=1)
    return [
        Progress(problem_item(problem, None), next(iter(best[name]), None))
        for name, problem in PROBLEM_BY_NAME.items()
    ]
