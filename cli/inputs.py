"""What people give on a command line beside words and numbers: JSON, requirements, durations and
secrets."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any, TextIO

import typer

from cli.output import plain
from coordinator.credentials import check_token
from coordinator.errors import CoordError
from coordinator.secret_files import read_secret
from coordinator.settings import MAX_KEEP_S

MAX_JSON_CHARS = 16 * 1024 * 1024
"""As many as the largest message that can be allowed has bytes."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def json_of(text: str, source: str) -> Any:
    """The JSON value in ``text``, or a usage error that names ``source``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{source} is not JSON: {plain(error)}") from None


def json_in(path: str) -> Any:
    """The JSON value in a file, or on the input for ``-``."""
    if path == "-":
        return json_of(_whole(sys.stdin, "the input"), "the input")
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = _whole(file, plain(path))
    except OSError as error:
        raise typer.BadParameter(f"{plain(path)} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{plain(path)} is no text: {plain(error)}") from None
    return json_of(text, plain(path))


def _whole(file: TextIO, source: str) -> str:
    text = file.read(MAX_JSON_CHARS + 1)
    if len(text) > MAX_JSON_CHARS:
        raise typer.BadParameter(f"{source} has more than {MAX_JSON_CHARS} characters")
    return text


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


def seconds_of(text: str) -> float:
    """A duration such as 90s, 15m, 1h or 30d in seconds, or a usage error."""
    match = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,9})?)([smhd])", text)
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else MAX_KEEP_S + 1
    if seconds > MAX_KEEP_S:
        raise typer.BadParameter(
            f"{plain(text, 40)!r} is no duration: write a number and s, m, h or d, as in 90s, 1h or"
            f" 30d, at most {MAX_KEEP_S / _UNITS_S['d']:.0f}d"
        )
    return seconds


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question about the known word that is nearest to another one; "" where none is near."""
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else ""


def known_word(word: str, known: Collection[str], option: str) -> str:
    """``word``, or a usage error that says which ones ``option`` takes."""
    if word not in known:
        question = did_you_mean(word, known) or f"there are {', '.join(known)}"
        raise typer.BadParameter(f"{option} {plain(word)}: {question}")
    return word


def token_in(path: str) -> str:
    """The token in a file, or on the input for ``-``, where a terminal is asked without echo."""
    try:
        if path != "-":
            return check_token(read_secret(Path(path)))
        if sys.stdin.isatty():
            return check_token(getpass("token: "))
        return check_token(sys.stdin.readline().rstrip("\r\n"))
    except FileNotFoundError:
        raise typer.BadParameter(f"--token-file: there is no file {plain(path)}") from None
    except CoordError as error:
        raise typer.BadParameter(f"--token-file: {error.detail}") from None
