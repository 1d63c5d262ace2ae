"""The three tables of ``coord top``: their columns, and how rows are sorted, filtered and cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from cli.output import plain, short_age
from cli.session_text import kind_of
from cli.top.snapshot import Snapshot
from coordinator.reads import Item
from coordinator.work import OPEN_STATES

ROWS_MAX = 500
"""So many rows are shown; how many more there are is told."""
BAR = 8
GAP = 1
STYLES = {
    **dict.fromkeys(("ready", "idle", "running", "active", "completed"), Style(color="green")),
    **dict.fromkeys(("busy", "queued", "waiting", "pending", "draining"), Style(color="yellow")),
    **dict.fromkeys(("failed", "lost", "expired", "declined", "cancelled"), Style(color="red")),
}
Sortable = str | float | None
Look = tuple[Callable[[Item, int], Sortable], Callable[[Item, int], str]]
"""Of an item and the time: what it is sorted by, and how it is shown."""


@dataclass(frozen=True)
class Column:
    """What of an item is shown and sorted by. ``width`` in cells is the least; what is left over
    goes to those that ``grows``."""

    name: str
    width: int
    value: Callable[[Item, int], Sortable]
    text: Callable[[Item, int], str]
    grows: bool = False
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A kind of thing that there are rows of; ``id_of`` tells one from the others."""

    name: str
    columns: tuple[Column, ...]
    items: Callable[[Snapshot], list[Item]]
    id_of: Callable[[Item], str]


@dataclass
class Wanted:
    """How somebody wants to see a table: by which column, backwards, and which text is in a row."""

    column: int | None = None
    is_reversed: bool = False
    text: str = ""


@dataclass(frozen=True)
class Row:
    id: str
    cells: tuple[str, ...]


def rows_of(table: Table, snapshot: Snapshot, wanted: Wanted) -> tuple[list[Row], int]:
    """The first ROWS_MAX of those wanted, and how many there are of them."""
    now_ms = snapshot.now_ms
    items = table.items(snapshot)
    if wanted.text:
        part = wanted.text.casefold()
        told = [column.value for column in table.columns if not column.is_number]
        items = [
            item
            for item in items
            if any(part in str(value(item, now_ms)).casefold() for value in told)
        ]
    if wanted.column is not None:
        value = table.columns[wanted.column].value
        keyed = [(value(item, now_ms), item) for item in items]
        known = [pair for pair in keyed if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=wanted.is_reversed)  # type: ignore[arg-type, return-value]
        items = [item for _, item in known] + [item for key, item in keyed if key is None]
    elif wanted.is_reversed:
        items = items[::-1]
    shown = [
        Row(table.id_of(item), tuple(column.text(item, now_ms) for column in table.columns))
        for item in items[:ROWS_MAX]
    ]
    return shown, len(items)


def widths_of(table: Table, room: int) -> list[int]:
    """Of the columns, with a gap after each, in ``room`` cells: what is left over is shared by
    those that grow, what is missing taken from them."""
    widths = [column.width for column in table.columns]
    growing = [n for n, column in enumerate(table.columns) if column.grows]
    spare = room - sum(widths) - GAP * len(widths)
    for place, n in enumerate(growing):
        share = spare // (len(growing) - place)
        widths[n] = max(4, widths[n] + share)
        spare -= share
    return widths


def styled(text: str, column: Column, width: int) -> Text:
    """A cell as it is drawn: cut to ``width``, numbers to the right. Nothing in it is markup."""
    made = Text(text, style=STYLES.get(text, Style()), no_wrap=True, overflow="ellipsis", end="")
    made.truncate(width, overflow="ellipsis")
    if column.is_number:
        made.pad_left(max(0, width - cell_len(made.plain)))
    return made


def bar(share: float) -> str:
    """A share of one as a bar with its percents."""
    share = min(max(share, 0.0), 1.0)
    full = round(share * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {share:>4.0%}"


def _text(name: str) -> Look:
    return lambda item, _: str(item[name] or ""), lambda item, _: plain(item[name] or "", 100)


def _number(name: str, form: str = "d") -> Look:
    def text(item: Item, _: int) -> str:
        return "" if item[name] is None else format(item[name], form)

    return lambda item, _: item[name], text


def _age(
    since_ms: Callable[[Item], int | None],
) -> Look:
    def age_ms(item: Item, now_ms: int) -> float | None:
        began_ms = since_ms(item)
        return None if began_ms is None else max(0, now_ms - began_ms)

    def text(item: Item, now_ms: int) -> str:
        found = age_ms(item, now_ms)
        return "" if found is None else short_age(found)

    return age_ms, text


def _assignee(unit: Item) -> str:
    """Who has or had it last; before the first attempt who is to have it."""
    attempts = unit["attempts"]
    return str(attempts[-1]["ai"] if attempts else unit["participant"] or "")


def _attempt_ms(unit: Item) -> int | None:
    """When the present attempt began; None for a unit that nobody works on."""
    attempts = unit["attempts"]
    return attempts[-1]["began_ms"] if attempts and not attempts[-1]["ended_ms"] else None


def _participants(session: Item) -> str:
    return ", ".join(session["participants"])


def _as_text(
    tell: Callable[[Item], str],
) -> Look:
    return lambda item, _: tell(item), lambda item, _: plain(tell(item), 200)


AIS = Table(
    "AIs",
    (
        Column("AI", 15, *_text("ai_id"), grows=True),
        Column("specialization", 14, *_text("specialization"), grows=True),
        Column("status", 7, *_text("status")),
        Column("load", 4, *_number("load", ".2f"), is_number=True),
        Column("heard", 5, *_age(lambda ai: ai["heartbeat_ms"]), is_number=True),
        Column("done", 5, *_number("units_completed"), is_number=True),
        Column("failed", 6, *_number("units_failed"), is_number=True),
        Column("credit", 6, *_number("contribution_score", ".3g"), is_number=True),
        Column("msg/s", 5, *_number("messages_per_s", ".1f"), is_number=True),
    ),
    lambda snapshot: snapshot.ais,
    lambda ai: str(ai["ai_id"]),
)
SESSIONS = Table(
    "sessions",
    (
        Column("session", 12, *_text("id")),
        Column("type", 18, *_as_text(kind_of), grows=True),
        Column("state", 9, *_text("state")),
        Column("progress", 13, lambda one, _: one["progress"], lambda one, _: bar(one["progress"])),
        Column("age", 4, *_age(lambda session: session["created_ms"]), is_number=True),
        Column("participants", 14, *_as_text(_participants), grows=True),
    ),
    lambda snapshot: snapshot.sessions,
    lambda session: str(session["id"]),
)
UNITS = Table(
    "units",
    (
        Column("unit", 16, *_text("name"), grows=True),
        Column("state", 9, *_text("state")),
        Column("AI", 12, *_as_text(_assignee), grows=True),
        Column("attempt", 7, *_number("attempt"), is_number=True),
        Column("done", 4, *_number("progress", ".0%"), is_number=True),
        Column("age", 4, *_age(_attempt_ms), is_number=True),
        Column("session", 12, *_text("session_id")),
    ),
    lambda snapshot: snapshot.units,
    lambda unit: str(unit["id"]),
)
TABLES = (AIS, SESSIONS, UNITS)


def open_sessions(snapshot: Snapshot) -> int:
    return sum(session["state"] in OPEN_STATES for session in snapshot.sessions)
