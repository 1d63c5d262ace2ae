"""A session: who takes part, what is done by whom and when, and what came out of it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from coordinator.reads import Item
from coordinator.session_reads import read_progress
from coordinator.work import FEATURE_REQUEST, OPEN_STATES
from reports.sessions import kind_of, outcome_of
from web.answers import ApiError
from web.live.told import Told
from web.pages.attempts import with_attempts
from web.pages.look import Look
from web.pages.timeline import MARKS, timeline
from web.parameters import CursorQuery, SessionQuery

UNITS_SHOWN = 50
ATTEMPTS_SHOWN = 10
"""Of a unit in the table, the last ones; its own page has all."""
EVENTS_SHOWN = 20


class SessionPageQuery(SessionQuery, CursorQuery):
    """Which session, and which page of its units."""


class Part(NamedTuple):
    """An AI's part in a session: how many attempts came to what, and how long they took."""

    ai: str
    outcomes: Counter[str]
    took_ms: int


def read_session_page(look: Look, query: SessionPageQuery) -> Item:
    """Raises ApiError ``not_found``."""
    session = kept_session(look, query.session_id)
    units: list[Item] = session["units"]
    by_id = {unit["id"]: unit for unit in units}
    start = list(by_id).index(query.cursor) + 1 if query.cursor in by_id else 0
    shown = units[start : start + UNITS_SHOWN]
    return {
        "title": f"Session {session['id']}",
        "session": session,
        "kind": kind_of(session),
        "outcome": outcome_of(session),
        "is_open": session["state"] in OPEN_STATES,
        "is_feature": session["type"] == FEATURE_REQUEST,
        "may_retry": may_retry(session),
        "parts": _parts_of(session),
        "states": Counter(unit["state"] for unit in units),
        "by_id": by_id,
        "shown": shown,
        "start": start,
        "cursor": shown[-1]["id"] if start + len(shown) < len(units) else None,
        "timeline": timeline(shown, by_id),
        "marks": MARKS,
        "attempts_shown": ATTEMPTS_SHOWN,
        "events": _events_of(look, session["id"]),
        "now_ms": look.reader.clock.now_ms(),
    }


def kept_session(look: Look, session_id: str) -> Item:
    """The session with its units ``with_attempts``. Raises ApiError ``not_found``."""
    session = read_progress(look.reader.connection, look.reader.keys, session_id)
    if session is None:
        detail = f"no session {session_id!r} is kept: it never was, or ended too long ago"
        raise ApiError("not_found", detail, "session_id")
    now_ms = look.reader.clock.now_ms()
    return session | {"units": [with_attempts(unit, now_ms) for unit in session["units"]]}


def may_retry(session: Item) -> bool:
    """Whether failed units of it can be tried again."""
    return bool(session["state"] == "failed" and session["type"] != FEATURE_REQUEST)


def _events_of(look: Look, session_id: str) -> list[Told]:
    """What happened in it lately, the newest first, for those who may see it."""
    if not look.visitor.sees_all:
        return []
    found = look.feed.last(EVENTS_SHOWN, lambda line: line.session_id == session_id).lines
    return found[::-1]


def _parts_of(session: Item) -> list[Part]:
    """Those who take part, in the order of joining, then all others who had a unit."""
    parts = {ai: Part(ai, Counter(), 0) for ai in session["participants"]}
    for unit in session["units"]:
        for attempt in unit["attempts"]:
            part = parts.get(attempt.ai, Part(attempt.ai, Counter(), 0))
            part.outcomes[attempt.outcome] += 1
            parts[attempt.ai] = part._replace(took_ms=part.took_ms + attempt.took_ms)
    return list(parts.values())
