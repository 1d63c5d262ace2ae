"""Queries that wait for their answer: each AI's in turn, a little at a time."""

from __future__ import annotations

from collections import deque

from coordinator.effects import Ask

MAX_WAITING_EACH = 100


class Questions:
    """What is dropped here is asked again by whoever still wants to know."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Ask]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, asked: Ask) -> None:
        """Queue a query behind those of the same AI; of too many the oldest are dropped."""
        self._waiting.setdefault(asked.ai, deque(maxlen=MAX_WAITING_EACH)).append(asked)

    def take(self) -> Ask:
        """The next to answer: the AI whose turn it was goes to the end of the line."""
        ai = next(iter(self._waiting))
        queue = self._waiting.pop(ai)
        asked = queue.popleft()
        if queue:
            self._waiting[ai] = queue
        return asked

    def clear(self) -> None:
        self._waiting.clear()
