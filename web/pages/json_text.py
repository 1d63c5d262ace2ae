"""A value of any shape as JSON for people: over several lines, bounded, and with characters that
nobody sees spelt out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from coordinator.messages import one_line

LINES_MAX, TEXT_MAX = 400, 20_000
DEPTH_MAX, ITEMS_MAX = 12, 100
STRING_MAX, NAME_MAX, NUMBER_MAX = 1000, 200, 60
ROW_MAX = 88
"""What has no inner parts stands on one line if that is no longer."""


def pretty(value: object) -> tuple[str, bool]:
    """The text, of LINES_MAX lines and TEXT_MAX characters at most; and whether some of ``value``
    is left out of it."""
    printer = _Printer()
    lines: list[str] = []
    left = TEXT_MAX
    for line in printer.lines(value, "", ""):
        left -= len(line) + 1
        if left < 0 or len(lines) == LINES_MAX:
            return "\n".join([*lines, "…"]), True
        lines.append(line)
    return "\n".join(lines), printer.is_cut


class _Printer:
    """``is_cut`` once something was left out."""

    def __init__(self) -> None:
        self.is_cut = False

    def lines(self, value: object, indent: str, head: str, tail: str = "") -> Iterator[str]:
        """``value`` between ``head`` and ``tail``, line by line, as far as somebody goes on."""
        if not isinstance(value, dict | list) or not value:
            yield f"{indent}{head}{self._scalar(value)}{tail}"
            return
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        if len(indent) >= 2 * DEPTH_MAX:
            self.is_cut = True
            yield f"{indent}{head}{opening} … {closing}{tail}"
            return
        parts = self._parts(value)
        if all(_is_plain(part) for _, part in parts) and len(parts) == len(value):
            row = ", ".join(f"{name}{self._scalar(part)}" for name, part in parts)
            if len(indent) + len(head) + len(row) <= ROW_MAX:
                yield f"{indent}{head}{opening}{row}{closing}{tail}"
                return
        yield f"{indent}{head}{opening}"
        for n, (name, part) in enumerate(parts, 1):
            yield from self.lines(part, f"{indent}  ", name, "," if n < len(value) else "")
        if left := len(value) - len(parts):
            self.is_cut = True
            yield f"{indent}  … {left:,} more"
        yield f"{indent}{closing}{tail}"

    def _parts(self, value: dict[str, object] | list[object]) -> list[tuple[str, object]]:
        """The first ITEMS_MAX, each after its name, "" in a list."""
        if isinstance(value, dict):
            named = islice(value.items(), ITEMS_MAX)
            return [(f"{self._text(str(name), NAME_MAX)}: ", part) for name, part in named]
        return [("", part) for part in value[:ITEMS_MAX]]

    def _scalar(self, value: object) -> str:
        if isinstance(value, str):
            return self._text(value, STRING_MAX)
        return one_line(json.dumps(value), NUMBER_MAX)

    def _text(self, text: str, limit: int) -> str:
        shown = json.dumps(text[:limit], ensure_ascii=False)
        shown = one_line(shown, 10 * len(shown))  # an escape is ten characters at most
        if len(text) <= limit:
            return shown
        self.is_cut = True
        return f"{shown} … {len(text) - limit:,} more characters"


def _is_plain(value: object) -> bool:
    return not isinstance(value, dict | list) or not value
