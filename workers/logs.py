"""What a worker's processes log, to standard error: for people, or as JSON for programs."""

from __future__ import annotations

import logging

from coordinator.json_logs import JsonLine, stderr_handler

_OF_RQ = "rq.worker"


def log_to_stderr(log_json: bool, level: int = logging.WARNING) -> None:
    """What is logged by anybody in this process goes there, unless that is arranged already."""
    formatter = JsonLine() if log_json else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    logging.basicConfig(level=level, handlers=[stderr_handler(formatter)])


def log_as_json() -> None:
    """The same as JSON, whatever was arranged before, as by `rq worker`."""
    logging.getLogger(_OF_RQ).handlers.clear()
    logging.basicConfig(handlers=[stderr_handler(JsonLine())], force=True)
