"""The one table of pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coordinator.reads import Item
from web.live.areas import Area
from web.pages.fleet import read_fleet
from web.pages.look import Look
from web.parameters import AisQuery, Query


@dataclass(frozen=True)
class View:
    """A page at ``path``, which the template ``<name>.html`` makes of what ``read`` gives.

    It is read anew when one of the ``areas`` has changed, and every ``again_s`` seconds (None: not
    for time alone). Under ``menu`` it stands in the navigation, or belongs to what does; "" for
    neither. With ``is_private`` it is for those who see all.
    """

    path: str
    name: str
    title: str
    query: type[Query]
    read: Callable[[Look, Any], Item]
    menu: str
    areas: frozenset[Area] = frozenset()
    again_s: float | None = None
    is_private: bool = False


VIEWS = (
    View(
        "/fleet",
        "fleet",
        "Fleet",
        AisQuery,
        read_fleet,
        menu="Fleet",
        areas=frozenset({"fleet"}),
        again_s=3,
    ),
)

MENU = (
    ("Fleet", "/fleet"),
    ("Traffic", "/traffic"),
    ("Graph", "/graph"),
    ("Knowledge", "/knowledge"),
    ("Collaborations", "/collaborations"),
    ("Health", "/health"),
)
"""What stands in the navigation, and where it leads."""
