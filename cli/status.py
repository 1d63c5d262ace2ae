"""``coord status``: the coordinator, the AIs, the server, and how much there is of everything."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import Annotated, Any, cast

import redis as redis_py
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.options import (
    Fleet,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    explain,
    load_settings,
    open_fleet,
)
from cli.output import ExitCode, age, complain, console, plain, say_json, size, table
from coordinator.keys import Keys
from coordinator.reads import read_ais, read_counts

STANDBY_SEEN_MS = 5_000
"""A coordinator that stood by within this time still does."""
SHOWN_AIS = 50
EVERY_S = 1.0
ALL_AIS = 1_000_000

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
        limit = ALL_AIS if json else SHOWN_AIS
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


def read_status(
    connection: redis_py.Redis, keys: Keys, now_ms: int, ais_limit: int = ALL_AIS
) -> Item:
    """All of a fleet's state that fits on a page; ``ais`` holds the records of ``ais_limit`` AIs.

    Costs a handful of round trips, however many AIs there are.
    """
    counts = read_counts(connection, keys)
    ids = cast("list[bytes]", connection.zrange(keys.leases, 0, -1))
    page = read_ais(connection, keys, ais_limit)
    return {
        "connected_ais": len(ids),
        "ai_list": sorted(ai.decode() for ai in ids),
        "total_messages": counts["messages"],
        "shared_patterns": counts["patterns"],
        "shared_components": counts["components"],
        "collective_features": counts["features"],
        "active_collaborations": 0,
        "performance_reports": counts["messages_by_type"].get("performance_report", 0),
        "messages_by_type": counts["messages_by_type"],
        "coordinator": _read_coordinator(connection, keys, now_ms),
        "server": _read_server(connection),
        "ais": [item | {"heartbeat_age_ms": now_ms - item["heartbeat_ms"]} for item in page.items],
    }


def _read_coordinator(connection: redis_py.Redis, keys: Keys, now_ms: int) -> Item:
    with connection.pipeline(transaction=False) as pipe:
        pipe.get(keys.leader)
        pipe.pttl(keys.leader)
        pipe.zrangebyscore(keys.standby, now_ms - STANDBY_SEEN_MS, "+inf")
        pipe.hget(keys.fleet, "epoch")
        pipe.smembers(keys.doors)
        pipe.xrevrange(keys.log, count=1)
        pipe.xrevrange(keys.events, count=1)
        pipe.xlen(keys.dead)
        token, lease_ms, standby, epoch, doors, log, events, dead = pipe.execute()
    return {
        "active": token.decode("utf-8", "replace").partition("/")[0] if token else None,
        "lease_ms": lease_ms if token else 0,
        "standby": sorted(name.decode("utf-8", "replace") for name in standby),
        "epoch": epoch.decode("utf-8", "replace") if epoch else None,
        "ingress": _read_lag(connection, keys, doors),
        "log": _number(log),
        "events": _number(events),
        "dead_letters": dead,
    }


def _read_lag(connection: redis_py.Redis, keys: Keys, doors: set[bytes]) -> Item:
    """How much waits in all ingress streams together, and for how long the oldest of it."""
    streams = [keys.ingress(door.decode("utf-8", "replace")) for door in doors]
    with connection.pipeline(transaction=False) as pipe:
        pipe.time()
        for stream in streams:
            pipe.xlen(stream)
        (seconds, micros), *lengths = pipe.execute()
        waiting = [stream for stream, length in zip(streams, lengths, strict=True) if length]
        for stream in waiting:
            pipe.xrange(stream, count=1)
        oldest = [entries[0][0] for entries in pipe.execute() if entries] if waiting else []
    now_ms = seconds * 1000 + micros // 1000
    came_ms = min((int(entry_id.split(b"-")[0]) for entry_id in oldest), default=now_ms)
    return {"entries": sum(lengths), "oldest_age_ms": max(0, now_ms - came_ms)}


def _read_server(connection: redis_py.Redis) -> Item:
    info = connection.info()
    valkey = info.get("valkey_version")
    return {
        "name": "Valkey" if valkey else "Redis",
        "version": str(valkey or info.get("redis_version", "unknown")),
        "role": info.get("role"),
        "run_id": info.get("run_id"),
        "uptime_s": info.get("uptime_in_seconds"),
        "clients": info.get("connected_clients"),
        "append_only_file": bool(info.get("aof_enabled")),
        "last_append_ok": info.get("aof_last_write_status", "ok") == "ok",
        "last_snapshot_ms": int(info.get("rdb_last_save_time", 0)) * 1000,
        "used_memory_bytes": info.get("used_memory", 0),
        "max_memory_bytes": info.get("maxmemory", 0),
    }


def _number(entries: list[Any]) -> int:
    return int(entries[0][0].split(b"-")[0]) if entries else 0


# -- for people ------------------------------------------------------------------------------------


def _read(fleet: Fleet, limit: int) -> Item:
    found = read_status(fleet.connection, fleet.keys, time.time_ns() // 1_000_000, limit)
    found["server"]["url"] = fleet.where
    found["namespace"] = fleet.keys.namespace
    return found


def _watch(fleet: Fleet, limit: int, as_json: bool) -> None:
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
                text = plain(explain(fleet.url, error))
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
        if more > 0:
            parts.append(Text(f"and {more} more: `coord status --json` lists them all"))
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
