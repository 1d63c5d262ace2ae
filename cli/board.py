"""How a demo shows itself: what happens line by line, and on a terminal tables of the trainers and
of what they do together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.output import clock_time, percent, plain, table
from coordinator.clock import SystemClock
from coordinator.history import Line
from coordinator.reads import Item
from coordinator.stored import dig
from coordinator.work import OPEN_STATES
from reports.sessions import kind_of, outcome_of, progress_of, workers_of

SESSIONS_SHOWN = 8
BAR_WIDTH = 24
LONGEST_ID = 100
TOLD = ("joined", "left", "refused", "validated")
TOO_LATE = "session_full"
"""The refusal of one who said yes when others had: no news."""


@dataclass
class Seen:
    """What was seen of a trainer. Scores are what it claims: the summary measures again."""

    specialization: str
    state: str = "starting"
    patterns: int = 0
    components: int = 0
    began_from: str = ""
    best: float | None = None


class Board:
    """Use it as a context: on a terminal it keeps tables under the lines that scroll.

    ``trainers`` are the trainers' specializations by their ids.
    """

    def __init__(self, shown: Console, trainers: dict[str, str], *, silent: bool) -> None:
        self._console = shown
        self._silent = silent
        self._seen = {ai: Seen(word) for ai, word in trainers.items()}
        self._best: dict[str, tuple[float, str]] = {}  # by problem: the gap closed, and by whom
        self._sessions: dict[str, Item] = {}
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
            self._console.print(Text(f"{clock_time(SystemClock().now_ms())}  {text}"))

    def ends_in(self, seconds: float) -> None:
        self._ends_s = time.monotonic() + seconds

    def take(self, line: Line) -> None:
        """Tell what a line of the history means for the demo."""
        if line.kind == "event" and line.data["ai"] in self._seen:
            self._take_event(line)
        elif line.kind == "message" and line.data["sender_id"] in self._seen:
            self._take_message(line)
        self.redraw()

    def show_sessions(self, sessions: list[Item]) -> None:
        """Tell what is new of ``sessions``; on a terminal their progress is a bar."""
        for item in reversed(sessions):
            before = self._sessions.get(item["id"], {})
            is_news = item["state"] != before.get("state")
            if is_news or (not self._live and tenths(item) > tenths(before)):
                self.say(session_line(item))
        self._sessions = {item["id"]: item for item in sessions}

    def redraw(self) -> None:
        """On a terminal, show the page as things stand now."""
        if self._live:
            self._live.update(self.page())

    def page(self) -> Group:
        """The tables under the lines."""
        columns = (
            *("trainer", "specialization", "", "patterns", "components", "began from"),
            "best gap closed",
        )
        rows = [
            (
                ai,
                seen.specialization,
                seen.state,
                seen.patterns,
                seen.components,
                seen.began_from,
                "" if seen.best is None else percent(seen.best),
            )
            for ai, seen in self._seen.items()
        ]
        parts: list[Any] = [Text(), table("", columns, rows)]
        if self._sessions:
            parts += [Text(), self._session_bars()]
        return Group(*parts, self._foot())

    def _session_bars(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for item in list(self._sessions.values())[:SESSIONS_SHOWN]:
            bar = ProgressBar(total=1.0, completed=item["progress"], width=BAR_WIDTH)
            together = plain(workers_of(item), 60)
            told = progress_of(item) if item["state"] == "active" else item["state"]
            grid.add_row(Text(plain(kind_of(item), 40)), Text(together), bar, Text(told))
        return grid

    def _take_event(self, line: Line) -> None:
        kind, ai = line.data["event"], line.data["ai"]
        if kind in ("joined", "left"):
            self._seen[ai].state = "is there" if kind == "joined" else "has left"
        if kind in TOLD and dig(line.data, "data", "code") != TOO_LATE:
            self.say(plain(line.data["text"], 160))

    def _take_message(self, line: Line) -> None:
        kind, ai = line.data["message_type"], line.data["sender_id"]
        payload, seen = line.data["payload"], self._seen[ai]
        if kind == "pattern_share":
            seen.patterns += 1
            self._take_pattern(ai, seen, dig(payload, "pattern"))
        elif kind in ("code_share", "os_component_share"):
            seen.components += 1
            record = dig(payload, "code") or dig(payload, "component")
            named = dig(record, "id") or dig(record, "name")
            self.say(f"{plain(ai)} shared component {plain(named, LONGEST_ID)}")

    def _take_pattern(self, ai: str, seen: Seen, pattern: Any) -> None:
        text = f"{plain(ai)} learned and shared pattern {plain(dig(pattern, 'id'), LONGEST_ID)}"
        gap = dig(pattern, "data", "held_out", "gap_closed")
        if isinstance(gap, int | float):
            workload = plain(dig(pattern, "data", "held_out", "workload"), 30)
            text += f": {percent(gap)} of the gap closed on {workload}"
            seen.best = gap if seen.best is None else max(seen.best, gap)
            problem = plain(dig(pattern, "data", "problem"), 30)
            if problem not in self._best or gap > self._best[problem][0]:
                self._best[problem] = (gap, ai)
                text += ", the highest so far"
        origin = plain(dig(pattern, "derived_from", "contributor") or "", 64)
        if origin not in ("", ai) and not seen.began_from:
            text += f" (began from what {origin} shared)"
            seen.began_from = origin
        self.say(text)

    def _foot(self) -> Text:
        parts = [
            f"highest on {problem} so far: {percent(gap)} by {plain(ai)}"
            for problem, (gap, ai) in self._best.items()
        ]
        if self._ends_s is not None:
            parts.append(f"{max(0, self._ends_s - time.monotonic()):.0f} s left")
        return Text("  ".join(parts))


def tenths(item: Item) -> int:
    """How far a session is, coarse enough that not each of many units is a line."""
    return int(item["progress"] * 10)


def session_line(item: Item) -> str:
    """How a session stands, for people."""
    what = f"session {item['id']} {plain(kind_of(item), 60)}"
    together = f"{what} of {plain(workers_of(item), 100)}"
    if item["state"] == "pending":
        return f"{what}: {plain(item['initiator'])} looks for partners"
    if item["state"] in OPEN_STATES:
        return f"{together}: {progress_of(item) or item['state']}"
    return f"{together} {item['state']}: {plain(outcome_of(item), 200)}".removesuffix(": ")
