"""What people and programs see: exit codes, tables, JSON, and text that cannot forge anything."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.fitting import FittedTable
from coordinator.messages import one_line

WIDE = 400
"""Columns of what is not a terminal: nothing is cut there for want of room, unless the environment
variable COLUMNS says how wide it is."""
CELL_MAX = 60


class ExitCode(IntEnum):
    """How every command ends; ``coord --help`` shows these lines."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_SERVER = 3
    NO_COORDINATOR = 4
    NOT_VALIDATED = 5
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "what was asked for failed or was refused",
    ExitCode.USAGE: "wrong usage, or a bad setting",
    ExitCode.NO_SERVER: "no server, or one that a fleet cannot use",
    ExitCode.NO_COORDINATOR: "no coordinator is active, or none answered",
    ExitCode.NOT_VALIDATED: "a component could not be judged here, and is neither good nor bad",
    ExitCode.INTERRUPTED: "interrupted",
}


def plain(text: object, limit: int | None = None) -> str:
    """``text`` on one line, all that a terminal would obey written out; cut to ``limit``."""
    return one_line(str(text), sys.maxsize if limit is None else limit)


def cell(value: object, limit: int = CELL_MAX) -> str:
    """Any JSON value as a cell of a table, "" for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict | list):
        return plain(json.dumps(value, ensure_ascii=False), limit)
    return plain(value, limit)


def clock_time(ms: int) -> str:
    """A moment, in local time, as people read it today."""
    return datetime.fromtimestamp(ms / 1000).strftime("%H:%M:%S")


def moment(timestamp: str) -> str:
    """A stored moment, ISO 8601, in local time to the second; as it is if it is none."""
    parsed = _parsed(timestamp)
    return timestamp if parsed is None else parsed.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age_of(timestamp: str, now_ms: int) -> str:
    """How long ago a stored moment, ISO 8601, is; the moment as it is if it is none."""
    parsed = _parsed(timestamp)
    return timestamp if parsed is None else short_age(now_ms - parsed.timestamp() * 1000)


def _parsed(timestamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError:
        return None


def short_age(ms: float) -> str:
    """A duration in whole units, for a column of its own: 45s, 13m, 5h, 3d."""
    for unit, unit_s, limit_s in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if ms < limit_s * 1000:
            return f"{max(0, int(ms / 1000)) // unit_s}{unit}"
    return f"{int(ms / 86_400_000)}d"


def age(ms: float) -> str:
    """A duration in the unit that suits it."""
    if ms < 1000:
        return f"{max(0, ms):.0f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def counted(count: int, what: str) -> str:
    """1 pattern, 2 patterns."""
    return f"{count} {what}{'s' * (count != 1)}"


def percent(share: float) -> str:
    return f"{share:.1%}"


def console(piped_width: int = WIDE) -> Console:
    """Standard output; no colours unless it is a terminal that wants them. What is no terminal is
    ``piped_width`` wide, or as COLUMNS says."""
    plainly: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    shown = Console(**plainly)
    if shown.is_terminal:
        return shown
    told = os.environ.get("COLUMNS", "")
    width = int(told) if re.fullmatch("[1-9][0-9]{0,4}", told) else piped_width
    return _Piped(**plainly, width=width, no_color=True, color_system=None)


class _Piped(Console):
    """Prints no blanks at the ends of lines, where programs read them."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as printed:
            super().print(*objects, **options)
        self.file.write(re.sub(" +$", "", printed.get(), flags=re.MULTILINE))
        self.file.flush()


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    limit: int = CELL_MAX,
    spare: Sequence[str] = (),
) -> FittedTable:
    """A table whose cells are cut to ``limit``; ``spare`` columns only if there is room for all of
    what is in them, the first of them first. A row may end early."""
    cells = [
        [cell(value, limit) for value in row] + [""] * (len(columns) - len(row)) for row in rows
    ]
    return FittedTable(plain(title), columns, cells, spare)


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Names and what they stand for, a line each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="bold"), Text(plain(value)))
    return grid


def say(text: str) -> None:
    """One line on standard output; what it quotes must have gone through ``plain``."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One line on standard error."""
    advise(f"coord: {text}")


def advise(text: str) -> None:
    """One line beside a result that a program may read alone, on standard error."""
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()


def say_json(value: Any, *, one_line: bool = False) -> None:
    """ASCII only, so that not even a terminal of eight-bit control characters obeys it."""
    say(json.dumps(value, indent=None if one_line else 2, default=str))


def show(value: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """``value`` as JSON, or what ``render`` makes of it for people."""
    if as_json:
        say_json(value)
    else:
        render(console())
