"""What is known of the problems that were measured by; people may have their own."""

from __future__ import annotations

from collections.abc import Iterable

from workers.ranking import EVERY_PROBLEM

PROBLEM_BY_NAME = {problem.name: problem for problem in EVERY_PROBLEM}
_PLACES = {name: place for place, name in enumerate(PROBLEM_BY_NAME)}


def in_order(names: Iterable[str]) -> list[str]:
    """Those that come with coord first, in their order; then others by name."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))
