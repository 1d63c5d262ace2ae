"""How a worker's processes are started, and what each of them is told."""

from __future__ import annotations

import os
import sys
from typing import Any, get_args
from urllib.parse import urlsplit

import redis
from pydantic import SecretStr

from coordinator.connection import connect, named_url, redact, resolve_url, url_of
from coordinator.errors import ServerUnusable
from coordinator.keys import Keys
from coordinator.settings import Settings
from coordinator.tcp.gateway_url import SCHEMES as GATEWAY_SCHEMES

SECRET_VARIABLES = {"RQ_REDIS_URL", "COORD_TOKEN_FILE"} | {
    f"COORD_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation)
}
"""What lets whoever knows it into a fleet, or names the file of it."""


def server_for(settings: Settings, role: str = "trainer") -> str:
    """The URL of the server that a worker works on: the one that is named for everybody, else an
    AI's way in by COORD_URL, else the embedded one.

    Raises ServerUnusable where COORD_URL leads to a gateway, NoServer if there is none.
    """
    if settings.url is None or named_url(settings) is not None:
        return resolve_url(settings)
    url = settings.url.get_secret_value()
    if urlsplit(url).scheme in GATEWAY_SCHEMES:
        raise ServerUnusable(
            f"COORD_URL leads to the gateway {redact(url)}, and a {role} needs Redis: `coord acl"
            " AI_ID --apply` makes the URL for COORD_REDIS_URL"
        )
    return url


def check_named_server(connection: redis.Redis | None, settings: Settings) -> None:
    """SystemExit with one sentence when another server is named by COORD_REDIS_URL or COORD_URL:
    RQ, which does not know of them, goes to localhost without RQ_REDIS_URL."""
    variable = "COORD_URL" if settings.redis_url is None else "COORD_REDIS_URL"
    is_told = settings.redis_url or (settings.url and named_url(settings) is None)
    if connection is None or not is_told:
        return
    try:
        named = server_for(settings)
        is_same = _place(connect(named)) == _place(connection)
    except ServerUnusable as error:
        raise SystemExit(f"coord: {error}") from None
    if not is_same:
        raise SystemExit(
            f"coord: {variable} names {redact(named)}, and `rq worker`, which reads only"
            f" RQ_REDIS_URL, has come to {redact(url_of(connection))}: set both to the same, or"
            " use `coord trainer` or `coord validator`"
        )


def _place(connection: redis.Redis) -> tuple[Any, ...]:
    options = connection.connection_pool.connection_kwargs
    host, port = options.get("host"), options.get("port") or 6379
    return options.get("path") or (host, port), options.get("db") or 0


def trainer_command(ai_id: str, namespace: str) -> list[str]:
    """The command line of the trainer ``ai_id``; it holds no secret."""
    return _command("workers.TrainerWorker", ai_id, Keys(namespace).queue(ai_id))


def validator_command(ai_id: str, namespace: str) -> list[str]:
    """The same of the validator ``ai_id``."""
    return _command("workers.ValidatorWorker", ai_id, Keys(namespace).validation_queue)


def _command(worker: str, ai_id: str, queue: str) -> list[str]:
    options = ["-w", worker, "--name", ai_id, "--quiet"]
    return [sys.executable, "-m", "rq.cli", "worker", *options, queue]


def worker_environment(url: str, settings: Settings) -> dict[str, str]:
    """What a worker's environment must hold beside what every process has."""
    return {"RQ_REDIS_URL": url, **settings.to_environment()}


def training_environment() -> dict[str, str]:
    """The environment of training, which may be a stranger's class and needs no server: ours, but
    for what opens a door."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
