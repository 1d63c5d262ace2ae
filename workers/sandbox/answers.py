"""What comes from inside, read as what it is: hostile text."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from coordinator.messages import one_line

DEEPEST = 16
LARGEST = 2**63
LONGEST_DETAIL = 400


class BadAnswer(Exception):
    """It breaks a rule; the message says which."""


def parse_answer(text: str) -> Any:
    """The value of the JSON ``text``: finite numbers, integers of at most 64 bits, whole
    characters, at most DEEPEST levels. Raises BadAnswer."""
    try:
        value = _decode(text)
    except RecursionError:
        raise BadAnswer(f"it is nested deeper than {DEEPEST} levels") from None
    except ValueError:
        raise BadAnswer("it is not JSON") from None
    if isinstance(value, str | list | dict):
        _check(value, DEEPEST)
    return value


def shown(text: str) -> str:
    """``text`` on one printable line, cut."""
    return one_line(" ".join(text[: 4 * LONGEST_DETAIL].split()), LONGEST_DETAIL)


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise BadAnswer(f"it is nested deeper than {DEEPEST} levels")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadAnswer("it has half a character") from None
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth)
            _check(item, depth - 1)


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= LARGEST:
        raise BadAnswer("it has an integer of more than 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadAnswer("it has a number that is not finite")
    return value


def _refused(name: str) -> NoReturn:
    raise BadAnswer(f"it has {name}, which is no number")


_decode = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_refused).decode
