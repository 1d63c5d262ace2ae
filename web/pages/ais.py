"""An AI as pages show it: what it has done, and what is to be noticed of it, in words."""

from __future__ import annotations

from coordinator.presence import Presence
from coordinator.reads import Item

NEW_MS = 60_000
"""So long one that joined is marked as new."""
_WORK = (
    ("units_completed", "{:,} unit", "s"),
    ("units_failed", "{:,} failed", ""),
    ("collaborations_completed", "{:,} collaboration", "s"),
    ("features_implemented", "{:,} feature request", "s"),
)


def in_words(ai: Item, presence: Presence, now_ms: int) -> Item:
    """That AI with its ``work``, and ``marks``, words that tell what is to be noticed."""
    return ai | {"work": _work_of(ai), "marks": _marks_of(ai, presence, now_ms)}


def away_in_words(ai: Item) -> Item:
    """The same of one that is away."""
    return ai | {"work": _work_of(ai), "marks": ["away"]}


def _work_of(ai: Item) -> str:
    return ", ".join(
        text.format(ai[name]) + ("" if ai[name] == 1 else plural)
        for name, text, plural in _WORK
        if ai[name]
    )


def _marks_of(ai: Item, presence: Presence, now_ms: int) -> list[str]:
    """``silent`` is who was not heard of for more than half of its lease."""
    silent_ms = now_ms - ai["heartbeat_ms"]
    lease_ms = presence.lease_ends_ms - ai["heartbeat_ms"]
    marks = []
    if presence.is_draining:
        marks.append("draining")
    if 0 < lease_ms < 2 * silent_ms:
        marks.append("silent")
    if now_ms - ai["joined_ms"] < NEW_MS:
        marks.append("new")
    return marks
