"""``coord sessions`` and ``coord session``: what AIs work on together, and how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, get_args

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.options import (
    AiOption,
    JsonOption,
    LimitOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    SessionArgument,
    StateDirOption,
    WatchOption,
    load_settings,
    open_fleet,
)
from cli.output import age, cell, clock_time, console, facts, plain, say_json, show, table
from cli.watch import watch as watch_it
from coordinator.clock import SystemClock
from coordinator.errors import CoordError
from coordinator.messages import to_json
from coordinator.plans import PLANS
from coordinator.reads import Item
from coordinator.session_reads import read_session, read_session_ids, read_sessions
from coordinator.work import OPEN_STATES, SessionState
from reports.formats import size
from reports.sessions import kind_of, outcome_of, progress_of

SHORTEST_PREFIX = 4
"""Of an id: a mistyped one must not mean whatever session there is."""
NAMED = 5
LONGEST_TEXT = 200
STATES = get_args(SessionState)

StateOption = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help=f"Only of this: {', '.join(STATES)}.")
]
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help=f"Only of this: {', '.join(PLANS)}.")
]


def sessions(
    state: StateOption = None,
    kind: TypeOption = None,
    ai: AiOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List collaborations and feature requests, the open ones first, then those that ended last.

    What came out is what those who did the work tell of it.

    Example: coord sessions --state active --ai AI_Node_1
    """
    _check("--state", state, STATES)
    _check("--type", kind, tuple(PLANS))
    given = {"state": state, "type": kind, "ai": ai}
    wanted = {name: value for name, value in given.items() if value is not None}
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        page = read_sessions(fleet.connection, fleet.keys, limit, wanted)

    def render(shown: Console) -> None:
        if not page.items:
            shown.print(Text("no sessions" if not page.total else f"none of {page.total} sessions"))
            return
        columns = (
            *("session", "type", "asked by", "participants", "state", "progress", "age"),
            "what came out",
        )
        shown.print(table("", columns, map(_row, page.items), LONGEST_TEXT, ("asked by",)))
        if page.cursor:
            shown.print(Text(f"{len(page.items)} are shown: ask for more by --limit"))

    show({"sessions": page.items, "total": page.total}, json, render)


def session(
    session_id: SessionArgument,
    watch: WatchOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show all of one session: who takes part, its units and who tried them, what came out.

    With --watch it is shown until it has ended.

    Example: coord session 3f9a0c1b2d4e --watch
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        found_id = find_session(fleet, session_id)
        if watch:
            watch_it(fleet, lambda: _read(fleet, found_id), _page, json, _has_ended)
            return
        found = _read(fleet, found_id)
    if json:
        say_json(found)
    else:
        console().print(_page(found))


def find_session(fleet: OpenFleet, given: str) -> str:
    """The id of the session that is kept and called so, or alone begins so.

    CoordError says which there are.
    """
    ids = read_session_ids(fleet.connection, fleet.keys)
    fitting = [one for one in ids if one.startswith(given)]
    if given in ids:
        return given
    if len(fitting) == 1 and len(given) >= SHORTEST_PREFIX:
        return fitting[0]
    there = fitting if given and fitting else ids
    if not there:
        raise CoordError(f"no session {given!r} is kept, nor any other")
    named = ", ".join(there[:NAMED]) + (", …" if len(there) > NAMED else "")
    what = "is not enough of an id" if there is fitting else "is no session that is kept"
    raise CoordError(f"{given!r} {what}; there are {named} (see `coord sessions`)")


def gone(session_id: str) -> CoordError:
    return CoordError(f"session {plain(session_id)} is no longer kept")


def _check(option: str, given: str | None, known: tuple[str, ...]) -> None:
    if given is not None and given not in known:
        raise typer.BadParameter(f"{option} is one of {', '.join(known)}, not {given!r}")


def _read(fleet: OpenFleet, session_id: str) -> Item:
    found = read_session(fleet.connection, fleet.keys, session_id)
    if found is None:
        raise gone(session_id)
    return found


def _has_ended(item: Item) -> bool:
    return item["state"] not in OPEN_STATES


def _row(item: Item) -> tuple[object, ...]:
    return (
        item["id"],
        kind_of(item),
        item["initiator"],
        ", ".join(item["participants"]),
        item["state"],
        progress_of(item),
        age(SystemClock().now_ms() - item["created_ms"]),
        outcome_of(item),
    )


def _page(item: Item) -> RenderableType:
    parts: list[RenderableType] = [_summary(item)]
    if item["units"]:
        columns = (
            *("unit", "name", "kind", "state", "done", "attempt", "who", "began", "took"),
            *("outcome", "reason"),
        )
        parts += [Text(), table("", columns, _unit_rows(item["units"]), LONGEST_TEXT)]
    if item["workspace"]:
        parts += [Text(), _workspace(item["workspace"])]
    return Group(*parts)


def _summary(item: Item) -> Table:
    began_ms, ended_ms = item["began_ms"], item["ended_ms"]
    now_ms = SystemClock().now_ms()
    took = age((ended_ms or now_ms) - began_ms) if began_ms else ""
    participants = ", ".join(item["participants"]) or "nobody yet"
    declined = [f"{ai}: {reason or 'no reason given'}" for ai, reason in item["declined"].items()]
    rows = [
        ("session", f"{item['id']}, {kind_of(item)}"),
        ("state", item["state"] + (f": {item['reason']}" if item["reason"] else "")),
        ("asked by", f"{item['initiator']}, {age(now_ms - item['created_ms'])} ago"),
        ("description", item["description"]),
        ("requirements", cell(item["requirements"], LONGEST_TEXT) if item["requirements"] else ""),
        ("asked for", item["target"] or ""),
        ("participants", f"{participants} ({item['wanted']} wanted)"),
        ("said no", "; ".join(declined)),
        ("took", took),
        ("progress", progress_of(item)),
        ("made", item["component_id"] or ""),
        ("came out", outcome_of(item) if item["result"] else ""),
    ]
    return facts((name, plain(text, LONGEST_TEXT)) for name, text in rows if text)


def _unit_rows(units: list[Item]) -> Iterator[tuple[object, ...]]:
    """A row for each attempt; the first of a unit has what is true of the unit."""
    for unit in units:
        done = f"{unit['progress']:.0%}"
        head: tuple[object, ...] = (unit["id"], unit["name"], unit["kind"], unit["state"], done)
        if not unit["attempts"]:
            yield (*head, "", unit["participant"])
        for n, attempt in enumerate(unit["attempts"], 1):
            ended_ms = attempt["ended_ms"] or SystemClock().now_ms()
            began, took = clock_time(attempt["began_ms"]), age(ended_ms - attempt["began_ms"])
            yield (*head, n, attempt["ai"], began, took, attempt["outcome"], attempt["reason"])
            head = ("",) * len(head)


def _workspace(workspace: Item) -> RenderableType:
    rows = [
        (key, entry["version"], entry["by"], clock_time(entry["ms"]), _size(entry["value"]))
        for key, entry in sorted(workspace.items())
    ]
    return table("", ("workspace", "version", "written by", "at", "size"), rows)


def _size(value: object) -> str:
    return size(len(to_json(value).encode()))
