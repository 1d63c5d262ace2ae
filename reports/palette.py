"""Colours: one for each specialization, the same in every picture and page.

Any two of those that are named can be told apart with each kind of colour blindness, on light paper
and on dark. What matters is written out besides: colour alone says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

SPECIALIZATION_COLOURS: dict[str, str] = {
    "window_manager": "#C3D82C",
    "file_system": "#2456D6",
    "process_manager": "#DB5A14",
    "security": "#862A12",
    "networking": "#5DBDF5",
    "graphics": "#F58FAE",
    "audio": "#5C3099",
    "performance": "#14875C",
    "general": "#E5C27C",
    "validation": "#93698F",
}
UNKNOWN_COLOUR = "#8A9099"
"""Of an AI whose specialization nobody told."""
OTHER_COLOURS = ("#00A7A0", "#B5179E", "#6E7F1D", "#C98B8B", "#3F6C7A", "#A0522D")
"""Of people's own specializations, in the order of their names; they come round again."""

LIGHT = {"paper": "#ffffff", "ink": "#1b2129", "muted": "#5b6673", "line": "#4a5766"}
DARK = {"paper": "#14181e", "ink": "#e8ecf1", "muted": "#9aa6b4", "line": "#a9b6c6"}
"""What is written and drawn on what: ``ink`` and ``muted`` are for text, ``line`` for edges."""


def colours_of(specializations: Iterable[str]) -> dict[str, str]:
    """The colour of each, as #rrggbb: those that come with coord first, then others by name."""
    found = set(specializations)
    known = {name: colour for name, colour in SPECIALIZATION_COLOURS.items() if name in found}
    others = sorted(found - known.keys() - {""})
    colours = known | {name: OTHER_COLOURS[n % len(OTHER_COLOURS)] for n, name in enumerate(others)}
    return colours | ({"": UNKNOWN_COLOUR} if "" in found else {})
