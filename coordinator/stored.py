"""Values as they are stored. Strangers may have written them: what cannot be read counts as none.

Only what is of the data is borne; an outage of the server is raised as ever.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from math import isfinite
from typing import Any

import redis
from redis.client import Pipeline

from coordinator.server_errors import raise_unless_of_the_data

log = logging.getLogger("coord")


def replies_of(pipe: Pipeline) -> list[Any]:
    """What the server replies to all that is in ``pipe``; None to what it refuses for what a key
    holds."""
    replies = pipe.execute(raise_on_error=False)
    for reply in replies:
        raise_unless_of_the_data(reply)
    return [None if isinstance(reply, Exception) else reply for reply in replies]


def read_one(connection: redis.Redis, command: str, *given: Any) -> Any:
    """What the server replies to one command, e.g. ``"XRANGE", key, "1-0", "1-0"``; None where it
    refuses it for what the key holds."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.execute_command(command, *given)
        return replies_of(pipe)[0]


def read_hashes(connection: redis.Redis, names: Iterable[str]) -> list[dict[bytes, bytes]]:
    """The hash of each key; empty where there is none, or something that is no hash."""
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(name)
        return [reply or {} for reply in replies_of(pipe)]


def remove_spoiled(connection: redis.Redis, names: Iterable[str]) -> None:
    """Remove what is of another type than it should be: nothing could be written there any more."""
    spoiled = sorted(names)
    if spoiled:
        log.warning("removed what was of a wrong type: %s", ", ".join(spoiled))
        connection.delete(*spoiled)


def text_of(stored: bytes | None) -> str:
    return (stored or b"").decode(errors="replace")


def whole_number(stored: bytes | None) -> int:
    """0 for what is none, as for none."""
    return int(stored) if stored and stored.isdigit() and len(stored) < 19 else 0


def finite_number(value: object) -> float | None:
    """None for what is no number of JSON, or not a finite one."""
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if isfinite(number) else None


def number_of(stored: bytes | None) -> float | None:
    """A number as text, such as a score."""
    try:
        return finite_number(float(stored or b""))
    except ValueError:
        return None


def json_of(stored: bytes | str | None) -> Any:
    """None for what cannot be read, or written again."""
    try:
        text = stored.decode() if isinstance(stored, bytes) else stored
        value = json.loads(text or "null")
        if "\\u" in (text or ""):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def dig(value: Any, *path: str) -> Any:
    """What lies at ``path`` in somebody's JSON, or None; nothing about its shape is believed."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
