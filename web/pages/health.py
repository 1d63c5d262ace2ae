"""How coordinator and server are, and what needs somebody's attention."""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf
from typing import NamedTuple

from coordinator.archive_marks import read_behind
from coordinator.metrics import COMMIT_BOUNDS_S
from coordinator.reads import Item
from coordinator.status import read_coordinator, read_server
from coordinator.stored import read_hashes
from reports.formats import duration, size
from web.fleet_numbers import CommitTimes, commit_times
from web.health import LONGEST_WAIT_S
from web.live.pulse import Trouble, no_coordinator
from web.pages.look import Look
from web.parameters import NoQuery

MEMORY_FULL = 0.8
QUANTILES = (("half of them", 0.5), ("95\u202f%", 0.95), ("99\u202f%", 0.99))
CHART_WIDTH, CHART_HEIGHT = 390, 120
COLUMN_GAP = 4.0


class Column(NamedTuple):
    """One of the histogram: ``commits`` of them took at most ``label`` ms, and more than in the one
    before; ``x``, ``y``, ``width`` and ``height`` are in units of the drawing."""

    label: str
    commits: int
    x: float
    y: float
    width: float
    height: float


def read_health(look: Look, _: NoQuery) -> Item:
    connection, keys, now_ms = look.reader.connection, look.reader.keys, look.reader.clock.now_ms()
    leads = read_coordinator(connection, keys, now_ms, look.feed.lag)
    server = read_server(connection)
    times = commit_times(read_hashes(connection, [keys.metrics])[0])
    return {
        "leads": leads,
        "server": server,
        "archives": [one.as_json() for one in read_behind(connection, keys, now_ms)],
        "commits": sum(times.counts()),
        "quantiles": [(name, _shown(times.quantile_s(share))) for name, share in QUANTILES],
        "columns": columns_of(times),
        "chart": (CHART_WIDTH, CHART_HEIGHT),
        "memory_full": MEMORY_FULL,
        "troubles": list(troubles_of(leads, server)),
        "now_ms": now_ms,
    }


def troubles_of(leads: Item, server: Item) -> Iterator[Trouble]:
    """What is wrong with the coordinator, and with the server."""
    if leads["active"] is None:
        yield no_coordinator()
    elif not leads["standby"]:
        yield Trouble(
            "No coordinator stands by: a second one, on another machine, survives the loss of this"
            " one.",
            "coord serve",
        )
    oldest_ms = leads["ingress"]["oldest_age_ms"]
    if oldest_ms > LONGEST_WAIT_S * 1000:
        yield Trouble(f"A message has waited for {duration(oldest_ms)}: the coordinator is behind.")
    if leads["dead_letters"]:
        yield Trouble(
            f"Dead letters: {leads['dead_letters']:,}. Retry each once its cause is mended, or drop"
            " it."
        )
    if not server["append_only_file"]:
        yield Trouble(
            "The server keeps no append-only file, so a crash of it loses messages. Configure it to"
            " keep one.",
            "CONFIG SET appendonly yes",
        )
    if not (server["last_append_ok"] and server["last_snapshot_ok"]):
        yield Trouble("The server failed to write to its disk the last time: make room there.")
    used, most = server["used_memory_bytes"], server["max_memory_bytes"]
    if most and used > MEMORY_FULL * most:
        yield Trouble(
            f"The server uses {size(used)} of {size(most)}, beyond which it refuses all messages:"
            " raise its maxmemory."
        )


def columns_of(times: CommitTimes) -> list[Column]:
    """The histogram as columns, the most frequent of the full height; those beyond the last bound
    come last. Up to the last one in which there are any."""
    counts = times.counts()
    bounds_ms = [f"{bound_s * 1000:g}" for bound_s in COMMIT_BOUNDS_S]
    labels = [*bounds_ms, f"> {bounds_ms[-1]}"]
    filled = [n for n, count in enumerate(counts) if count]
    if not filled:
        return []
    shown = list(zip(labels, counts, strict=True))[: filled[-1] + 1]
    step, most = CHART_WIDTH / len(shown), max(counts)
    heights = [round(CHART_HEIGHT * count / most, 1) for _, count in shown]
    return [
        Column(
            label,
            count,
            round(n * step + COLUMN_GAP / 2, 1),
            round(CHART_HEIGHT - height, 1),
            round(step - COLUMN_GAP, 1),
            height,
        )
        for n, ((label, count), height) in enumerate(zip(shown, heights, strict=True))
    ]


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "none yet"
    if isinf(seconds):
        return f"> {_shown(COMMIT_BOUNDS_S[-1])}"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
