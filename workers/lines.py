"""What a trainer's processes tell each other: JSON lines, one object a line, and exit codes."""

from __future__ import annotations

import json
from typing import Any, TextIO

REFUSED_EXIT = 3
"""The fleet does not take this AI: starting again would not help."""

ALIVE = b"\n"
"""What a worker says to its agent again and again."""

METRICS = (
    "patterns_generated",
    "components_created",
    "collaborations_completed",
    "features_implemented",
)
"""What a trainer counts, in the order in which it is shown."""


def encode_line(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def write_line(stream: TextIO, line: dict[str, Any]) -> None:
    stream.write(encode_line(line).decode())
    stream.flush()


def read_line(text: str | bytes) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text)
    return line
