"""What AIs wrote, and numbers, as a page shows them: bounded, and with nothing that is obeyed."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.clock import LAST_MS
from coordinator.messages import one_line

NAME_MAX = 80
TEXT_MAX = 300
CODE_LINES, CODE_LINE_MAX, CODE_MAX = 240, 300, 16_000


def name(text: object) -> str:
    """A name on one line, cut."""
    return one_line(str(text), NAME_MAX)


def text(said: object) -> str:
    """What somebody said, on one line, cut."""
    return one_line(str(said), TEXT_MAX)


def code(source: str) -> tuple[str, str]:
    """The beginning of a program, with characters that nobody sees spelt out; and how much of it
    that is, "" for all."""
    lines = source[:CODE_MAX].expandtabs(4).replace("\r\n", "\n").split("\n")[:CODE_LINES]
    shown = "\n".join(one_line(line, CODE_LINE_MAX) for line in lines)
    total = source.count("\n") + 1
    if len(lines) < total:
        return shown, f"the first {len(lines):,} of its {total:,} lines"
    is_cut = any(len(line) > CODE_LINE_MAX for line in lines)
    return shown, "long lines are cut" if is_cut else ""


def grouped(count: int) -> str:
    """A whole number with its thousands apart."""
    return f"{count:,}"


def percent(share: float | None) -> str:
    """A part of a gap: 57.0 %, with a true minus sign."""
    return "" if share is None else f"{share:.1%}".replace("-", "\u2212").replace("%", "\u202f%")


def points(difference: float) -> str:
    """A difference of two parts of a gap, in percentage points, with its sign."""
    return f"{difference * 100:+.1f}".replace("-", "\u2212")


def cost(value: object) -> str:
    """A cost to three digits, without a unit; "" for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(ms: float) -> str:
    """A time span in the unit that suits it, or in two."""
    seconds = min(max(0.0, ms / 1000), LAST_MS / 1000)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} days"


def size(size_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


def clock(ms: int) -> str:
    """The time of a day, UTC."""
    return _utc(ms).strftime("%H:%M:%S")


def moment(ms: int) -> str:
    """A day and its time, UTC."""
    return _utc(ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
