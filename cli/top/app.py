"""The screen of ``coord top``: keys, tables, and what is followed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from cli.output import plain
from cli.tail import text_of
from cli.top.follow import Followed
from cli.top.head import BAD, NAME, head_of
from cli.top.reader import Away, Broken, Fresh, Reader
from cli.top.snapshot import Snapshot, Snapshots
from cli.top.tables import GAP, TABLES, Row, Wanted, needs_of, rows_of, styled, widths_of
from coordinator.clock import Clock
from coordinator.history import Line

EVERY_S = 1.0
LINES_KEPT = 2_000
SCROLLBAR = 2
HELP = """\
1 2 3, Tab   AIs, sessions, units
up, down     choose a row
Enter        follow it: its lines of the history appear below
Escape       follow nothing more; drop the filter
< >          sort by the column to the left, to the right
r            the other way round
/            only rows with some text in them
Space        pause, and go on
q            quit

msg/s counts what the history tells: no heartbeats and no queries.
"""


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", "Back"),
    ]
    CSS = "Help {align: center middle;} Help Static {width: 66; border: round; padding: 1 2;}"

    def compose(self) -> ComposeResult:
        yield Static(Text(HELP.rstrip()))


class Top(App[None]):
    """Shows what ``snapshots`` gives, which is read again and again in a thread; the screen never
    waits for it. ``where`` names the server for people. A ``fault`` ends it."""

    CSS = """
    #head {height: 3;}
    #tabs {height: 1; background: $panel;}
    #table {height: 1fr;}
    #more {height: 1; display: none;}
    #lines {height: 40%; border-top: solid $accent; display: none;}
    #filter {height: 1; border: none; padding: 0; display: none;}
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("tab", "next_table", "Table", priority=True),
        *(Binding(str(n + 1), f"table({n})", show=False) for n in range(len(TABLES))),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("greater_than_sign", "sort(1)", "Sort", key_display="<>"),
        Binding("less_than_sign", "sort(-1)", show=False),
        Binding("r", "reverse", "Reverse"),
        Binding("space", "pause", "Pause"),
        Binding("escape", "leave", show=False),
    ]

    def __init__(
        self, snapshots: Snapshots, where: str, clock: Clock, every_s: float = EVERY_S
    ) -> None:
        is_plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=is_plain or None)
        self.fault: Exception | None = None
        self._reader = Reader(snapshots, where, clock, every_s, self.post_message)
        self._snapshot: Snapshot | None = None
        self._lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self._table = TABLES[0]
        self._wanted = {table.name: Wanted() for table in TABLES}
        self._rows: list[Row] = []
        self._needs: list[int] = []
        self._widths: list[int] = []
        self._followed: Followed | None = None
        self._trouble = ""
        self._is_paused = False
        self._head = Static(id="head")
        self._tabs = Static(id="tabs")
        self._grid = DataTable[Text](id="table", cursor_type="row", cell_padding=0)
        self._more = Static(id="more")
        self._pane = RichLog(id="lines", wrap=False, max_lines=LINES_KEPT)
        self._filter = Input(id="filter", placeholder="text in a row; Enter keeps, Escape drops it")

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._tabs
        yield self._grid
        yield self._more
        yield self._pane
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._grid.focus()
        self._reader.start()

    def on_unmount(self) -> None:
        self._reader.stop()

    def on_resize(self, _: events.Resize) -> None:
        self._show_anew()

    # -- what the reader tells ---------------------------------------------------------------------

    def on_fresh(self, message: Fresh) -> None:
        self._trouble = ""
        self._take_lines(message.snapshot.lines)
        if not self._is_paused:
            self._snapshot = message.snapshot
        self._show()
        self._reader.taken()

    def on_away(self, message: Away) -> None:
        self._trouble = f"trying again: {message.text}"
        self._show()
        self._reader.taken()

    def on_broken(self, message: Broken) -> None:
        raise message.error

    def _handle_exception(self, error: Exception) -> None:
        """Whoever runs the screen tells of a fault once the terminal is as it was."""
        self.fault = error
        self.exit(return_code=1)

    def _take_lines(self, lines: list[Line]) -> None:
        self._lines.extend(lines)
        if self._followed is not None:
            self._write_lines(line for line in lines if self._followed.is_in(line))

    # -- what is shown -----------------------------------------------------------------------------

    def _show(self) -> None:
        if not self._grid.is_attached:
            return  # it is about to end
        if self._snapshot is not None:
            head = head_of(self._snapshot, self.size.width, self._trouble)
            for line in head:
                line.truncate(self.size.width, overflow="ellipsis")
            self._head.update(Text("\n").join(head))
            self._show_rows(self._snapshot)
        elif self._trouble:
            self._head.update(Text(self._trouble, BAD))

    def _show_anew(self) -> None:
        """Another table, order or width: nothing of what was shown holds."""
        self._grid.clear(columns=True)
        self._rows, self._widths = [], []
        self._needs = [0] * len(self._table.columns)
        self._show()

    def _show_rows(self, snapshot: Snapshot) -> None:
        rows, total = rows_of(self._table, snapshot, self._wanted[self._table.name])
        needs = needs_of(self._table, rows)  # what was wider stays so: columns do not jump about
        self._needs = [max(pair) for pair in zip(self._needs, needs, strict=True)]
        widths = widths_of(self._table, self._needs, self.size.width - SCROLLBAR)
        is_same = [row.id for row in rows] == [row.id for row in self._rows]
        if is_same and widths == self._widths:
            self._update_rows(rows)
        else:
            self._replace_rows(rows, widths)
        self._rows = rows
        self._show_tabs(snapshot)
        self._more.update(Text(f"and {total - len(rows):,} more: / finds them"))
        self._more.display = total > len(rows)

    def _update_rows(self, rows: list[Row]) -> None:
        """Rows of the same things: only cells that are others now."""
        for row, before in zip(rows, self._rows, strict=True):
            for n, column in enumerate(self._table.columns):
                if row.cells[n] != before.cells[n]:
                    made = styled(row.cells[n], column, self._widths[n])
                    self._grid.update_cell(row.id, column.name, made)

    def _replace_rows(self, rows: list[Row], widths: list[int]) -> None:
        """All rows anew, in columns of these ``widths``; who was chosen stays chosen."""
        grid = self._grid
        chosen = self._rows[grid.cursor_row].id if self._rows else None
        scroll_y = grid.scroll_y
        with self.batch_update():
            if widths != self._widths:
                self._replace_columns(widths)
            grid.clear()
            for row in rows:
                cells = zip(row.cells, self._table.columns, widths, strict=True)
                grid.add_row(*(styled(*cell) for cell in cells), key=row.id)
            place = next((n for n, row in enumerate(rows) if row.id == chosen), 0)
            grid.move_cursor(row=place, animate=False, scroll=False)
            grid.scroll_to(y=scroll_y, animate=False)

    def _replace_columns(self, widths: list[int]) -> None:
        wanted = self._wanted[self._table.name]
        self._grid.clear(columns=True)
        self._widths = widths
        for n, (column, width) in enumerate(zip(self._table.columns, widths, strict=True)):
            mark = ("▼" if wanted.is_reversed else "▲") if n == wanted.column else ""
            label = Text(f"{mark}{column.name}", style="underline" if mark else "", no_wrap=True)
            room = width + (GAP if mark else 0)  # the mark may stand in the gap
            label.truncate(room)
            if column.is_number:
                label.align("right", room)
            self._grid.add_column(label, width=width + GAP, key=column.name)

    def _show_tabs(self, snapshot: Snapshot) -> None:
        line = Text(no_wrap=True, overflow="ellipsis")
        for n, table in enumerate(TABLES):
            style = "reverse bold" if table is self._table else ""
            line.append(f" {n + 1} {table.name} {len(table.items(snapshot))} ", style)
        if text := self._wanted[self._table.name].text:
            line.append(f"  with {plain(text, 30)!r}", NAME)
        if self._is_paused:
            line.append("  PAUSED", BAD)
        self._tabs.update(line)

    # -- keys --------------------------------------------------------------------------------------

    def action_table(self, n: int) -> None:
        self._table = TABLES[n]
        self._show_anew()

    def action_next_table(self) -> None:
        self.action_table((TABLES.index(self._table) + 1) % len(TABLES))

    def action_sort(self, step: int) -> None:
        """By the next column, or as they came once there is none."""
        wanted = self._wanted[self._table.name]
        places = [None, *range(len(self._table.columns))]
        wanted.column = places[(places.index(wanted.column) + step) % len(places)]
        self._show_anew()

    def action_reverse(self) -> None:
        wanted = self._wanted[self._table.name]
        wanted.is_reversed = not wanted.is_reversed
        self._show_anew()

    def on_data_table_header_selected(self, message: DataTable.HeaderSelected) -> None:
        wanted = self._wanted[self._table.name]
        is_same = wanted.column == message.column_index
        wanted.is_reversed = is_same and not wanted.is_reversed
        wanted.column = message.column_index
        self._show_anew()

    def action_pause(self) -> None:
        self._is_paused = not self._is_paused
        self._show()

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_filter(self) -> None:
        self._filter.display = True
        self._filter.value = self._wanted[self._table.name].text
        self._filter.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        self._wanted[self._table.name].text = message.value
        self._show()

    def on_input_submitted(self, _: Input.Submitted) -> None:
        self._close_filter()

    def action_leave(self) -> None:
        """Out of what was opened last: the filter's line, what is followed, the filter."""
        if self._filter.display:
            self._wanted[self._table.name].text = ""
            self._close_filter()
        elif self._followed is not None:
            self._follow(None)
        else:
            self._wanted[self._table.name].text = ""
        self._show()

    def _close_filter(self) -> None:
        self._filter.display = False
        self._grid.focus()

    # -- who is followed ---------------------------------------------------------------------------

    def on_data_table_row_selected(self, message: DataTable.RowSelected) -> None:
        self._follow(Followed(self._table, str(message.row_key.value)))

    def _follow(self, followed: Followed | None) -> None:
        self._followed = followed
        self._pane.clear()
        self._pane.display = followed is not None
        if followed is not None:
            self._pane.border_title = Text(plain(followed.title, 100))
            self._write_lines(followed.history(self._lines))

    def _write_lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._pane.write(Text(text_of(line), no_wrap=True, overflow="ellipsis"))
