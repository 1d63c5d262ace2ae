"""``coord status``: the coordinator, the AIs, the server, and how much there is of everything."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import Annotated, Any

import redis as redis_py
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import ExitCode, age, complain, console, plain, say_json, size, table
from coordinator.connection import unusable
from coordinator.status import read_status

SHOWN_AIS = 50
EVERY_S = 1.0

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Again every second.")]
Item = dict[str, Any]


def status(
    watch: WatchOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show how the fleet is: who coordinates, who is there, what the server keeps.

    Ends with 0 if a coordinator is active, with 4 if none is.

    Example: coord status --watch
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        limit = None if json else SHOWN_AIS
        if watch:
            with suppress(KeyboardInterrupt):
                _watch(fleet, limit, json)
            return
        found = _read(fleet, limit)
    if json:
        say_json(found)
    else:
        console().print(_page(found))
    if not found["coordinator"]["active"]:
        complain("no coordinator is active: run `coord serve`")
        raise typer.Exit(ExitCode.NO_COORDINATOR)


def _read(fleet: OpenFleet, limit: int | None) -> Item:
    found = read_status(fleet.connection, fleet.keys, time.time_ns() // 1_000_000, limit)
    found["server"]["url"] = fleet.place
    found["namespace"] = fleet.keys.namespace
    return found


def _watch(fleet: OpenFleet, limit: int | None, as_json: bool) -> None:
    """Survives an outage of the server: says so, and goes on when it is back."""
    shown = console()
    live = Live(console=shown, auto_refresh=False, screen=False)
    is_live = shown.is_terminal and not as_json
    with live if is_live else nullcontext():
        while True:
            page: Any
            try:
                found = _read(fleet, limit)
                page = found if as_json else _page(found)
            except redis_py.RedisError as error:
                text = plain(unusable(fleet.where, error).detail)
                page = {"error": text} if as_json else Text(text, style="red")
            if as_json:
                say_json(page, one_line=True)
            elif is_live:
                live.update(page, refresh=True)
            else:
                shown.print(page)
            time.sleep(EVERY_S)


def _page(found: Item) -> Group:
    parts: list[Any] = [_summary(found)]
    if found["ais"]:
        parts.append(Text())
        parts.append(_ai_table(found["ais"][:SHOWN_AIS]))
        more = found["connected_ais"] - len(found["ais"][:SHOWN_AIS])
        if more > 0 and len(found["ais"]) >= SHOWN_AIS:
            parts.append(Text(f"and {more} more: `coord status --json` lists them all"))
        elif more > 0:
            parts.append(Text(f"{more} more are not heard from, and go when their leases end"))
    return Group(*parts)


def _summary(found: Item) -> Table:
    leads, server = found["coordinator"], found["server"]
    waiting = leads["ingress"]
    lag = f"{waiting['entries']} messages wait"
    if waiting["entries"]:
        lag += f", the oldest for {age(waiting['oldest_age_ms'])}"
    memory = size(server["used_memory_bytes"])
    if server["max_memory_bytes"]:
        memory += f" of {size(server['max_memory_bytes'])}"
    rows = [
        ("coordinator", leads["active"] or "none is active"),
        ("standing by", ", ".join(leads["standby"]) or "nobody"),
        ("ingress", lag),
        ("epoch", f"{leads['epoch'] or 'none yet'}, log {leads['log']}, events {leads['events']}"),
        ("server", f"{server['name']} {server['version']} at {server['url']}, {memory}"),
        ("persistence", _persistence(server)),
        ("AIs", found["connected_ais"]),
        ("messages", found["total_messages"]),
        (
            "shared",
            f"{found['shared_patterns']} patterns, {found['shared_components']} components,"
            f" {found['collective_features']} features, {found['performance_reports']} reports",
        ),
    ]
    if leads["dead_letters"]:
        rows.append(("dead letters", f"{leads['dead_letters']}: see `coord dead list`"))
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="bold"), Text(plain(value)))
    return grid


def _persistence(server: Item) -> str:
    if not server["append_only_file"]:
        return "no append-only file: a crash of the server loses messages"
    return "append-only file" if server["last_append_ok"] else "the last append FAILED"


def _ai_table(ais: list[Item]) -> Table:
    rows = [
        (
            ai["ai_id"],
            ai["specialization"],
            ai["status"],
            f"{ai['load']:.2f}",
            f"{age(ai['heartbeat_age_ms'])} ago",
        )
        for ai in ais
    ]
    return table("", ("AI", "specialization", "status", "load", "heartbeat"), rows)
