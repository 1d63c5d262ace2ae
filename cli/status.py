"""``coord status``: the coordinator, the AIs, the server, and how much there is of everything."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    WatchOption,
    load_settings,
    open_fleet,
)
from cli.output import ExitCode, age, complain, console, facts, say_json, table
from cli.watch import watch as watch_it
from coordinator.clock import SystemClock
from coordinator.reads import Item
from coordinator.status import read_status
from reports.formats import size

SHOWN_AIS = 50
"""So many AIs are shown, and so many queues and workers."""
MANY_VALIDATIONS = 20
"""If so many wait, the validators there are do not keep up with what is shared."""


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
            watch_it(fleet, lambda: _read(fleet, limit), _page, json)
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
    found = read_status(fleet.connection, fleet.keys, SystemClock().now_ms(), limit)
    found["server"]["url"] = fleet.place
    found["namespace"] = fleet.keys.namespace
    return found


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
    for title, table_of in (("queues", _queue_table), ("workers", _worker_table)):
        rows = found[title]
        if rows:
            parts += [Text(), table_of(rows[:SHOWN_AIS])]
        if len(rows) > SHOWN_AIS:
            parts.append(Text(f"and {len(rows) - SHOWN_AIS} more {title}: see --json"))
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
        ("gateways", _gateways(leads["gateways"])),
        ("ingress", lag),
        ("epoch", f"{leads['epoch'] or 'none yet'}, log {leads['log']}, events {leads['events']}"),
        ("server", f"{server['name']} {server['version']} at {server['url']}, {memory}"),
        ("persistence", _persistence(server)),
        ("archives", _archives(found["archives"])),
        ("AIs", found["connected_ais"]),
        (
            "messages",
            f"{found['total_messages']}, of them {found['performance_reports']} reports of"
            " performance",
        ),
        (
            "shared",
            f"{found['shared_patterns']} patterns, {found['shared_components']} components,"
            f" {found['collective_features']} features",
        ),
        (
            "together",
            f"{found['active_collaborations']} collaborations and"
            f" {found['open_feature_requests']} feature requests are open",
        ),
        ("validations", _validations(found["open_validations"])),
        ("their units", ", ".join(f"{count} {state}" for state, count in found["units"].items())),
    ]
    if leads["dead_letters"]:
        rows.append(("dead letters", f"{leads['dead_letters']}: see `coord dead list`"))
    return facts(rows)


def _validations(waiting: int) -> str:
    if waiting < MANY_VALIDATIONS:
        return f"{waiting} wait"
    return f"{waiting} wait: start another `coord validator`, or `coord up --validators 2`"


def _gateways(gateways: list[Item]) -> str:
    shown = [
        f"{one['address'] or one['id']}{' with TLS' if one['tls'] else ''}"
        f" ({one['connections']} connections, {age(one['seen_age_ms'])} ago)"
        for one in gateways
    ]
    return ", ".join(shown) or "none: AIs come by Redis alone"


def _archives(archives: list[Item]) -> str:
    shown = [
        f"{one['id']} ({one['behind']} entries behind, heard of {age(one['seen_age_ms'])} ago)"
        for one in archives
    ]
    return ", ".join(shown) or "none: `coord archive` keeps what happens"


def _persistence(server: Item) -> str:
    if not server["append_only_file"]:
        return "no append-only file: a crash of the server loses messages"
    return "append-only file" if server["last_append_ok"] else "the last append FAILED"


def _ai_table(ais: list[Item]) -> RenderableType:
    rows = [
        (
            ai["ai_id"],
            ai["specialization"],
            ai["status"],
            f"{ai['load']:.2f}",
            "Redis" if ai["door"] == ai["ai_id"] else ai["door"],
            f"{age(ai['heartbeat_age_ms'])} ago",
        )
        for ai in ais
    ]
    columns = ("AI", "specialization", "status", "load", "by", "heartbeat")
    return table("", columns, rows, spare=("by",))


def _queue_table(queues: list[Item]) -> RenderableType:
    columns = ("waiting", "started", "failed")
    rows = [(queue["name"], *(queue[column] for column in columns)) for queue in queues]
    return table("", ("queue", *columns), rows)


def _worker_table(workers: list[Item]) -> RenderableType:
    rows = [
        (
            worker["name"],
            worker["state"],
            worker["current_job"],
            f"{age(worker['heartbeat_age_ms'])} ago",
        )
        for worker in workers
    ]
    return table("", ("worker", "state", "job", "heartbeat"), rows)
