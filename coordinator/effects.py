"""What handling a message does, as plain data: handlers return it, the transaction writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coordinator.payloads import Query


@dataclass(frozen=True, slots=True)
class Write:
    """One Redis command that changes state, e.g. ``Write("ZADD", key, score, member)``."""

    command: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message for everybody but those in ``exclude``: numbered in the log and pushed."""

    message: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for one AI, or one ``instance`` of it: numbered in its inbox and pushed."""

    ai: str
    message: str
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to ``ai``, for the event stream and the log lines."""

    kind: str
    ai: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """A log line for people, about something that the message history tells already."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A query, to be answered once the batch is committed: a read, neither numbered nor stored."""

    ai: str
    instance: str
    in_reply_to: str
    query: Query


Effect = Write | Broadcast | Deliver | Event | Note | Ask
