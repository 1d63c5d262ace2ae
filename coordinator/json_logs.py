"""Logs for programs: each record is one JSON object on one line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from coordinator.clock import iso
from coordinator.messages import one_line


class JsonLine(JsonFormatter):
    """``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``; of an exception also its type
    as ``error``, and ``place``: in which file and line it was raised.

    All is ASCII, and what AIs wrote has no control characters in it. Nothing else of a record is
    told, such as what a library attaches to it.
    """

    def __init__(self) -> None:
        super().__init__(json_ensure_ascii=True)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data |= {
            "time": iso(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(record.getMessage(), sys.maxsize),
        }
        if record.exc_info and record.exc_info[0]:
            log_data["error"] = record.exc_info[0].__name__
        place = place_of(record)
        if place:
            log_data["place"] = place


def place_of(record: logging.LogRecord) -> str:
    """``file:line`` of where the exception was raised that ``record`` tells of; "" if of none."""
    trace = record.exc_info[2] if record.exc_info else None
    if trace is None:
        return ""
    while trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def stderr_handler(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    return handler
