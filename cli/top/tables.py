"""The three tables of ``coord top``: their columns, and how rows are sorted, filtered and cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from cli.fitting import shrink
from cli.output import plain, short_age
from cli.top.snapshot import Snapshot
from coordinator.reads import Item
from coordinator.specializations import VALIDATION
from coordinator.work import END_STATES, OPEN_STATES
from reports.sessions import kind_of

ROWS_MAX = 500
"""So many rows are shown; how many more there are is told."""
BAR = 8
GAP = 1
LONG_MOST = 24
"""Cells that a column has at most if there is not room for all."""
LONG_LEAST = 8
"""Cells that are left to a column of long texts before any other is cut."""
LEAST = 3
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
    """What of an item is shown and sorted by. What ``is_long`` is cut before others are."""

    name: str
    value: Callable[[Item, int], Sortable]
    text: Callable[[Item, int], str]
    is_long: bool = False
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A kind of thing that there are rows of; ``id_of`` tells one from the others, and its first
    column is cut last."""

    name: str
    columns: tuple[Column, ...]
    items: Callable[[Snapshot], list[Item]]
    id_of: Callable[[Item], str]
    is_over: Callable[[Item], bool] = lambda _: False


@dataclass
class Wanted:
    """How somebody wants to see a table: by which column, backwards, which text is in a row, and
    whether what is over is left out."""

    column: int | None = None
    is_reversed: bool = False
    text: str = ""
    is_open: bool = False


@dataclass(frozen=True)
class Row:
    id: str
    cells: tuple[str, ...]


def rows_of(table: Table, snapshot: Snapshot, wanted: Wanted) -> tuple[list[Row], int]:
    """The first ROWS_MAX of those wanted, and how many there are of them."""
    now_ms = snapshot.now_ms
    items = [one for one in table.items(snapshot) if not (wanted.is_open and table.is_over(one))]
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


def needs_of(table: Table, rows: Iterable[Row]) -> list[int]:
    """Of each column, the width of the widest cell of ``rows``."""
    by_row = [[cell_len(cell) for cell in row.cells] for row in rows]
    return [max(widths) for widths in zip([0] * len(table.columns), *by_row, strict=True)]


def widths_of(table: Table, needs: Sequence[int], room: int) -> list[int]:
    """Of the columns, with a gap after each, in ``room`` cells: as wide as their headings and what
    is in them needs. If that is too wide, long texts are cut first, then headings, the rest, and
    the first column last."""
    columns = table.columns
    widths = [max(need, cell_len(one.name)) for need, one in zip(needs, columns, strict=True)]
    most = [min(width, LONG_MOST) for width in widths]
    texts, headings, all_texts, all_but_first = (list(most) for _ in range(4))
    for n, column in enumerate(columns[1:], start=1):
        filled = max(needs[n], LEAST)
        texts[n] = LONG_LEAST if column.is_long else most[n]
        headings[n] = LONG_LEAST if column.is_long else filled
        all_texts[n] = LEAST if column.is_long else filled
        all_but_first[n] = LEAST
    for least in (most, texts, headings, all_texts, all_but_first, [1] * len(columns)):
        shrink(widths, least, room - GAP * len(columns))
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


def _of_workers(name: str, form: str = "d") -> Look:
    """A number of those that units are given to: a validator has none of its own."""
    value, text = _number(name, form)

    def is_worker(ai: Item) -> bool:
        return bool(ai["specialization"] != VALIDATION)

    return (
        lambda ai, now_ms: value(ai, now_ms) if is_worker(ai) else None,
        lambda ai, now_ms: text(ai, now_ms) if is_worker(ai) else "",
    )


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
        Column("AI", *_text("ai_id"), is_long=True),
        Column("specialization", *_text("specialization"), is_long=True),
        Column("status", *_text("status")),
        Column("load", *_of_workers("load", ".2f"), is_number=True),
        Column("heard", *_age(lambda ai: ai["heartbeat_ms"]), is_number=True),
        Column("done", *_of_workers("units_completed"), is_number=True),
        Column("failed", *_of_workers("units_failed"), is_number=True),
        Column("contribution", *_number("contribution_score", ".3g"), is_number=True),
        Column("msg/s", *_number("messages_per_s", ".1f"), is_number=True),
    ),
    lambda snapshot: snapshot.ais,
    lambda ai: str(ai["ai_id"]),
)
SESSIONS = Table(
    "sessions",
    (
        Column("session", *_text("id")),
        Column("type", *_as_text(kind_of), is_long=True),
        Column("state", *_text("state")),
        Column("progress", lambda one, _: one["progress"], lambda one, _: bar(one["progress"])),
        Column("age", *_age(lambda session: session["created_ms"]), is_number=True),
        Column("participants", *_as_text(_participants), is_long=True),
    ),
    lambda snapshot: snapshot.sessions,
    lambda session: str(session["id"]),
    lambda session: session["state"] in END_STATES,
)
UNITS = Table(
    "units",
    (
        Column("unit", *_text("name"), is_long=True),
        Column("state", *_text("state")),
        Column("AI", *_as_text(_assignee), is_long=True),
        Column("attempt", *_number("attempt"), is_number=True),
        Column("done", *_number("progress", ".0%"), is_number=True),
        Column("age", *_age(_attempt_ms), is_number=True),
        Column("session", *_text("session_id")),
    ),
    lambda snapshot: snapshot.units,
    lambda unit: str(unit["id"]),
    lambda unit: unit["state"] in END_STATES,
)
TABLES = (AIS, SESSIONS, UNITS)


def open_sessions(snapshot: Snapshot) -> int:
    return sum(session["state"] in OPEN_STATES for session in snapshot.sessions)
