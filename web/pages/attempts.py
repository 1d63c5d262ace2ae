"""Attempts at a unit, as a page shows them."""

from __future__ import annotations

from typing import NamedTuple

from coordinator.reads import Item


class Attempt(NamedTuple):
    """Number ``n`` at its unit; one that lasts ends now, with ``running`` or ``queued`` for an
    outcome. It began when the AI was given the unit."""

    n: int
    ai: str
    began_ms: int
    end_ms: int
    outcome: str
    reason: str

    @property
    def took_ms(self) -> int:
        return max(0, self.end_ms - self.began_ms)


def with_attempts(unit: Item, now_ms: int) -> Item:
    """The unit, and its ``attempts`` so."""
    lasting = "running" if unit["state"] == "running" else "queued"
    attempts = [
        Attempt(
            n,
            stored["ai"],
            stored["began_ms"],
            now_ms if stored["ended_ms"] is None else stored["ended_ms"],
            stored["outcome"] or lasting,
            stored["reason"],
        )
        for n, stored in enumerate(unit["attempts"], 1)
    ]
    return unit | {"attempts": attempts}
