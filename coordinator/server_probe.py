"""Asks an embedded server who it is, and whether it serves."""

from __future__ import annotations

import shlex
from pathlib import Path

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordinator.errors import ServerUnusable
from coordinator.processes import start_time
from coordinator.server_directory import (
    OPERATOR_USER,
    Endpoint,
    lock_path,
    read_password,
    secret_path,
)

ANSWER_LIMIT_S = 5.0
"""A server that lives answers within this time, or counts as not answering."""


def ask(state_dir: Path, socket_path: Path) -> Endpoint | None:
    """Who listens at ``socket_path``; None if nobody does, or answers in time.

    Raises ServerUnusable if it refuses our login.
    """
    password = read_password(state_dir)
    try:
        with connected(socket_path, password) as server:
            info = server.info("server")
    except redis.AuthenticationError as error:
        lock = shlex.quote(str(lock_path(state_dir)))
        raise ServerUnusable(
            f"the server that runs in {state_dir} refuses the login in {secret_path(state_dir)},"
            " which is another one's, or lost; or the server was started by an older coord: end it"
            f" by `fuser -k -TERM {lock}` (its data is kept), and start again"
        ) from error
    except redis.RedisError:
        return None
    pid = int(info["process_id"])
    started = start_time(pid)
    if started is None:
        return None
    return Endpoint(
        socket_path=socket_path,
        pid=pid,
        started=started,
        run_id=str(info["run_id"]),
        password=password,
    )


def answers(state_dir: Path, endpoint: Endpoint) -> bool:
    """Whether it is there and takes our login."""
    try:
        return ask(state_dir, endpoint.socket_path) == endpoint
    except ServerUnusable:
        return False


def serves(endpoint: Endpoint) -> bool:
    try:
        with connected(endpoint.socket_path, endpoint.password) as server:
            return bool(server.ping())
    except redis.RedisError:
        return False


def connected(socket_path: Path, password: SecretStr, limit_s: float | None = None) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(socket_path),
        username=OPERATOR_USER,
        password=password.get_secret_value(),
        protocol=2,
        socket_timeout=limit_s or ANSWER_LIMIT_S,
        socket_connect_timeout=ANSWER_LIMIT_S,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,
    )
