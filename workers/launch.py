"""How a trainer's processes are started, and what each of them is told."""

from __future__ import annotations

import os
import sys
from typing import get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from coordinator.connection import named_url, redact, resolve_url
from coordinator.errors import ServerUnusable
from coordinator.keys import Keys
from coordinator.settings import Settings
from coordinator.tcp_link import SCHEMES as GATEWAY_SCHEMES

SECRET_VARIABLES = {"RQ_REDIS_URL", "COORD_TOKEN_FILE"} | {
    f"COORD_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation)
}
"""What lets whoever knows it into a fleet, or names the file of it."""


def server_for(settings: Settings) -> str:
    """The URL of the server that a trainer works on: the one that is named for everybody, else an
    AI's way in by COORD_URL, else the embedded one.

    Raises ServerUnusable where COORD_URL leads to a gateway, NoServer if there is none.
    """
    if settings.url is None or named_url(settings) is not None:
        return resolve_url(settings)
    url = settings.url.get_secret_value()
    if urlsplit(url).scheme in GATEWAY_SCHEMES:
        raise ServerUnusable(
            f"COORD_URL leads to the gateway {redact(url)}, and a trainer needs Redis: `coord acl"
            " AI_ID --apply` makes the URL for COORD_REDIS_URL"
        )
    return url


def trainer_command(ai_id: str, namespace: str) -> list[str]:
    """The command line of the trainer ``ai_id``; it holds no secret."""
    queue = Keys(namespace).queue(ai_id)
    worker = ["worker", "-w", "workers.TrainerWorker", "--name", ai_id, "--quiet", queue]
    return [sys.executable, "-m", "rq.cli", *worker]


def trainer_environment(url: str, settings: Settings) -> dict[str, str]:
    """What its environment must hold beside what every process has."""
    return {"RQ_REDIS_URL": url, **settings.to_environment()}


def training_environment() -> dict[str, str]:
    """The environment of training, which may be a stranger's class and needs no server: ours, but
    for what opens a door."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
