"""Connections to Redis: which server to use, and what its errors mean for people."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import redis as redis_py
import redis.asyncio as redis_asyncio
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.retry import Retry

from coordinator import embedded
from coordinator.errors import NoServer, ServerUnusable
from coordinator.settings import Settings

CONNECT_TIMEOUT_S = 5.0
SOCKET_TIMEOUT_S = 10.0
HEALTH_CHECK_S = 15
"""A connection that was idle for this long is tried with a PING before it is used."""

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

COORDINATOR = "coord-coordinator"


def connection_name(ai_id: str) -> str:
    """What the connections of an AI are called in CLIENT LIST."""
    return f"coord:{ai_id}"


def connect(
    url: str, *, client_name: str | None = None, socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> Redis:
    """A client of the server at ``url``; nothing is sent yet.

    Replies are bytes. Nothing is ever sent twice by itself: a lost reply is an error, for coord
    numbers its messages and does its own resending. A command that blocks must do so for less
    than ``socket_timeout_s`` seconds. ``client_name`` is what CLIENT LIST calls the connection.
    Raises ServerUnusable if ``url`` is none.
    """
    return Redis.from_url(_checked(url), **_options(client_name, socket_timeout_s))


def connect_async(
    url: str, *, client_name: str | None = None, socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> redis_asyncio.Redis:
    """The same as ``connect``, for asyncio."""
    options = _options(client_name, socket_timeout_s)
    options["retry"] = redis_asyncio.retry.Retry(NoBackoff(), 0)
    return redis_asyncio.Redis.from_url(_checked(url), **options)


def named_url(settings: Settings) -> str | None:
    """The server that somebody named: by --redis or COORD_REDIS_URL, else by RQ_REDIS_URL."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return os.environ.get("RQ_REDIS_URL") or None


def resolve_url(settings: Settings) -> str:
    """The server to use: the one that was named, else the running embedded server.

    No other is ever tried. Raises NoServer if there is none, ServerUnusable if the embedded one
    lives and does not answer.
    """
    url = named_url(settings)
    if url is not None:
        return url
    endpoint = embedded.find(settings.state_dir)
    pid = embedded.silent_pid(settings.state_dir) if endpoint is None else None
    if pid is not None:
        raise ServerUnusable(
            f"the embedded server runs as process {pid}, but does not answer, or not to our login:"
            " `coord serve` says which, `coord stop` ends it"
        )
    if endpoint is None:
        raise NoServer(
            "no server: run `coord serve`, or name one by --redis or COORD_REDIS_URL"
            " (RQ_REDIS_URL counts too)"
        )
    return endpoint.url


def resolve_ai_url(settings: Settings) -> str:
    """An AI's way into the fleet: a gateway's or a server's URL in COORD_URL, else the server that
    ``resolve_url`` finds. Raises NoServer if there is none."""
    if settings.url is not None:
        return settings.url.get_secret_value()
    return resolve_url(settings)


def url_of(connection: Redis, user: str | None = None, password: str | None = None) -> str:
    """The URL of the server that ``connection`` talks to, with its login or that of another."""
    pool = connection.connection_pool
    options = pool.connection_kwargs
    if password is None:
        user, password = options.get("username"), options.get("password")
    login = f"{quote(user or '', '')}:{quote(password, '')}@" if password else ""
    database = options.get("db") or 0
    if path := options.get("path"):
        return f"unix://{login}{quote(path)}?db={database}"
    place = f"{login}{options.get('host')}:{options.get('port') or 6379}/{database}"
    if not issubclass(pool.connection_class, redis_py.SSLConnection):
        return f"redis://{place}"
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    given = {name: value for name, value in tls.items() if isinstance(value, str | bool)}
    return f"rediss://{place}?{urlencode(given)}".rstrip("?")


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


def unusable(where: str, error: RedisError) -> ServerUnusable:
    """What an error of Redis means, and what to do; ``where`` begins the sentence."""
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
            f"{where} cannot be reached ({error}): start it, or correct --redis, COORD_REDIS_URL"
            " or RQ_REDIS_URL (without any of them it is the embedded server)"
        )
    return ServerUnusable(f"{where} answers with an error ({error}): `coord doctor` may say more")


# -- URLs ------------------------------------------------------------------------------------------


def _options(client_name: str | None, socket_timeout_s: float) -> dict[str, Any]:
    return {
        "decode_responses": False,
        "protocol": 2,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": socket_timeout_s,
        "health_check_interval": HEALTH_CHECK_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": client_name,
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
