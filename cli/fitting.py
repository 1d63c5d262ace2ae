"""Tables that fit the terminal: words are broken last, and columns that can be spared go first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2
"""Blanks between two columns."""
NARROWEST = 4
"""A column gets no narrower: of narrower ones a reader makes nothing."""


class FittedTable:
    """``rows`` of text below ``columns``, as wide as what it is shown on.

    Where that is too narrow, lines are broken at blanks, in the widest column first, and only where
    that does not suffice within words. Of the columns in ``spare`` those are shown, the first of
    them first, that leave every cell a line; a line at the end names the others.
    """

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        spare: Sequence[str] = (),
    ) -> None:
        self._title = title
        self._columns = columns
        self._rows = rows
        self._spare = spare

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._chosen(options.max_width)
        yield self._table(shown, self._widths(shown, options.max_width))
        left_out = [name for name in self._spare if self._columns.index(name) not in shown]
        if left_out:
            yield Text(f"no room for: {', '.join(left_out)} (--json has all)")

    def _chosen(self, room: int) -> list[int]:
        """The columns to show, by their places."""
        shown = [n for n, name in enumerate(self._columns) if name not in self._spare]
        for name in self._spare:
            more = sorted([*shown, self._columns.index(name)])
            if sum(max(self._cell(n), self._word(n)) for n in more) <= _without_gaps(room, more):
                shown = more
        return shown

    def _widths(self, shown: list[int], room: int) -> list[int]:
        """Of the columns ``shown``: all that they need, or what is left to them."""
        words = [self._word(n) for n in shown]
        cells = [max(self._cell(n), word) for n, word in zip(shown, words, strict=True)]
        widths = [
            max(cell, cell_len(self._columns[n])) for n, cell in zip(shown, cells, strict=True)
        ]
        for least in (cells, words, [min(word, NARROWEST) for word in words]):
            shrink(widths, least, _without_gaps(room, shown))
        return widths

    def _cell(self, n: int) -> int:
        """The width of the widest cell in column ``n``."""
        return max((cell_len(row[n]) for row in self._rows), default=0)

    def _word(self, n: int) -> int:
        """The width of the longest word in column ``n`` and its heading."""
        texts = [self._columns[n], *(row[n] for row in self._rows)]
        return max((cell_len(word) for text in texts for word in text.split()), default=0)

    def _table(self, shown: list[int], widths: list[int]) -> Table:
        made = Table(
            title=Text(self._title, style="bold") if self._title else None,
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=(0, GAP - 1, 0, 0),
            pad_edge=False,
            show_edge=False,
        )
        for n, width in zip(shown, widths, strict=True):
            made.add_column(Text(self._columns[n]), overflow="fold", width=width)
        for row in self._rows:
            made.add_row(*(Text(row[n]) for n in shown))
        return made


def _without_gaps(room: int, shown: list[int]) -> int:
    return room - GAP * (len(shown) - 1)


def shrink(widths: list[int], least: list[int], room: int) -> None:
    """Take from the widest of ``widths`` in turn until they fit, and from none more than that it
    has its ``least``."""
    while sum(widths) > room:
        wide = [n for n, width in enumerate(widths) if width > least[n]]
        if not wide:
            return
        widths[max(wide, key=lambda n: widths[n])] -= 1
