"""``coord top``: what it shows, its keys, and that nobody can write on the screen but itself."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import fakeredis
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, RichLog, Static
from typer.testing import CliRunner

from cli.main import app
from cli.options import OpenFleet
from cli.output import ExitCode
from cli.top.app import Help, Top
from cli.top.command import render
from cli.top.follow import Followed
from cli.top.head import head_of
from cli.top.snapshot import WINDOW_S, FleetSnapshots, Rates, Snapshot
from cli.top.tables import (
    AIS,
    ROWS_MAX,
    SESSIONS,
    TABLES,
    UNITS,
    Wanted,
    bar,
    needs_of,
    rows_of,
    widths_of,
)
from coordinator.clock import SystemClock
from coordinator.history import Line
from coordinator.keys import Keys
from coordinator.testing import FakeFleet
from tests.clients import RealFleet, in_loop, until
from tests.servers import python_environment, wait_for

pytestmark = pytest.mark.one_server

HOSTILE = "x[bold]\x1b[2J[/]\n\u202e漢字"
NOW_MS = 1_000_000


def ai(ai_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "ai_id": ai_id,
        "specialization": "audio",
        "status": "ready",
        "load": 0.25,
        "heartbeat_ms": NOW_MS - 3_000,
        "units_completed": 4,
        "units_failed": 1,
        "contribution_score": 0.5,
        "messages_per_s": 2.0,
    } | fields


def session(session_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": session_id,
        "type": "joint_training",
        "requirements": {},
        "state": "active",
        "progress": 0.5,
        "created_ms": NOW_MS - 60_000,
        "participants": ["AI_1", "AI_2"],
    } | fields


def unit(unit_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": unit_id,
        "name": f"name of {unit_id}",
        "state": "running",
        "attempts": [{"ai": "AI_1", "began_ms": NOW_MS - 5_000, "ended_ms": None}],
        "attempt": 1,
        "participant": "AI_1",
        "progress": 0.25,
        "session_id": "s1",
    } | fields


def snapshot(ais: list[Any], **fields: Any) -> Snapshot:
    coordinator = {
        "active": "host.1",
        "standby": ["host.2"],
        "gateways": [],
        "epoch": "f.1",
        "ingress": {"entries": 3, "oldest_age_ms": 20},
        "log": 1,
    }
    made = Snapshot(
        now_ms=NOW_MS,
        namespace="coord",
        place="unix:///s",
        coordinator=coordinator,
        server={"name": "Valkey", "version": "9.0", "used_memory_bytes": 1024},
        counts={"ais": len(ais)},
        messages_per_s=12.5,
        by_type_per_s={"heartbeat": 2.5, "pattern_share": 10.0},
        is_partial=False,
        ais=ais,
        sessions=[session("s1"), session("s2", state="failed")],
        sessions_total=2,
        units=[unit("u1"), unit("u2", state="waiting", attempts=[])],
    )
    return replace(made, **fields)


@dataclass
class FakeSnapshots:
    """Gives one snapshot until told another; ``reads`` are counted."""

    now: Snapshot
    error: Exception | None = None
    reads: int = 0
    lines: list[Line] = field(default_factory=list)

    def read(self) -> Snapshot:
        self.reads += 1
        if self.error is not None:
            raise self.error
        lines, self.lines = self.lines, []
        return replace(self.now, lines=lines)


def some_ais() -> list[dict[str, Any]]:
    return [
        ai("AI_1", load=0.9, specialization="security"),
        ai("AI_2", load=0.1),
        ai("AI_3", load=0.5, messages_per_s=None),
    ]


def top_of(snapshots: FakeSnapshots) -> Top:
    return Top(snapshots, "the server at unix:///s", SystemClock(), every_s=0.2)


async def read_again(pilot: Pilot[None], snapshots: FakeSnapshots) -> None:
    """Until what there is now is on the screen."""
    before = snapshots.reads
    await until(lambda: snapshots.reads >= before + 2)
    await pilot.pause()


def screen_of(shown: Top) -> list[str]:
    """What is on the screen, line by line."""
    widths = shown.size.width
    lines = []
    for strip in shown.screen._compositor.render_strips():
        text = strip.text
        assert len(text) <= widths or strip.cell_length == widths
        lines.append(text)
    return lines


def ids_of(shown: Top) -> list[str]:
    grid = shown.query_one("#table", DataTable)
    return [str(grid.coordinate_to_cell_key((n, 0)).row_key.value) for n in range(grid.row_count)]


def text_in(shown: Top, selector: str) -> str:
    return str(shown.query_one(selector, Static).render())


# -- tables ----------------------------------------------------------------------------------------


def test_rows_are_sorted_with_what_is_unknown_last_and_filtered_by_any_text() -> None:
    found = snapshot(some_ais())
    names = [column.name for column in AIS.columns]

    def ids(column: str | None, **wanted: Any) -> list[str]:
        place = None if column is None else names.index(column)
        return [row.id for row in rows_of(AIS, found, Wanted(place, **wanted))[0]]

    assert ids(None) == ["AI_1", "AI_2", "AI_3"]
    assert ids("load") == ["AI_2", "AI_3", "AI_1"]
    assert ids("load", is_reversed=True) == ["AI_1", "AI_3", "AI_2"]
    assert ids("msg/s", is_reversed=True) == ["AI_1", "AI_2", "AI_3"]
    assert ids(None, text="SECUR") == ["AI_1"]
    assert ids("AI", text="no such") == []


def test_of_many_rows_the_first_are_shown_and_all_counted() -> None:
    found = snapshot([ai(f"AI_{n:05}") for n in range(10_000)])
    rows, total = rows_of(AIS, found, Wanted())
    assert (len(rows), total) == (ROWS_MAX, 10_000)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("room", [1, 18, 58, 78])
def test_the_columns_fit_a_terminal_as_far_as_it_can_be(table: Any, room: int) -> None:
    widths = widths_of(table, [30] * len(table.columns), room)
    assert min(widths) >= 1
    assert sum(widths) + len(widths) <= max(room, 2 * len(widths))


@pytest.mark.parametrize(
    ("room", "columns"),
    [
        (198, [15, 15, 8, 4, 5, 4, 6, 12, 5]),
        (78, [15, 10, 8, 4, 5, 4, 6, 12, 5]),
        (60, [15, 7, 8, 4, 3, 3, 3, 5, 3]),
        (40, [7, 3, 3, 3, 3, 3, 3, 3, 3]),
    ],
)
def test_columns_are_as_wide_as_what_is_in_them_and_the_id_is_cut_last(
    room: int, columns: list[int]
) -> None:
    one = ai("AI_Networking_1", specialization="process_manager", status="training")
    rows, _ = rows_of(AIS, snapshot([one | {"contribution_score": 0.123}]), Wanted())
    assert widths_of(AIS, needs_of(AIS, rows), room) == columns


def test_a_validator_has_no_units_to_tell_of() -> None:
    found = snapshot([ai("V_1", specialization="validation", load=0.0, units_completed=0)])
    assert rows_of(AIS, found, Wanted())[0][0].cells[3:7] == ("", "3s", "", "")


@pytest.mark.parametrize("room", [70, 100, 200])
def test_the_head_leaves_out_what_there_is_no_room_for(room: int) -> None:
    found = snapshot(
        some_ais(), place="unix:///a/socket/far/away/in/directories/of/long/names.sock"
    )
    fleet, work, _ = head_of(found, room)
    assert [line.cell_len <= room for line in (fleet, work)] == [True, True]
    assert "3 AIs  1 session open  units 1 running, 1 wait  lag 3 (20 ms)" in work.plain
    assert ("names.sock" in work.plain, "Valkey" in work.plain) == (room == 200, room > 70)


def test_once_it_tells_what_is_open_and_counts_what_ended() -> None:
    units = [unit("u1"), *(unit(f"c{n}", state="completed") for n in range(300))]
    shown = Console(width=80, record=True, file=io.StringIO())
    render(shown, snapshot(some_ais(), units=[*units, unit("f1", state="failed")]))
    text = shown.export_text()
    assert "name of u1" in text
    assert "name of c1" not in text
    assert "name of f1" not in text
    assert "units that ended: 300 completed, 1 failed" in text
    assert "sessions that ended: 1 failed" in text


def test_each_cell_says_what_is_so() -> None:
    found = snapshot(some_ais())
    assert [rows_of(table, found, Wanted())[0][0].cells for table in TABLES] == [
        ("AI_1", "security", "ready", "0.90", "3s", "4", "1", "0.5", "2.0"),
        ("s1", "joint_training", "active", "████░░░░  50%", "60s", "AI_1, AI_2"),
        ("name of u1", "running", "AI_1", "1", "25%", "5s", "s1"),
    ]


def test_a_bar_has_no_more_than_all() -> None:
    assert bar(0) == "░░░░░░░░   0%"
    assert bar(7) == "████████ 100%"


# -- rates -----------------------------------------------------------------------------------------


def test_rates_are_means_over_the_window_and_begin_anew_with_other_data() -> None:
    rates = Rates()
    seen = []
    for now_s, totals in ((0, {"a": 5}), (1, {"a": 7, "b": 3}), (1 + WINDOW_S, {"a": 27, "b": 3})):
        rates.add(now_s, totals)
        seen.append(rates.per_s())
    rates.add(2 + WINDOW_S, {"a": 1})
    assert seen == [None, {"a": 2, "b": 3}, {"a": 2, "b": 0}]
    assert rates.per_s() is None


@dataclass
class StillClock:
    now_s: float = 1_000.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def elapsed_s(self) -> float:
        return self.now_s


def test_a_source_tells_rates_and_lines_of_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.top.snapshot.read_server", lambda _: {})  # fakeredis has no INFO
    clock = StillClock()
    with FakeFleet() as fleet, fleet.client("AI_1") as one, fleet.client("AI_2"):
        connection = fakeredis.FakeRedis(server=fleet._server)
        snapshots = FleetSnapshots(OpenFleet(connection, "memory", Keys()), clock)
        first = snapshots.read()
        for n in range(10):
            one.share_pattern({"id": f"p{n}", "type": "note"})
        wait_for(lambda: len(connection.zrange(Keys().records("pattern"), 0, -1)) == 10)
        clock.now_s += 5
        second = snapshots.read()
    assert first.messages_per_s is None
    assert [one["ai_id"] for one in first.ais] == ["AI_1", "AI_2"]
    assert second.by_type_per_s["pattern_share"] == 2.0
    assert [one["messages_per_s"] for one in second.ais] == [2.0, 0.0]
    shared = [line.data["sender_id"] for line in second.lines if line.kind == "message"]
    assert shared == ["AI_1"] * 10


# -- the screen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_all_is_on_the_screen_and_nothing_beside_it(size: tuple[int, int]) -> None:
    snapshots = FakeSnapshots(snapshot([*some_ais(), ai(HOSTILE, specialization="[red]x[/]")]))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=size) as pilot:
            await until(lambda: len(ids_of(shown)) == 4)
            await pilot.pause()
            lines = screen_of(shown)
        assert shown.fault is None
        assert len(lines) == size[1]
        text = "\n".join(lines)
        for part in (
            *(
                "● host.1 coordinates, 1 standing by",
                "4 AIs",
                "12.5 messages/s  pattern_share 10.0",
            ),
            *("1 AIs 4", "2 sessions 2", "speciali", "security", "[red]x", "x[bold]\\x1b"),
        ):
            assert part in text
        assert all(line.isprintable() for line in lines)
        assert re.search(r"AI_1 +security +ready +0\.90 +3s +4 +1 +0\.5 +2\.0", text)

    scenario()


def test_keys_switch_sort_filter_and_pause() -> None:
    snapshots = FakeSnapshots(snapshot(some_ais()))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(80, 24)) as pilot:
            await until(lambda: len(ids_of(shown)) == 3)
            await pilot.press(*">" * 4)
            assert ids_of(shown) == ["AI_2", "AI_3", "AI_1"]
            assert "▲load" in "\n".join(screen_of(shown))
            await pilot.press("r")
            assert ids_of(shown) == ["AI_1", "AI_3", "AI_2"]
            await pilot.press("slash", *"audio")
            assert ids_of(shown) == ["AI_3", "AI_2"]
            await pilot.press("enter", "2")
            assert ids_of(shown) == ["s1", "s2"]
            await pilot.press("tab")
            assert ids_of(shown) == ["u1", "u2"]
            await pilot.press("1")
            assert ids_of(shown) == ["AI_3", "AI_2"]
            await pilot.press("escape")
            assert ids_of(shown) == ["AI_1", "AI_3", "AI_2"]
            await pilot.press("space")
            snapshots.now = snapshot([ai("AI_9", specialization="new")])
            await read_again(pilot, snapshots)
            assert "PAUSED" in text_in(shown, "#tabs")
            assert ids_of(shown) == ["AI_1", "AI_3", "AI_2"]
            await pilot.press("space")
            await until(lambda: ids_of(shown) == ["AI_9"])
            await pilot.press("question_mark")
            assert isinstance(shown.screen, Help)
            await pilot.press("escape", "q")
        assert shown.return_code == 0

    scenario()


def shared_line(n: int, sender: str, text: str = "p", **payload: Any) -> Line:
    message = {
        "message_id": f"m{n}",
        "sender_id": sender,
        "message_type": "pattern_share",
        "timestamp": "2026-01-01T00:00:00",
        "payload": {"pattern": {"id": text}} | payload,
        "target_ai": None,
    }
    return Line("message", "log", n, n, NOW_MS, "f.1", message)


def event_line(n: int, kind: str, ai_id: str, data: dict[str, Any]) -> Line:
    told = {"event": kind, "ai": ai_id, "text": f"{kind} of {ai_id}", "data": data}
    return Line("event", "events", n, n, NOW_MS, "f.1", told)


def test_who_is_followed_has_its_own_lines_below_as_they_come() -> None:
    snapshots = FakeSnapshots(snapshot(some_ais()))
    snapshots.lines = [shared_line(1, "AI_2", HOSTILE), shared_line(2, "AI_1", "first")]

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(80, 24)) as pilot:
            await until(lambda: len(ids_of(shown)) == 3)
            await pilot.press("down", "enter")
            pane = shown.query_one("#lines", RichLog)
            await until(lambda: len(pane.lines) == 1)
            snapshots.lines = [shared_line(3, "AI_3"), event_line(1, "left", "AI_2", {})]
            await until(lambda: len(pane.lines) == 2)
            text = "\n".join(screen_of(shown))
            assert "AI AI_2" in text
            assert "x[bold]\\x1b[2J" in text
            assert "left of AI_2" in text
            assert text.isprintable() or all(line.isprintable() for line in text.split("\n"))
            await pilot.press("escape")
            assert not pane.display

    scenario()


@pytest.mark.parametrize(
    ("table", "followed", "count"), [(AIS, "AI_2", 3), (SESSIONS, "s1", 3), (UNITS, "u1", 2)]
)
def test_what_concerns_whom(table: Any, followed: str, count: int) -> None:
    targeted = json.dumps(shared_line(9, "AI_2").data | {"target_ai": "AI_3"})
    lines = [
        shared_line(1, "AI_1", session_id="s1"),
        shared_line(2, "AI_2"),
        event_line(1, "unit_assigned", "AI_2", {"session_id": "s1", "unit_id": "u1"}),
        event_line(2, "message", "AI_3", {"message_id": "m9", "message": targeted}),
    ]
    gap = Line("gap", "log", 3, 4, NOW_MS, "f.1")
    with_gap = count if table is not AIS else count + 1
    assert sum(Followed(table, followed).is_in(line) for line in [*lines, gap]) == with_gap


def test_what_was_lost_before_its_first_line_is_none_of_its_affair() -> None:
    def gap(n: int) -> Line:
        return Line("gap", "events", n, n, NOW_MS, "f.1")

    first, last = shared_line(2, "AI_2"), shared_line(4, "AI_2")
    lines = [gap(1), shared_line(1, "AI_1"), first, gap(3), last]
    assert list(Followed(AIS, "AI_2").history(lines)) == [first, gap(3), last]
    assert list(Followed(AIS, "AI_3").history(lines)) == []


@pytest.mark.parametrize("size", [(1, 1), (20, 1), (20, 4), (40, 10)])
def test_however_small_the_screen_keys_are_heard(size: tuple[int, int]) -> None:
    hostile = ai(HOSTILE, specialization=HOSTILE, status=HOSTILE)
    snapshots = FakeSnapshots(snapshot([hostile, *some_ais()]))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=size) as pilot:
            await until(lambda: len(ids_of(shown)) == 4)
            await pilot.press("enter", "2", "greater_than_sign", "question_mark", "escape")
            await pilot.press("slash", "x", "escape", "q")
        assert (shown.fault, shown.return_code) == (None, 0)

    scenario()


def test_a_longer_name_widens_its_column_and_who_was_chosen_stays_so() -> None:
    snapshots = FakeSnapshots(snapshot(some_ais()))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(100, 24)) as pilot:
            await until(lambda: len(ids_of(shown)) == 3)
            await pilot.press("down", "down")
            snapshots.now = snapshot([ai("AI_of_a_long_name"), *some_ais()])
            await until(lambda: len(ids_of(shown)) == 4)
            await pilot.pause()
            assert "AI_of_a_long_name" in "\n".join(screen_of(shown))
            assert ids_of(shown)[shown.query_one("#table", DataTable).cursor_row] == "AI_3"

    scenario()


def test_an_outage_and_a_stopped_coordinator_are_said_and_pass() -> None:
    snapshots = FakeSnapshots(snapshot(some_ais()))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(80, 24)):
            await until(lambda: len(ids_of(shown)) == 3)
            snapshots.error = NoConnection("refused")
            await until(lambda: "trying again" in text_in(shown, "#head"))
            snapshots.error = None
            stopped = snapshots.now.coordinator | {"active": None}
            snapshots.now = replace(snapshots.now, coordinator=stopped)
            await until(lambda: "no coordinator is active" in text_in(shown, "#head"))
            assert "trying again" not in text_in(shown, "#head")

    scenario()


def test_who_was_chosen_stays_chosen_while_others_come() -> None:
    snapshots = FakeSnapshots(snapshot([ai(f"AI_{n}") for n in range(5, 9)]))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(80, 24)) as pilot:
            await until(lambda: len(ids_of(shown)) == 4)
            await pilot.press("down", "down")
            snapshots.now = snapshot([ai(f"AI_{n}") for n in range(1, 9)])
            await until(lambda: len(ids_of(shown)) == 8)
            assert ids_of(shown)[shown.query_one("#table", DataTable).cursor_row] == "AI_7"

    scenario()


def test_ten_thousand_ais_are_cut_and_found() -> None:
    snapshots = FakeSnapshots(snapshot([ai(f"AI_{n:05}") for n in range(10_000)]))

    @in_loop
    async def scenario() -> None:
        shown = top_of(snapshots)
        async with shown.run_test(size=(80, 24)) as pilot:
            await until(lambda: len(ids_of(shown)) == ROWS_MAX)
            assert "and 9,500 more" in text_in(shown, "#more")
            await pilot.press("slash", *"ai_09999")
            await until(lambda: ids_of(shown) == ["AI_09999"])
            assert shown.query_one("#filter", Input).value == "ai_09999"

    scenario()


def test_a_fault_of_the_reader_ends_it() -> None:
    snapshots = FakeSnapshots(snapshot([]), error=ValueError("a fault"))

    shown = top_of(snapshots)
    shown.run(headless=True, size=(80, 24))
    assert (str(shown.fault), shown.return_code) == ("a fault", 1)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def real_fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url) as fleet:
        yield fleet


def test_once_it_prints_text_or_json(real_fleet: RealFleet) -> None:
    with real_fleet.client("AI_1"):
        arguments = ["top", "--once", "--redis", real_fleet.url]
        text = CliRunner().invoke(app, arguments)
        shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert (text.exit_code, shown.exit_code) == (ExitCode.OK, ExitCode.OK)
    assert "1 AIs" in text.stdout
    assert "AI_1" in text.stdout
    found = json.loads(shown.stdout)
    assert [one["ai_id"] for one in found["ais"]] == ["AI_1"]
    assert found["messages_per_s"] >= 0
    assert "lines" not in found


def test_without_a_coordinator_it_says_so(real_redis: Redis, real_url: str) -> None:
    done = CliRunner().invoke(app, ["top", "--redis", real_url])
    assert done.exit_code == ExitCode.NO_COORDINATOR
    assert "no coordinator is active" in done.stderr


@contextmanager
def in_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command in a terminal of its own, and the other end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=python_environment(TERM="xterm-256color", COLUMNS="80", LINES="24", NO_COLOR="1"),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(end: int, part: bytes, seen: bytearray) -> None:
    while part not in seen:
        seen += os.read(end, 65536)


@pytest.mark.parametrize("way", ["q", "ctrl+c", "SIGTERM"])
def test_in_a_terminal_it_shows_who_joins_and_leaves_it_as_it_was(
    real_fleet: RealFleet, way: str
) -> None:
    seen = bytearray()
    with in_terminal("top", "--redis", real_fleet.url) as (process, end):
        read_until(end, b"0 AIs", seen)
        with real_fleet.client("AI_Joined"):
            read_until(end, b"AI_Joined", seen)
        if way == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            os.write(end, b"q" if way == "q" else b"\x03")
        read_until(end, b"\x1b[?1049l", seen)
        assert process.wait(20) == 0
    assert b"\x1b[38;" not in seen
    assert b"Traceback" not in seen
