"""What each endpoint reads. None of it goes through a whole table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from coordinator.archive_marks import read_behind
from coordinator.audit import read_audit_page
from coordinator.enrolled import read_enrolled_ids, read_members
from coordinator.errors import BadMessage
from coordinator.history import Cursor, Follower, Line
from coordinator.keys import Kind
from coordinator.letters import read_letters
from coordinator.lineage_reads import read_lineage
from coordinator.reads import (
    Item,
    Page,
    read_ai,
    read_ais_with_work,
    read_benchmarks,
    read_counts,
    read_record,
    read_records,
    with_work,
)
from coordinator.record_search import Wanted
from coordinator.session_reads import (
    read_progress,
    read_sessions,
    read_units_page,
    read_workspace,
)
from coordinator.status import read_status
from coordinator.stored import read_one
from coordinator.validation.models import VALIDATED_KINDS
from web.answers import ApiError
from web.fleet_reader import FleetReader
from web.parameters import (
    AiQuery,
    AisQuery,
    AuditQuery,
    BenchmarksQuery,
    HistoryQuery,
    LineageQuery,
    NoQuery,
    OfSessionQuery,
    PageQuery,
    RankingQuery,
    RecordQuery,
    RecordsQuery,
    SessionQuery,
    SessionsQuery,
    StatusQuery,
    no_cursor,
    parse_place,
    place_text,
)
from workers.ranking import EVERY_PROBLEM, problem_item, read_bests, read_ranking

ANSWER_MAX_BYTES = 2 * 1024 * 1024
"""A page ends with the item that goes beyond this."""
AT_ONCE = 25
LOOK_MAX = 5000
"""So many sessions or events are looked at for one page; the next one goes on behind."""
_LETTER = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def status(reader: FleetReader, query: StatusQuery) -> Item:
    """As `coord status --json` shows it, with ``limit`` AIs, queues and workers."""
    limit = query.limit
    found = read_status(reader.connection, reader.keys, reader.clock.now_ms(), limit, limit)
    return found | {"ai_list": found["ai_list"][:limit]}


def ais(reader: FleetReader, query: AisQuery) -> Page:
    """The AIs that are there, by id."""
    given = (query.limit, query.specialization, query.capability, query.cursor)
    return read_ais_with_work(reader.connection, reader.keys, *given)


def ai(reader: FleetReader, query: AiQuery) -> Item:
    """One that is there. Raises ApiError ``not_found``."""
    items = read_ai(reader.connection, reader.keys, query.ai_id).items
    found = with_work(reader.connection, reader.keys, items)
    return _only(found, f"no AI {query.ai_id!r} is there", "ai_id")


def records(kind: Kind) -> Callable[[FleetReader, RecordsQuery], Page | Item]:
    """Reads a page of that kind."""

    def read(reader: FleetReader, query: RecordsQuery) -> Page | Item:
        wanted = Wanted(query.specialization, query.contributor, query.search or "")
        given = (query.limit, wanted, query.cursor, ANSWER_MAX_BYTES)
        page = read_records(reader.connection, reader.keys, kind, *given)
        is_of_both = query.specialization is not None and query.contributor is not None
        is_counted = query.search is None and not is_of_both
        return page if is_counted else page._asdict() | {"total": None}

    return read


def record(kind: Kind) -> Callable[[FleetReader, RecordQuery], Item]:
    """Reads one of that kind."""

    def read(reader: FleetReader, query: RecordQuery) -> Item:
        items = read_record(reader.connection, reader.keys, kind, query.id).items
        return _only(items, f"there is no {kind} {query.id!r}", "id")

    return read


def benchmarks(reader: FleetReader, query: BenchmarksQuery) -> Page:
    """The newest reports on a component."""
    read = (reader.connection, reader.keys)
    reports = read_benchmarks(*read, [query.component_id], query.limit)
    total = read_one(reader.connection, "XLEN", reader.keys.benchmarks(query.component_id))
    return Page(reports.get(query.component_id, []), None, total or 0)


def sessions(reader: FleetReader, query: SessionsQuery) -> Page:
    """The open ones first, then those that ended last."""
    given = {"state": query.state, "type": query.type, "ai": query.ai}
    wanted = {name: value for name, value in given.items() if value is not None}

    def read(limit: int, cursor: str | None) -> Page:
        keys = reader.keys
        return read_sessions(reader.connection, keys, limit, wanted, cursor, LOOK_MAX)

    return _filled(read, query)


def session(reader: FleetReader, query: SessionQuery) -> Item:
    """One session. Raises ApiError ``not_found``."""
    found = read_progress(reader.connection, reader.keys, query.session_id)
    if found is None:
        raise _no_session(query.session_id)
    return found | {"units": [unit["id"] for unit in found["units"]]}


def units(reader: FleetReader, query: OfSessionQuery) -> Page:
    """In the order of the session's plan. Raises ApiError ``not_found``."""
    _check_session(reader, query.session_id)
    return _filled(
        lambda limit, cursor: read_units_page(
            reader.connection, reader.keys, query.session_id, limit, cursor
        ),
        query,
    )


def workspace(reader: FleetReader, query: OfSessionQuery) -> Page:
    """By key. Raises ApiError ``not_found``."""
    _check_session(reader, query.session_id)
    return _filled(
        lambda limit, cursor: read_workspace(
            reader.connection, reader.keys, query.session_id, None, limit, cursor
        ),
        query,
    )


def _check_session(reader: FleetReader, session_id: str) -> None:
    if not reader.connection.exists(reader.keys.session(session_id)):
        raise _no_session(session_id)


