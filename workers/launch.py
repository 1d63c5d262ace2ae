"""How a trainer's processes are started, and what each of them is told."""

from __future__ import annotations

import os
import sys
from typing import get_args

from pydantic import SecretStr

from coordinator.keys import Keys
from coordinator.settings import Settings

SECRET_VARIABLES = {"RQ_REDIS_URL", "COORD_TOKEN_FILE"} | {
    f"COORD_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in get_args(field.annotation)
}
"""What lets whoever knows it into a fleet, or names the file of it."""


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
