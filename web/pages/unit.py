"""A unit of a session: what it was given, who tried it, and what came out."""

from __future__ import annotations

from pydantic import Field

from coordinator.reads import Item
from coordinator.session_reads import read_units
from web.answers import ApiError
from web.pages.look import Look
from web.pages.session import kept_session, may_retry
from web.parameters import SessionQuery, UnitId


class UnitQuery(SessionQuery):
    """Which unit of which session."""

    unit_id: UnitId = Field(description="The unit's id.")


def read_unit_page(look: Look, query: UnitQuery) -> Item:
    """Raises ApiError ``not_found``."""
    session = kept_session(look, query.session_id)
    by_id = {unit["id"]: unit for unit in session["units"]}
    reader = look.reader
    found = read_units(reader.connection, reader.keys, [query.unit_id])
    if query.unit_id not in by_id or not found:
        detail = f"session {query.session_id} has no unit {query.unit_id!r}"
        raise ApiError("not_found", detail, "unit_id")
    return {
        "title": f"Unit {query.unit_id}",
        "session": session,
        "unit": by_id[query.unit_id] | {"output": found[0]["output"]},
        "by_id": by_id,
        "needed_by": [one for one in by_id.values() if query.unit_id in one["needs"]],
        "may_retry": may_retry(session) and found[0]["state"] == "failed",
    }
