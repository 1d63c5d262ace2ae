"""What people give on a command line beside words and numbers: JSON, and requirements."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from cli.output import plain


def json_of(text: str, source: str) -> Any:
    """The JSON value in ``text``, or a usage error that names ``source``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{source} is not JSON: {plain(error)}") from None


def json_in(path: str) -> Any:
    """The JSON value in a file, or on the input for ``-``."""
    if path == "-":
        return json_of(sys.stdin.read(), "the input")
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{plain(path)} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{plain(path)} is no text: {plain(error)}") from None
    return json_of(text, plain(path))


def requirements_of(given: Sequence[str]) -> dict[str, Any]:
    """``k=v`` for each; what reads as JSON is taken as such (``rounds=12``), all else as text."""
    requirements: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"--requirement {plain(text)!r} is not of the form name=value")
        try:
            requirements[name] = json.loads(value)
        except (ValueError, RecursionError):
            requirements[name] = value
    return requirements