def _no_session(session_id: str) -> ApiError:
    return ApiError("not_found", f"no session {session_id!r} is kept (any more)", "session_id")


def lineage(reader: FleetReader, query: LineageQuery) -> Item:
    """What is around a record. Raises ApiError ``not_found``."""
    read = (reader.connection, reader.keys)
    found = read_lineage(*read, query.id, query.depth, query.limit)
    if not found.roots:
        detail = f"there is no pattern, component or feature {query.id!r}"
        raise ApiError("not_found", detail, "id")
    return {"id": query.id, **found.to_json()}


def counts(reader: FleetReader, _: NoQuery) -> Item:
    """How many there are of everything."""
    return read_counts(reader.connection, reader.keys)


def problems(reader: FleetReader, _: NoQuery) -> Page:
    """All of them, with the best of each."""
    best = read_bests(reader.connection, reader.keys)
    items = [problem_item(problem, best.get(problem.name)) for problem in EVERY_PROBLEM]
    return Page(items, None, len(items))


def ranking(reader: FleetReader, query: RankingQuery) -> Page:
    """The best of a problem first. Raises ApiError ``not_found``."""
    known = [problem.name for problem in EVERY_PROBLEM]
    if query.name not in known:
        detail = f"{query.name!r} is no problem; there are {', '.join(known)}"
        raise ApiError("not_found", detail, "name")
    items = read_ranking(reader.connection, reader.keys, query.name, query.limit)
    lists = [reader.keys.best(kind, query.name) for kind in VALIDATED_KINDS]
    return Page(items, None, sum(map(int, map(reader.connection.zcard, lists))))


def members(reader: FleetReader, query: PageQuery) -> Page:
    """Who was ever enrolled, by name."""
    names = read_enrolled_ids(reader.connection, reader.keys)
    later = [name for name in names if query.cursor is None or name > query.cursor]
    shown = later[: query.limit]
    items = read_members(reader.connection, reader.keys, shown, reader.clock.now_ms())
    return Page(items, shown[-1] if len(later) > len(shown) else None, len(names))


def dead_letters(reader: FleetReader, query: PageQuery) -> Page:
    """The newest first."""
    total = read_one(reader.connection, "XLEN", reader.keys.dead) or 0
    if query.cursor is not None and not _LETTER.fullmatch(query.cursor):
        raise no_cursor(query.cursor)

    def read(limit: int, cursor: str | None) -> Page:
        found = read_letters(reader.connection, reader.keys, limit + 1, cursor)
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1]["id"] if more else None, total)

    return _filled(read, query)


def audit(reader: FleetReader, query: AuditQuery) -> Item:
    """The audit, the newest first; how many there are would take too long to count."""
    n = query.cursor
    if n is not None and not _NUMBER.fullmatch(n):
        raise no_cursor(n)
    page = read_audit_page(
        reader.connection,
        reader.keys,
        query.limit,
        query.ai,
        query.kind,
        None if n is None else int(n),
        LOOK_MAX,
    )
    return page._asdict() | {"total": None}


def history(reader: FleetReader, query: HistoryQuery) -> Item:
    """What of the log and the events is kept, from a point on, merged by time: a page, and where to
    ``resume`` for what comes after it."""
    follower = Follower(reader.connection, reader.keys)
    cursor = _begin(follower, query)
    lines: list[Line] = []
    while len(lines) <= query.limit and (new := follower.read(0)):
        lines += new
    items, size_bytes = [], 0
    for line in lines[: query.limit]:
        items.append(line.as_json())
        cursor = cursor.after(line)
        size_bytes += len(json.dumps(items[-1]))
        if size_bytes > ANSWER_MAX_BYTES:
            break
    resume = place_text(cursor)
    total = reader.connection.xlen(reader.keys.log) + reader.connection.xlen(reader.keys.events)
    page = Page(items, resume if len(items) < len(lines) else None, total)
    return page._asdict() | {"resume": resume}


def _begin(follower: Follower, query: HistoryQuery) -> Cursor:
    """Where ``query`` begins, for which ``follower`` is made ready."""
    if query.cursor is None:
        follower.begin_at(query.from_ or 1)
    else:
        follower.resume(parse_place(query.cursor))
    return follower.cursor


def archives(reader: FleetReader, _: NoQuery) -> Page:
    """The archives that the history is kept for, by name."""
    found = read_behind(reader.connection, reader.keys, reader.clock.now_ms())
    return Page([one.as_json() for one in found], None, len(found))


def _only(items: list[Item], detail: str, field: str) -> Item:
    if not items:
        raise ApiError("not_found", detail, field)
    return items[0]


def _filled(read: Callable[[int, str | None], Page], query: PageQuery) -> Page:
    """A page read in small ones, which end when they have ANSWER_MAX_BYTES."""
    items: list[Item] = []
    cursor, size_bytes = query.cursor, 0
    while True:
        page = read(min(AT_ONCE, query.limit - len(items)), cursor)
        items += page.items
        cursor = page.cursor
        size_bytes += sum(len(json.dumps(item)) for item in page.items)
        is_full = len(items) >= query.limit or size_bytes > ANSWER_MAX_BYTES
        if cursor is None or is_full or not page.items:
            return Page(items, cursor, page.total)


def explained(error: BadMessage) -> ApiError:
    """What a read refuses, in the words of this API."""
    if error.field == "payload.cursor":
        detail = "what the cursor stands for is no longer there; begin again without one"
        return ApiError("bad_cursor", detail, "cursor")
    return ApiError("bad_request", error.detail, error.field)
