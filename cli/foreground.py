"""What runs in the foreground until Ctrl-C or SIGTERM: how it is stopped, and what it says."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from cli.output import plain
from coordinator.json_logs import JsonLine, place_of, stderr_handler

_LOGGERS = {"coord": logging.INFO, "asyncio": logging.WARNING, "uvicorn": logging.WARNING}
"""Who logs, and from which level on it is shown."""
_ENDS = (signal.SIGTERM, signal.SIGINT)

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
LogJsonOption = Annotated[
    bool,
    typer.Option(
        "--log-json",
        help="Log one JSON object a line, for programs.",
        show_default="COORD_LOG_JSON",
    ),
]


class OneLine(logging.Formatter):
    """A record is one line, whatever is in it: what AIs wrote can forge no second one."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{when} {level}{plain(record.getMessage())}"
        place = place_of(record)
        return f"{text} ({place})" if place else text


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at the first SIGTERM or SIGINT; the second one ends the process at once."""

    def end(number: int, _: object) -> None:
        for each in _ENDS:
            signal.signal(each, signal.SIG_DFL)
        stop()

    for number in _ENDS:
        signal.signal(number, end)


def log_to_stderr(quiet: bool, log_json: bool = False) -> None:
    """One line a record, for people or as JSON; what libraries say of a server of ours, too."""
    handler = stderr_handler(JsonLine() if log_json else OneLine())
    for name, level in _LOGGERS.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(max(level, logging.WARNING) if quiet else level)
