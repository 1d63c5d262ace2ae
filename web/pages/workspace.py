"""The workspace of a session: what its participants share, by key."""

from __future__ import annotations

from coordinator.reads import Item
from coordinator.session_reads import read_workspace
from web.pages.look import Look
from web.pages.session import kept_session
from web.parameters import CursorQuery, SessionQuery

ENTRIES = 10
"""They are large."""


class WorkspaceQuery(SessionQuery, CursorQuery):
    """Which workspace, and which page of it."""


def read_workspace_page(look: Look, query: WorkspaceQuery) -> Item:
    """Raises ApiError ``not_found``."""
    session = kept_session(look, query.session_id)
    place = (look.reader.connection, look.reader.keys)
    entries = read_workspace(*place, query.session_id, None, ENTRIES, query.cursor)
    return {
        "title": f"Workspace of session {session['id']}",
        "session": session,
        "entries": entries,
    }
