"""What of an archive the server had forgotten in the end, as after a restart without its last
writes: an archive keeps it, but the fleet went on without it."""

from __future__ import annotations

import sys
from typing import NamedTuple

from coordinator.archive.reader import ArchiveReader
from coordinator.archive.soundness import fitting
from coordinator.streams import Source


class EpochRange(NamedTuple):
    """What the archive has of one epoch, in the order of the history: up to ``last_n`` it stood."""

    epoch: str
    last_n: int
    forgotten: int


_ROWS: dict[Source, str] = {
    "log": f"messages WHERE source = 'log' AND {fitting('messages', 'epoch', 'n')}",
    "events": f"events WHERE {fitting('events', 'epoch', 'n')}",
}
"""Those that are anywhere in the history."""


def epoch_ranges(archive: ArchiveReader, source: Source) -> list[EpochRange]:
    """Each epoch of a stream, the oldest first.

    A number that was given again counts as it was read last, and none counts that lies beyond the
    beginning of an epoch that was noticed later, or beyond where the archive has come to.
    """
    columns = "epoch, min(n) AS first_n, max(n) AS last_n, min(rowid) AS place"
    grouped = f"SELECT {columns} FROM {_ROWS[source]} GROUP BY epoch ORDER BY place"
    begins = [(row["epoch"], row[f"{source}_n"]) for row in archive.rows("epochs")]
    order = {epoch: i for i, (epoch, _) in enumerate(begins)}
    limit = getattr(archive.cursor, source)
    found: list[EpochRange] = []
    for row in reversed(list(archive.query(grouped))):
        noticed = begins[order.get(row["epoch"], sys.maxsize) + 1 :]
        last_n = min([limit, *(n for _, n in noticed)])
        limit = min(limit, row["first_n"] - 1)
        found.append(EpochRange(row["epoch"], last_n, max(0, row["last_n"] - last_n)))
    return found[::-1]
