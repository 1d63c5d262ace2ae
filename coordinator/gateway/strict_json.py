"""JSON as it comes from strangers: one meaning, or none."""

from __future__ import annotations

import json
from typing import Any

from coordinator.errors import BadMessage


def parse_strict(line: bytes) -> dict[str, Any]:
    """The object in ``line``. BadMessage ``not_json`` for anything else: what is not UTF-8, too
    deep, a number of thousands of digits, NaN, or an object that has a key twice."""
    try:
        value = json.loads(
            line.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise BadMessage("not_json", f"the line is not JSON in UTF-8: {reason[:200]}") from None
    if not isinstance(value, dict):
        raise BadMessage("not_json", "the line must be one JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a key twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"there is no {name} in JSON")
