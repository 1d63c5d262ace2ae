"""What each endpoint reads. None of it goes through a whole table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from coordinator.audit import read_audit_page
from coordinator.credit import read_contributions
from coordinator.enrolled import read_members
from coordinator.errors import BadMessage
from coordinator.history import Cursor, Follower, Line
from coordinator.keys import Kind
from coordinator.letters import read_letters
from coordinator.lineage_reads import read_lineage
from coordinator.reads import (
    Item,
    Page,
    read_ai,
    read_ais,
    read_benchmarks,
    read_counts,
    read_record,
    read_records,
    read_work_done,
)
from coordinator.session_reads import (
    read_progress,
    read_sessions,
    read_units_page,
    read_workspace,
)
from coordinator.status import read_behind, read_status
from coordinator.streams import last_number
from coordinator.validation.models import VALIDATED_KINDS
from web.answers import ApiError, Paged
from web.asked import (
    AiAsked,
    AisAsked,
    AuditAsked,
    BenchmarksAsked,
    HistoryAsked,
    LineageAsked,
    Nothing,
    OfSessionAsked,
    PageAsked,
    RankingAsked,
    RecordAsked,
    RecordsAsked,
    SessionAsked,
    SessionsAsked,
    StatusAsked,
)
from web.enrolled import Enrolled
from web.source import Source
from workers.ranking import EVERY_PROBLEM, problem_item, read_bests, read_ranking

ANSWER_MAX_BYTES = 8 * 1024 * 1024
"""A page ends with the item that goes beyond this."""
AT_ONCE = 25
LOOK_MAX = 5000
"""So many sessions or events are looked at for one page; the next one goes on behind."""
_LETTER = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_PLACE = re.compile(r"([A-Za-z0-9_.-]{0,64}):([0-9]{1,18}):([0-9]{1,18})")


def status(source: Source, asked: StatusAsked) -> Item:
    limit = asked.limit
    found = read_status(source.connection, source.keys, source.clock.now_ms(), limit, limit)
    return found | {"ai_list": found["ai_list"][:limit]}


def ais(source: Source, asked: AisAsked) -> Paged:
    read = (source.connection, source.keys)
    page = read_ais(*read, asked.limit, asked.specialization, asked.capability, asked.cursor)
    return _paged(page._replace(items=_with_work(source, page.items)))


def ai(source: Source, asked: AiAsked) -> Item:
    items = read_ai(source.connection, source.keys, asked.ai_id).items
    return _only(_with_work(source, items), f"no AI {asked.ai_id!r} is there", "ai_id")


def _with_work(source: Source, items: list[Item]) -> list[Item]:
    names = [item["ai_id"] for item in items]
    work = read_work_done(source.connection, source.keys, names)
    contributions = read_contributions(source.connection, source.keys, names)
    return [
        item | done | {"contribution_score": contribution}
        for item, done, contribution in zip(items, work, contributions, strict=True)
    ]


def records(kind: Kind) -> Callable[[Source, RecordsAsked], Paged]:
    """Reads a page of that kind."""

    def read(source: Source, asked: RecordsAsked) -> Paged:
        given = (asked.limit, asked.specialization, asked.cursor, ANSWER_MAX_BYTES)
        return _paged(read_records(source.connection, source.keys, kind, *given))

    return read


def record(kind: Kind) -> Callable[[Source, RecordAsked], Item]:
    """Reads one of that kind."""

    def read(source: Source, asked: RecordAsked) -> Item:
        items = read_record(source.connection, source.keys, kind, asked.id).items
        return _only(items, f"there is no {kind} {asked.id!r}", "id")

    return read


def benchmarks(source: Source, asked: BenchmarksAsked) -> Paged:
    read = (source.connection, source.keys)
    reports = read_benchmarks(*read, [asked.component_id], asked.limit)
    total = source.connection.xlen(source.keys.benchmarks(asked.component_id))
    return Paged(reports.get(asked.component_id, []), None, total)


def sessions(source: Source, asked: SessionsAsked) -> Paged:
    given = {"state": asked.state, "type": asked.type, "ai": asked.ai}
    wanted = {name: value for name, value in given.items() if value is not None}

    def read(limit: int, cursor: str | None) -> Page:
        keys = source.keys
        return read_sessions(source.connection, keys, limit, wanted, cursor, LOOK_MAX)

    return _filled(read, asked)


def session(source: Source, asked: SessionAsked) -> Item:
    found = read_progress(source.connection, source.keys, asked.session_id)
    if found is None:
        raise _no_session(asked.session_id)
    return found | {"units": [unit["id"] for unit in found["units"]]}


def units(source: Source, asked: OfSessionAsked) -> Paged:
    _check_session(source, asked.session_id)
    return _filled(
        lambda limit, cursor: read_units_page(
            source.connection, source.keys, asked.session_id, limit, cursor
        ),
        asked,
    )


def workspace(source: Source, asked: OfSessionAsked) -> Paged:
    _check_session(source, asked.session_id)
    return _filled(
        lambda limit, cursor: read_workspace(
            source.connection, source.keys, asked.session_id, None, limit, cursor
        ),
        asked,
    )


def _check_session(source: Source, session_id: str) -> None:
    if not source.connection.exists(source.keys.session(session_id)):
        raise _no_session(session_id)


def _no_session(session_id: str) -> ApiError:
    return ApiError("not_found", f"no session {session_id!r} is kept (any more)", "session_id")


def lineage(source: Source, asked: LineageAsked) -> Item:
    read = (source.connection, source.keys)
    found = read_lineage(*read, asked.id, asked.depth, asked.limit)
    if not found.roots:
        detail = f"there is no pattern, component or feature {asked.id!r}"
        raise ApiError("not_found", detail, "id")
    return {"id": asked.id, **found.to_json()}


def counts(source: Source, _: Nothing) -> Item:
    return read_counts(source.connection, source.keys)


def problems(source: Source, _: Nothing) -> Paged:
    best = read_bests(source.connection, source.keys)
    items = [problem_item(problem, best.get(problem.name)) for problem in EVERY_PROBLEM]
    return Paged(items, None, len(items))


def ranking(source: Source, asked: RankingAsked) -> Paged:
    known = [problem.name for problem in EVERY_PROBLEM]
    if asked.name not in known:
        detail = f"{asked.name!r} is no problem; there are {', '.join(known)}"
        raise ApiError("not_found", detail, "name")
    items = read_ranking(source.connection, source.keys, asked.name, asked.limit)
    lists = [source.keys.best(kind, asked.name) for kind in VALIDATED_KINDS]
    return Paged(items, None, sum(map(int, map(source.connection.zcard, lists))))


def members(enrolled: Enrolled) -> Callable[[Source, PageAsked], Paged]:
    """Reads a page of those that are ``enrolled``."""

    def read(source: Source, asked: PageAsked) -> Paged:
        names = enrolled.names()
        later = [name for name in names if asked.cursor is None or name > asked.cursor]
        shown = later[: asked.limit]
        now_ms = source.clock.now_ms()
        items = read_members(source.connection, source.keys, shown, now_ms)
        return Paged(items, shown[-1] if len(later) > len(shown) else None, len(names))

    return read


def dead_letters(source: Source, asked: PageAsked) -> Paged:
    total = source.connection.xlen(source.keys.dead)
    if asked.cursor is not None and not _LETTER.fullmatch(asked.cursor):
        raise _no_cursor(asked.cursor)

    def read(limit: int, cursor: str | None) -> Page:
        found = read_letters(source.connection, source.keys, limit + 1, cursor)
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1]["id"] if more else None, total)

    return _filled(read, asked)


def audit(source: Source, asked: AuditAsked) -> Paged:
    n = asked.cursor
    if n is not None and not (n.isascii() and n.isdigit() and len(n) < 19):
        raise _no_cursor(n)
    page = read_audit_page(
        source.connection,
        source.keys,
        asked.limit,
        asked.ai,
        asked.kind,
        None if n is None else int(n),
        LOOK_MAX,
    )
    return Paged(page.items, page.cursor, None)


def history(source: Source, asked: HistoryAsked) -> Paged:
    """What of the log and the events is kept, from a point on, merged by time."""
    follower = Follower(source.connection, source.keys)
    if asked.cursor is None:
        follower.begin_at(asked.from_ or 1)
        place = follower.cursor
    elif match := _PLACE.fullmatch(asked.cursor):
        place = Cursor(match[1], int(match[2]), int(match[3]))
        follower.resume(place)
    else:
        raise _no_cursor(asked.cursor)
    lines: list[Line] = []
    while len(lines) <= asked.limit and (new := follower.read(0)):
        lines += new
    shown, size_bytes = [], 0
    for line in lines[: asked.limit]:
        shown.append(line.as_json())
        place = _after(line, place)
        size_bytes += len(json.dumps(shown[-1]))
        if size_bytes > ANSWER_MAX_BYTES:
            break
    next_one = ":".join(map(str, place))
    total = source.connection.xlen(source.keys.log) + source.connection.xlen(source.keys.events)
    cursor = next_one if len(shown) < len(lines) else None
    return Paged(shown, cursor, total, {"resume": next_one})


def _after(line: Line, place: Cursor) -> Cursor:
    if line.kind == "epoch":
        events_n = line.data.get("events_n", place.events)
        return Cursor(line.epoch, line.n, events_n)
    if line.source == "log":
        return place._replace(log=line.n)
    return place._replace(events=line.n)


def archives(source: Source, _: Nothing) -> Paged:
    read = (source.connection, source.keys)
    last = {"log": last_number(*read, "log"), "events": last_number(*read, "events")}
    items = read_behind(*read, last, source.clock.now_ms())
    return Paged(items, None, len(items))


def _paged(page: Page) -> Paged:
    return Paged(page.items, page.cursor, page.total)


def _only(items: list[Item], detail: str, field: str) -> Item:
    if not items:
        raise ApiError("not_found", detail, field)
    return items[0]


def _filled(read: Callable[[int, str | None], Page], asked: PageAsked) -> Paged:
    """A page read in small ones, which end when they have ANSWER_MAX_BYTES."""
    items: list[Item] = []
    cursor, size_bytes = asked.cursor, 0
    while True:
        page = read(min(AT_ONCE, asked.limit - len(items)), cursor)
        items += page.items
        cursor = page.cursor
        size_bytes += sum(len(json.dumps(item)) for item in page.items)
        is_full = len(items) >= asked.limit or size_bytes > ANSWER_MAX_BYTES
        if cursor is None or is_full or not page.items:
            return Paged(items, cursor, page.total)


def _no_cursor(cursor: str) -> ApiError:
    return ApiError("bad_cursor", f"cursor {cursor!r} is none; begin again without one", "cursor")


def explained(error: BadMessage) -> ApiError:
    """What a read refuses, in the words of this API."""
    if error.field == "payload.cursor":
        detail = "what the cursor stands for is no longer there; begin again without one"
        return ApiError("bad_cursor", detail, "cursor")
    return ApiError("bad_request", error.detail, error.field)
