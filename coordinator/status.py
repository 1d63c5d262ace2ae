"""How a fleet is: who coordinates, who is there, what waits, and what the server says of itself."""

from __future__ import annotations

from typing import cast

import redis

from coordinator.archive_marks import read_behind
from coordinator.clock import LAST_MS
from coordinator.history import read_end
from coordinator.keys import Keys
from coordinator.lag import Lag, read_lag
from coordinator.lease import holder_name
from coordinator.queues import read_rq
from coordinator.reads import Item, read_ais, read_counts
from coordinator.session_reads import read_open_work
from coordinator.stored import read_one, replies_of, text_of, whole_number

STANDBY_SEEN_MS = 5_000
"""A coordinator that stood by within this time still does."""
GATEWAY_SEEN_MS = 60_000
"""A gateway that spoke within this time is shown."""


def read_status(
    connection: redis.Redis,
    keys: Keys,
    now_ms: int,
    ais_limit: int | None = None,
    rq_limit: int | None = None,
) -> Item:
    """All of a fleet's state that fits on a page; ``ais`` holds the records of ``ais_limit`` AIs,
    ``queues`` and ``workers`` ``rq_limit`` each, all of them if it is None.

    Costs a handful of round trips, however many AIs and sessions there are. Of units those of open
    sessions are counted.
    """
    leads = read_coordinator(connection, keys, now_ms)
    work = read_open_work(connection, keys)
    counts = read_counts(connection, keys)
    ids = read_one(connection, "ZRANGE", keys.leases, 0, -1) or []
    page = read_ais(connection, keys, len(ids) if ais_limit is None else ais_limit)
    return {
        "connected_ais": len(ids),
        "ai_list": sorted(map(text_of, ids)),
        "total_messages": counts["messages"],
        "shared_patterns": counts["patterns"],
        "shared_components": counts["components"],
        "collective_features": counts["features"],
        "open_validations": counts["open_validations"],
        "active_collaborations": work["sessions"]["pending"] + work["sessions"]["active"],
        "open_feature_requests": work["sessions"]["features"],
        "units": work["units"],
        "performance_reports": counts["messages_by_type"].get("performance_report", 0),
        "messages_by_type": counts["messages_by_type"],
        "coordinator": leads,
        "archives": [one.as_json() for one in read_behind(connection, keys, now_ms)],
        "server": read_server(connection),
        "ais": [item | {"heartbeat_age_ms": now_ms - item["heartbeat_ms"]} for item in page.items],
        **read_rq(connection, keys, now_ms, rq_limit),
    }


def read_coordinator(
    connection: redis.Redis, keys: Keys, now_ms: int, lag: Lag | None = None
) -> Item:
    """Who coordinates and who stands by, the gateways, what waits, and how far the streams are.

    What waits is read of each door: of 10,000 that takes a while, unless its ``lag`` is known.
    """
    end = read_end(connection, keys)
    with connection.pipeline(transaction=False) as pipe:
        pipe.get(keys.leader)
        pipe.pttl(keys.leader)
        pipe.zrangebyscore(keys.standby, now_ms - STANDBY_SEEN_MS, "+inf")
        pipe.xlen(keys.dead)
        token, lease_ms, standby, dead = replies_of(pipe)
    return {
        "active": holder_name(token) if token else None,
        "lease_ms": lease_ms if token else 0,
        "standby": sorted(map(text_of, standby or ())),
        "gateways": read_gateways(connection, keys, now_ms),
        "epoch": end.epoch or None,
        "ingress": (lag or read_lag(connection, keys))._asdict(),
        "log": end.log,
        "events": end.events,
        "dead_letters": dead or 0,
    }


def read_gateways(connection: redis.Redis, keys: Keys, now_ms: int) -> list[Item]:
    """Those heard of lately, and when that was; ``address`` is None once one is silent."""
    least_ms = now_ms - GATEWAY_SEEN_MS
    with connection.pipeline(transaction=False) as pipe:
        pipe.zrangebyscore(keys.gateways, least_ms, LAST_MS, withscores=True)
        (seen,) = replies_of(pipe)
        pairs = [(text_of(name), int(ms)) for name, ms in seen or ()]
        for gateway_id, _ in pairs:
            pipe.hmget(keys.gateway(gateway_id), "address", "tls", "connections")
        replies = [reply or (None, None, None) for reply in replies_of(pipe)]
    return [
        {
            "id": gateway_id,
            "address": text_of(address) or None,
            "tls": tls == b"1",
            "connections": whole_number(connections),
            "seen_age_ms": max(0, now_ms - seen_ms),
        }
        for (gateway_id, seen_ms), (address, tls, connections) in zip(pairs, replies, strict=True)
    ]


def read_server(connection: redis.Redis) -> Item:
    """What the server says of itself."""
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
        "last_snapshot_ok": info.get("rdb_last_bgsave_status", "ok") == "ok",
        "used_memory_bytes": info.get("used_memory", 0),
        "max_memory_bytes": info.get("maxmemory", 0),
    }


def read_holder(connection: redis.Redis, keys: Keys) -> str | None:
    """The name of the active coordinator, None if there is none."""
    token = cast("bytes | None", connection.get(keys.leader))
    return holder_name(token) if token else None
