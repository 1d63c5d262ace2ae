"""What it costs to archive a fleet's history: messages a second, CPU, and bytes.

    python -m bench.archive [--messages 100000] [--rounds 5]

Prints Markdown. The streams are filled beforehand by a real coordinator; each round archives all of
them into a new file.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import redis

from bench.machine import (
    MESSAGING_PACKAGES,
    connect_to,
    describe_machine,
    describe_server,
    throwaway_server,
)
from bench.routing import drain, join_all, pattern
from bench.trainers import KEYS
from coordinator import Settings
from coordinator.archive.archive import Archive
from coordinator.archive.follow import catch_up
from coordinator.clock import RandomIds, SystemClock
from coordinator.connection import server_run_id
from coordinator.coordinator import Coordinator
from coordinator.doors import add_entry
from coordinator.history import Follower
from coordinator.messages import encode_message

SENDERS = 50
AT_ONCE = 5000
SHAPES = (
    *("evaluations",) * 5,
    *("pattern_share", "pattern_share", "code_share", "performance_report", "message"),
)
"""Of ten messages: what trainers tell each other while they search, what they share, what they
report, and what they say to one."""
SOURCE = "\n".join(f"def step_{i}(state):\n    return state[{i}] * 0.5 + {i}\n" for i in range(25))
"""The source of a component of an ordinary size."""


class Round(NamedTuple):
    """What archiving everything took, and the size of the file."""

    wall_s: float
    cpu_s: float
    file_bytes: int


def sent_as(shape: str, ai: str, number: int) -> tuple[str, dict[str, Any], str | None]:
    """A message of that shape: its type, payload and target."""
    other = f"AI_{(number + 1) % SENDERS}"
    if shape == "evaluations":
        points = [[round(0.1 * i + number % 7, 3) for i in range(8)] + [0.25]]
        return "message", {"evaluations": {"problem": "bench", "points": points}}, None
    if shape == "pattern_share":
        return shape, pattern(ai, number), None
    if shape == "code_share":
        parent = f"AI_{(number // len(SHAPES) - 1) % SENDERS}.{number - 12}"
        code = {"id": f"{ai}.{number}", "language": "python", "implementation": SOURCE}
        return shape, {"code": code | {"derived_from": parent}}, None
    if shape == "performance_report":
        metrics = {"hit_rate": 0.5, "cost": float(number)}
        return shape, {"component_id": f"{ai}.{number}", "performance": metrics}, None
    return shape, {"text": f"{ai} has come to {number}"}, other


def fill(connection: redis.Redis, count: int) -> None:
    """``count`` messages, routed by a coordinator that keeps them all."""
    settings = Settings(
        leader_lease_s=600,
        lease_s=3600,
        log_keep=10_000_000,
        log_max_bytes=1024**4,
        validations_open_max=100_000,
        validations_per_hour=100_000,
    )
    coordinator = Coordinator(
        connection,
        settings,
        SystemClock(),
        RandomIds(),
        "bench",
        lambda: server_run_id(connection),
    )
    assert coordinator.take_over()
    ais = [f"AI_{i}" for i in range(SENDERS)]
    join_all(connection, coordinator, ais)
    numbers = Counter(dict.fromkeys(ais, 1))
    for first in range(0, count, AT_ONCE):
        with connection.pipeline(transaction=False) as pipe:
            for number in range(first, min(count, first + AT_ONCE)):
                ai = ais[number // len(SHAPES) % SENDERS]
                numbers[ai] += 1
                kind, payload, target = sent_as(SHAPES[number % len(SHAPES)], ai, number)
                body = encode_message("1", ai, kind, "2025-06-04T00:00:00", payload, target)
                add_entry(pipe, KEYS, ai, body, "bench", numbers[ai])
            pipe.execute()
        drain(coordinator)


def archived(connection: redis.Redis, path: Path) -> tuple[Round, dict[str, int]]:
    """One round, and how many rows the tables have after it."""
    before, began_s = cpu_s(), time.perf_counter()
    with Archive.open(path, create=True) as archive:
        for _ in catch_up(archive, Follower(connection, KEYS)):
            pass
        counts = archive.counts()
    wall_s, used_s = time.perf_counter() - began_s, cpu_s() - before
    return Round(wall_s, used_s, path.stat().st_size), counts


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bench(messages: int, rounds: int) -> None:
    with throwaway_server() as url, tempfile.TemporaryDirectory(prefix="coord-bench-") as directory:
        connection = connect_to(url)
        machine = describe_machine(*MESSAGING_PACKAGES)
        print(f"Machine: {machine}; {describe_server(connection)} over a Unix socket.\n")
        fill(connection, messages)
        taken = []
        for n in range(rounds):
            path = Path(directory) / f"{n}.db"
            one, counts = archived(connection, path)
            path.unlink()
            taken.append(one)
        show(taken, counts)


def show(taken: list[Round], counts: dict[str, int]) -> None:
    messages, events = counts["messages"], counts["events"]
    print(
        f"{messages:,} messages and the {events:,} other events that came of them, into a new file"
        f" each time; medians of {len(taken)} rounds.\n"
    )
    print("| | value |\n|---|---|")
    print(f"| messages/s, wall clock | {messages / median(one.wall_s for one in taken):,.0f} |")
    cpu = median(one.cpu_s for one in taken)
    print(f"| messages/s per CPU second | {messages / cpu:,.0f} |")
    print(f"| CPU seconds per 1,000 messages | {cpu / messages * 1000:.3f} |")
    print(f"| entries/s per CPU second | {(messages + events) / cpu:,.0f} |")
    size = median(one.file_bytes for one in taken)
    print(f"| bytes of the file per message | {size / messages:,.0f} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    bench(arguments.messages, arguments.rounds)


if __name__ == "__main__":
    main()
