"""Who is there, and what each AI is and does."""

from __future__ import annotations

from coordinator.reads import Item, read_ais_with_work
from web.pages.look import Look
from web.parameters import AisQuery


def read_fleet(look: Look, query: AisQuery) -> Item:
    reader = look.reader
    given = (query.limit, query.specialization, query.capability, query.cursor)
    page = read_ais_with_work(reader.connection, reader.keys, *given)
    return {"ais": page, "query": query, "now_ms": reader.clock.now_ms()}
