"""Whether a fleet can live on a server, and what a crash of it would lose."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.exceptions import BusyLoadingError, NoPermissionError, RedisError, ResponseError

from coordinator.connection import unusable
from coordinator.embedded import LOADING_LIMIT_S
from coordinator.errors import ServerUnusable
from coordinator.keys import SCHEMA_VERSION, Keys

_REDIS_MIN = (7, 0)
_VALKEY_MIN = (8, 0)


def check_server(
    redis: Redis, keys: Keys, *, loading_limit_s: float = LOADING_LIMIT_S
) -> list[str]:
    """Make sure that a fleet can live on this server; returns warnings, one sentence each.

    Raises ServerUnusable, which says what is wrong and what to do. A server that is loading its
    data is waited for, up to ``loading_limit_s`` seconds.
    """
    where = _where(redis)
    try:
        _wait_until_loaded(redis, where, loading_limit_s)
        info: Mapping[str, Any] = redis.info()
        check_info(info, where)
        _check_schema(redis, keys, where)
        return _persistence_warnings(redis, info, where)
    except RedisError as error:
        raise unusable(where, error) from error


def check_info(info: Mapping[str, Any], where: str) -> None:
    """The rules that the server's INFO can be held against. Raises ServerUnusable."""
    name, version, minimum = _version(info)
    if _numbers(version) < minimum:
        raise ServerUnusable(
            f"{where} is {name} {version}, and coord needs Redis 7.0 or Valkey 8.0 at least:"
            " upgrade it, or leave out --redis to use the embedded server"
        )
    if info.get("role") != "master":
        raise ServerUnusable(
            f"{where} is a read-only replica, and coord must write: name its primary"
            f" ({info.get('master_host', 'unknown')}:{info.get('master_port', 'unknown')})"
        )
    if info.get("cluster_enabled"):
        raise ServerUnusable(
            f"{where} runs in cluster mode, and a fleet changes all its keys in one transaction,"
            " which a cluster refuses: name a server without cluster-enabled"
        )
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        raise ServerUnusable(
            f"{where} has maxmemory-policy {policy}, which deletes a fleet's keys when memory is"
            " short: run `CONFIG SET maxmemory-policy noeviction` and put it into its configuration"
        )


def _where(redis: Redis) -> str:
    """The server of a client as people write it, without a password."""
    options = redis.get_connection_kwargs()
    place = options.get("path") or f"{options.get('host', '?')}:{options.get('port', 6379)}"
    return f"the server at {place}"


def _wait_until_loaded(redis: Redis, where: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            redis.ping()
            return
        except BusyLoadingError as error:
            if time.monotonic() > deadline:
                raise ServerUnusable(
                    f"{where} has been loading its data for {limit_s:.0f} s and serves nothing"
                    " until that is done: wait for it, and start again"
                ) from error
        time.sleep(0.05)


def _version(info: Mapping[str, Any]) -> tuple[str, str, tuple[int, int]]:
    if "valkey_version" in info or info.get("server_name") == "valkey":
        return "Valkey", str(info.get("valkey_version", "0")), _VALKEY_MIN
    return "Redis", str(info.get("redis_version", "0")), _REDIS_MIN


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _check_schema(redis: Redis, keys: Keys, where: str) -> None:
    try:
        schema = redis.hget(keys.fleet, "schema")
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        schema = b"(not a hash)"
    if schema is not None and schema != SCHEMA_VERSION.encode():
        shown = schema.decode(errors="replace") if isinstance(schema, bytes) else schema
        raise ServerUnusable(
            f"{where} holds a fleet {keys.namespace!r} of schema {shown}, and this coord writes"
            f" schema {SCHEMA_VERSION}: use the coord that made it, or another --namespace"
        )


def _persistence_warnings(redis: Redis, info: Mapping[str, Any], where: str) -> list[str]:
    if info.get("aof_enabled"):
        return []
    try:
        configured = redis.config_get("save").get("save")
    except (ResponseError, NoPermissionError):  # hosted servers hide CONFIG
        loses = "everything since its last snapshot, if it takes any"
    else:
        loses = "everything since its last snapshot" if configured else "everything"
        if configured:
            loses += f" (it takes one by the rule `save {configured}`: seconds, changes)"
    return [
        f"{where} keeps no append-only file, so a crash of it would lose {loses}:"
        " run `CONFIG SET appendonly yes` and put it into its configuration"
    ]
