"""Connections to Redis, which server to use, and whether a fleet can live on it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import redis as redis_py
import redis.asyncio as redis_asyncio
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from coordinator import embedded
from coordinator.errors import NoServer, ServerUnusable
from coordinator.keys import SCHEMA_VERSION, Keys
from coordinator.settings import Settings

CONNECT_TIMEOUT_S = 5.0
SOCKET_TIMEOUT_S = 10.0
HEALTH_CHECK_S = 15
"""A connection that was idle for this long is tried with a PING before it is used."""
LOADING_LIMIT_S = 120.0
"""The longest wait for a server that is loading its data."""

_REDIS_MIN = (7, 0)
_VALKEY_MIN = (8, 0)
_QUERY_OPTIONS = {"db", "username", "password"}
_TLS_OPTIONS = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
}
_URL_FORMS = "redis://[user:password@]host[:port][/db], rediss://… or unix:///path[?db=N]"

Role = Literal["coordinator", "client"]


def connect(
    url: str, *, role: Role = "client", socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> Redis:
    """A client of the server at ``url``; nothing is sent yet.

    Replies are bytes. Nothing is ever sent twice by itself: a lost reply is an error, for coord
    numbers its messages and does its own resending. A command that blocks must do so for less
    than ``socket_timeout_s`` seconds. ``role`` "coordinator" gives the connection that name in
    CLIENT LIST; a client's has none. Raises ServerUnusable if ``url`` is none.
    """
    return Redis.from_url(_checked(url), **_options(role, socket_timeout_s))


def connect_async(
    url: str, *, role: Role = "client", socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> redis_asyncio.Redis:
    """The same as ``connect``, for asyncio."""
    options = _options(role, socket_timeout_s)
    options["retry"] = redis_asyncio.retry.Retry(NoBackoff(), 0)
    return redis_asyncio.Redis.from_url(_checked(url), **options)


def resolve_url(settings: Settings) -> str:
    """The server to use: the setting, else RQ_REDIS_URL, else the running embedded server.

    No other is ever tried. Raises NoServer if there is none.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    if url := os.environ.get("RQ_REDIS_URL"):
        return url
    endpoint = embedded.find(settings.state_dir)
    if endpoint is None:
        raise NoServer("no server: run `coord serve`, or name one by --redis or COORD_REDIS_URL")
    return endpoint.url


def redact(url: str) -> str:
    """``url`` without its secrets, for people; it need not be a valid one.

    Where the end of a secret is in doubt, more is hidden rather than less.
    """
    url = re.sub(r"(?i)([?&](?:ssl_)?password=).*", r"\1***", url, flags=re.DOTALL)
    scheme, mark, rest = url.rpartition("://") if "@" not in url else url.partition("://")
    if not mark:
        scheme, rest = "", url
    login, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        rest = f"{user}:***@{place}" if colon else f"***@{place}"
    return f"{scheme}{mark}{rest}"


def server_run_id(redis: Redis) -> str:
    """The server's name for its present run: another one means that it was started again."""
    return str(redis.info("server")["run_id"])


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
        raise _unusable(where, error) from error


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


# -- URLs ------------------------------------------------------------------------------------------


def _options(role: Role, socket_timeout_s: float) -> dict[str, Any]:
    return {
        "decode_responses": False,
        "protocol": 2,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": socket_timeout_s,
        "health_check_interval": HEALTH_CHECK_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "coord-coordinator" if role == "coordinator" else None,
        "driver_info": None,  # CLIENT SETINFO came with Redis 7.2
    }


def _checked(url: str) -> str:
    """``url``, if every part of it means something to us: redis-py ignores what it cannot read."""
    fault = _url_fault(url)
    if fault:
        # Not chained to the parser's own error, which quotes the password it stumbled over.
        raise ServerUnusable(f"the server URL {redact(url)!r} is wrong in its {fault}") from None
    return url


def _url_fault(url: str) -> str:
    """What is wrong with ``url`` as "field: rule and fix", or ""."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return (
            "host, port or query: write " + _URL_FORMS + ", with / : @ ? # in a password written"
            " as %2F %3A %40 %3F %23"
        )
    if parts.scheme not in ("redis", "rediss", "unix"):
        return f"scheme: it must be redis, rediss or unix, as in {_URL_FORMS}"
    if parts.fragment:
        return "fragment: a URL of a server has none; write # in a password as %23"
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            return "path: it must be absolute, with three slashes: unix:///path"
    elif not parts.hostname:
        return f"host: it must be named, as in {_URL_FORMS}"
    elif parts.path not in ("", "/") and not re.fullmatch(r"/\d+", unquote(parts.path)):
        return "path: it must be the number of a database, as in redis://host:6379/0"
    if not re.fullmatch(r"\d*", query.get("db", [""])[0]):
        return "db: it must be the number of a database, as in ?db=0"
    known = _QUERY_OPTIONS | (_TLS_OPTIONS if parts.scheme == "rediss" else set())
    unknown = sorted(query.keys() - known)
    if unknown:
        return f"option {unknown[0]!r}: known for {parts.scheme} are {', '.join(sorted(known))}"
    return ""


def _where(redis: Redis) -> str:
    """The server of a client as people write it, without a password."""
    options = redis.get_connection_kwargs()
    place = options.get("path") or f"{options.get('host', '?')}:{options.get('port', 6379)}"
    return f"the server at {place}"


# -- rules -----------------------------------------------------------------------------------------


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


def _unusable(where: str, error: RedisError) -> ServerUnusable:
    if isinstance(error, AuthenticationError):
        return ServerUnusable(
            f"{where} refuses our user name and password ({error}): put the right ones into the"
            " URL, as in redis://user:password@host:6379"
        )
    if isinstance(error, NoPermissionError):
        return ServerUnusable(
            f"{where} does not let our user do what coord needs ({error}): allow it by ACL SETUSER,"
            " or name another user in the URL"
        )
    if isinstance(error, (redis_py.ConnectionError, redis_py.TimeoutError)):
        return ServerUnusable(
            f"{where} cannot be reached ({error}): start it, correct --redis or COORD_REDIS_URL, or"
            " leave both out to use the embedded server"
        )
    return ServerUnusable(f"{where} answers with an error ({error}): see to it, and start again")
