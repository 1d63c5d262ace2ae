"""An archive in a process of its own that ends itself by SIGKILL at a chosen moment.

    python -m tests.archive_victim SOCKET FILE PHASE NTH

PHASE is one of ``PHASES``, NTH the batch in which it strikes, from 1.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from coordinator.archive import archive as archive_module
from coordinator.archive.archive import Archive
from coordinator.history import Line
from tests.archives import take_all

PHASES = ("half of the rows", "all rows", "the cursor", "COMMIT")
"""What was done last."""


def run(socket: str, path: Path, phase: str, nth: int) -> None:
    left = nth
    write, write_values = archive_module.write, archive_module.write_values
    take = Archive.take

    def strike(now: str) -> None:
        nonlocal left
        if now == phase:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def striking_write(database: Any, lines: Iterable[Line]) -> None:
        each = list(lines)
        rest = iter(each)
        write(database, islice(rest, len(each) // 2))
        strike("half of the rows")
        write(database, rest)
        strike("all rows")

    def striking_values(database: Any, values: Any) -> None:
        write_values(database, values)
        if values.get("log_n"):
            strike("the cursor")

    def striking_take(archive: Archive, lines: Any) -> None:
        take(archive, lines)
        strike("COMMIT")

    archive_module.write = striking_write
    archive_module.write_values = striking_values
    Archive.take = striking_take  # type: ignore[method-assign]
    with (
        redis.Redis(unix_socket_path=socket, protocol=2) as client,
        Archive.open(path, create=True) as archive,
    ):
        take_all(client, archive)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
