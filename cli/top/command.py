"""``coord top``: the fleet at a glance, in a terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter

import typer
from rich.console import Console
from rich.text import Text

from cli.options import (
    JsonOption,
    NamespaceOption,
    OnceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import ExitCode, complain, show, table
from cli.top.app import EVERY_S, Top
from cli.top.head import head_of
from cli.top.snapshot import FleetSnapshots, Snapshot
from cli.top.tables import TABLES, Wanted, rows_of
from coordinator.clock import SystemClock


def top(
    once: OnceOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Watch the fleet in a terminal: AIs, sessions, units and rates; keys sort, filter, follow.

    What is no terminal gets it once, as does --json; that takes a second, for the rates.
    Then it ends with 0 if a coordinator is active, with 4 if none is.

    Example: coord top
    """
    settings = load_settings(redis, namespace, state_dir)
    with open_fleet(settings) as fleet:
        snapshots = FleetSnapshots(fleet, SystemClock())
        if not once and not json and is_terminal():
            watch(Top(snapshots, fleet.where, SystemClock()))
            return
        snapshots.read()
        threading.Event().wait(EVERY_S)
        found = snapshots.read()
    show(found.as_json(), json, lambda shown: render(shown, found))
    if not found.coordinator["active"]:
        complain("no coordinator is active: run `coord serve`")
        raise typer.Exit(ExitCode.NO_COORDINATOR)


def watch(screen: Top) -> None:
    """Until somebody ends it. Raises what broke it."""
    screen.run()
    if screen.fault is not None:
        raise screen.fault


def is_terminal() -> bool:
    """Whether somebody can look at it, and press keys."""
    able = os.environ.get("TERM", "") not in ("", "dumb")
    return able and sys.stdin.isatty() and sys.stdout.isatty()


def render(shown: Console, snapshot: Snapshot) -> None:
    for line in head_of(snapshot, shown.width):
        shown.print(line)
    for kind in TABLES:
        rows, total = rows_of(kind, snapshot, Wanted(is_open=True))
        if rows:
            columns = [column.name for column in kind.columns]
            shown.print()
            shown.print(table("", columns, [row.cells for row in rows]))
        if total > len(rows):
            shown.print(Text(f"and {total - len(rows):,} more {kind.name}: see --json"))
        if ended := Counter(one["state"] for one in kind.items(snapshot) if kind.is_over(one)):
            counts = ", ".join(f"{count:,} {state}" for state, count in ended.most_common())
            shown.print()
            shown.print(Text(f"{kind.name} that ended: {counts}"))
