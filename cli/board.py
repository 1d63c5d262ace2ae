"""How a demo shows itself: what happens line by line, and on a terminal a table of the trainers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.output import clock_time, dig, percent, plain, table
from coordinator.history import Line


@dataclass
class Seen:
    """What was seen of a trainer. Scores are what it claims: the summary measures again."""

    state: str = "starting"
    patterns: int = 0
    components: int = 0
    began_from: str = ""
    best: float | None = None


class Board:
    """Use it as a context: on a terminal it keeps a table under the lines that scroll."""

    def __init__(self, shown: Console, trainers: list[str], *, silent: bool) -> None:
        self._console = shown
        self._silent = silent
        self._seen = {ai: Seen() for ai in trainers}
        self._best: tuple[float, str] | None = None
        self._ends_s: float | None = None
        is_live = shown.is_terminal and not silent
        self._live = Live(console=shown, refresh_per_second=4, transient=True) if is_live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
            self.redraw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        if not self._silent:
            self._console.print(Text(f"{clock_time(time.time_ns() // 1_000_000)}  {text}"))

    def ends_in(self, seconds: float) -> None:
        self._ends_s = time.monotonic() + seconds

    def take(self, line: Line) -> None:
        """Tell what a line of the history means for the demo."""
        if line.kind == "event" and line.data["ai"] in self._seen:
            self._take_event(line)
        elif line.kind == "message" and line.data["sender_id"] in self._seen:
            self._take_message(line)
        self.redraw()

    def redraw(self) -> None:
        """Show the table as things stand now."""
        if not self._live:
            return
        columns = ("trainer", "", "patterns", "components", "began from", "best gap closed")
        rows = [
            (
                ai,
                seen.state,
                seen.patterns,
                seen.components,
                seen.began_from,
                "" if seen.best is None else percent(seen.best),
            )
            for ai, seen in self._seen.items()
        ]
        self._live.update(Group(Text(), table("", columns, rows), self._foot()))

    def _take_event(self, line: Line) -> None:
        kind, ai = line.data["event"], line.data["ai"]
        if kind in ("joined", "left"):
            self._seen[ai].state = "is there" if kind == "joined" else "has left"
        if kind in ("joined", "left", "refused"):
            self.say(plain(line.data["text"], 160))

    def _take_message(self, line: Line) -> None:
        kind, ai = line.data["message_type"], line.data["sender_id"]
        payload, seen = line.data["payload"], self._seen[ai]
        if kind == "pattern_share":
            seen.patterns += 1
            self._take_pattern(ai, seen, dig(payload, "pattern"))
        elif kind in ("code_share", "os_component_share"):
            seen.components += 1
            name = dig(payload, "code", "name") or dig(payload, "component", "name")
            self.say(f"{plain(ai)} shared component {plain(name, 60)}")

    def _take_pattern(self, ai: str, seen: Seen, pattern: Any) -> None:
        text = f"{plain(ai)} learned and shared pattern {plain(dig(pattern, 'id'), 40)}"
        gap = dig(pattern, "data", "held_out", "gap_closed")
        if isinstance(gap, int | float):
            workload = plain(dig(pattern, "data", "held_out", "workload"), 30)
            text += f": {percent(gap)} of the gap closed on {workload}"
            seen.best = gap if seen.best is None else max(seen.best, gap)
            if self._best is None or gap > self._best[0]:
                self._best = (gap, ai)
                text += ", the highest so far"
        origin = plain(dig(pattern, "derived_from", "contributor") or "", 64)
        if origin and not seen.began_from:
            text += f" (began from a pattern of {origin})"
        seen.began_from = seen.began_from or origin
        self.say(text)

    def _foot(self) -> Table | Text:
        parts = []
        if self._best:
            parts.append(f"highest so far: {percent(self._best[0])} by {plain(self._best[1])}")
        if self._ends_s is not None:
            parts.append(f"{max(0, self._ends_s - time.monotonic()):.0f} s left")
        return Text("  ".join(parts))
