"""How a trainer is started as a process of its own."""

from __future__ import annotations

import sys

from coordinator.keys import Keys
from coordinator.settings import Settings


def trainer_command(ai_id: str, namespace: str) -> list[str]:
    """The command line of the trainer ``ai_id``; it holds no secret."""
    queue = Keys(namespace).queue(ai_id)
    worker = ["worker", "-w", "workers.TrainerWorker", "--name", ai_id, "--quiet", queue]
    return [sys.executable, "-m", "rq.cli", *worker]


def trainer_environment(url: str, settings: Settings) -> dict[str, str]:
    """What its environment must hold beside what every process has."""
    environment = {
        "RQ_REDIS_URL": url,
        "COORD_NAMESPACE": settings.namespace,
        "COORD_SPECIALIZATION": settings.specialization,
        "COORD_LEASE_S": f"{settings.lease_s:g}",
    }
    return environment | ({"COORD_TRAINER": settings.trainer} if settings.trainer else {})
