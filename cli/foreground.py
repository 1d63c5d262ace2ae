"""What runs in the foreground until Ctrl-C or SIGTERM: how it is stopped, and what it says."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.output import plain

log = logging.getLogger("coord")

_ENDS = (signal.SIGTERM, signal.SIGINT)

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]


class OneLine(logging.Formatter):
    """A record is one line, whatever is in it: what AIs wrote can forge no second one."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{when} {level}{plain(record.getMessage())}"
        trace = record.exc_info[2] if record.exc_info else None
        if trace:
            while trace.tb_next:
                trace = trace.tb_next
            text += f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        return text


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at the first SIGTERM or SIGINT; the second one ends the process at once."""

    def end(number: int, _: object) -> None:
        for each in _ENDS:
            signal.signal(each, signal.SIG_DFL)
        stop()

    for number in _ENDS:
        signal.signal(number, end)


def log_to_stderr(quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)
