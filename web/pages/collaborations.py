"""What the fleet does together, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import get_args

from coordinator.plans import PLANS
from coordinator.reads import Item, Page
from coordinator.session_reads import read_sessions
from coordinator.work import FEATURE_REQUEST, OPEN_STATES, SessionState
from reports.sessions import kind_of, outcome_of, progress_of
from web.fleet_numbers import read_open_numbers
from web.pages.look import Look
from web.parameters import CursorQuery, SessionsFilter

OPEN_LOOKED_AT = 500
ENDED_LOOKED_AT = 1000
"""So many sessions are looked at for a page; the next one goes on behind."""
ROWS = 50


class CollaborationsQuery(SessionsFilter, CursorQuery):
    """Which sessions."""


def read_collaborations(look: Look, query: CollaborationsQuery) -> Item:
    """The open ones and the first page of those that ended; with a ``state`` or a cursor a page of
    one list. BadMessage for a cursor that is gone."""
    reader = look.reader
    connection, keys = reader.connection, reader.keys
    given = {"state": query.state, "type": query.type, "ai": query.ai}
    wanted = {name: value for name, value in given.items() if value is not None}
    units, sessions = read_open_numbers(reader)
    values: Item = {
        "query": query,
        "is_filtered": bool(wanted),
        "now_ms": reader.clock.now_ms(),
        "states": get_args(SessionState),
        "open_states": OPEN_STATES,
        "types": list(PLANS),
        "units": units,
        "numbers": _by_state(sessions),
        "kind_of": kind_of,
        "progress_of": progress_of,
        "outcome_of": outcome_of,
    }
    page = (ROWS, wanted, query.cursor, ENDED_LOOKED_AT)
    if query.state or query.cursor:
        is_open = query.state in OPEN_STATES
        return values | {"listed": read_sessions(connection, keys, *page, is_open=is_open)}
    found = read_sessions(
        connection, keys, OPEN_LOOKED_AT, wanted, None, OPEN_LOOKED_AT, is_open=True
    )
    return values | {
        "listed": None,
        "collaborations": _of_type(found, is_feature=False),
        "features": _of_type(found, is_feature=True),
        "ended": read_sessions(connection, keys, *page, is_open=False),
    }


def _by_state(sessions: Mapping[tuple[str, str], int]) -> Counter[str]:
    """How many are open: collaborations by state, and feature requests."""
    counts = Counter[str]()
    for (kind, state), count in sessions.items():
        counts["features" if kind == FEATURE_REQUEST else state] += count
    return counts


def _of_type(found: Page, *, is_feature: bool) -> Page:
    """Of those that were looked at; the cursor says that there may be more."""
    items = [item for item in found.items if (item["type"] == FEATURE_REQUEST) == is_feature]
    more = found.cursor or (items[ROWS - 1]["id"] if len(items) > ROWS else None)
    return Page(items[:ROWS], more, len(items))
