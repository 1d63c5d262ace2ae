"""What a unit of work costs, and how soon another has it when its worker is killed.

    python -m bench.units [--rounds 7] [--units 200] [--kills 20]

Units of a session run on trainers. For comparison jobs that do nothing either, put into queues by
RQ itself, run on the trainers' workers and on as many of RQ's own. They take turns within one run;
those whose turn it is not are idle. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rq import Queue
from rq.results import Result
from rq.serializers import JSONSerializer

from bench.machine import (
    MESSAGING_PACKAGES,
    connect_to,
    describe_machine,
    describe_server,
    percentile,
    throwaway_server,
)
from bench.trainers import KEYS, BenchFleet, bench_fleet
from coordinator import Client, Message
from coordinator.jobs import ENTRY_FUNCTION
from coordinator.work import Session

JOB_FUNCTION = "operator.neg"
"""Of the standard library: each work-horse imports it, and has it already."""
UNITS, PLAIN, TRAINERS = "units", "jobs on RQ's own workers", "jobs on the trainers' workers"
BOSS = "Boss"
CHAIN = 60
LONGEST_HOLD_S = 60.0


class Jobs(NamedTuple):
    """Jobs that RQ alone puts on ``queues``: what they call, with what for the n-th."""

    queues: list[Queue]
    function: str
    arguments: Callable[[int], tuple[Any, ...]]


class Taken(NamedTuple):
    """What one round took: how many a second, and how long each takes before which none waits."""

    per_s: float
    latencies_s: list[float]


class Boss:
    """Asks for sessions with plans of its own; it has no worker, and no part in them."""

    def __init__(self, fleet: BenchFleet) -> None:
        self._fleet = fleet
        settings = fleet.settings
        self._client = Client(BOSS, fleet.url, settings=settings)
        self._client.connect()

    def ask(self, workers: int, **more: Any) -> None:
        """Have a session opened, which begins once so many trainers have said yes to it."""
        asked = {
            "type": "performance_optimization",
            "participants": 1 + workers,
            "seeking_expertise": ["general"],
            **more,
        }
        self._client.send("collaboration_request", asked)

    def until_completed(self) -> Session:
        """The session that was asked for, as it ended."""
        while message := self._client.receive(60):
            if is_completed(message):
                return self._fleet.session(message.payload["session_id"])
        raise SystemExit(f"no session was completed: see {self._fleet.directory}")

    def close(self) -> None:
        self._client.close()


def is_completed(message: Message) -> bool:
    status = message.payload.get("status")
    if message.message_type == "error" or status in ("failed", "cancelled", "expired"):
        raise SystemExit(f"a session went wrong: {message.payload}")
    return message.message_type == "collaboration_update" and status == "completed"


def trainers_jobs(fleet: BenchFleet, workers: int) -> Jobs:
    """On the trainers' own workers: attempts at a unit that is none, which end as they begin."""
    names = [KEYS.queue(f"AI_{n}") for n in range(workers)]
    return Jobs(_queues(fleet, names), ENTRY_FUNCTION, lambda n: ("none", n))


def plain_jobs(fleet: BenchFleet, workers: int) -> Jobs:
    """On as many of RQ's own workers, each with a queue of its own."""
    names = [f"plain-{n}" for n in range(workers)]
    for name in names:
        options = ["--quiet", "--serializer", "rq.serializers.JSONSerializer", name]
        fleet.start([sys.executable, "-m", "rq.cli", "worker", *options], RQ_REDIS_URL=fleet.url)
    fleet.wait(lambda: fleet.redis.scard("rq:workers") >= 2 * workers, "RQ's workers")
    return Jobs(_queues(fleet, names), JOB_FUNCTION, lambda n: (n,))


def _queues(fleet: BenchFleet, names: list[str]) -> list[Queue]:
    return [Queue(name, connection=fleet.redis, serializer=JSONSerializer) for name in names]


def units_s(boss: Boss, workers: int, units: int) -> float:
    """Seconds from the beginning to the end of a session of so many units that need no other."""
    boss.ask(workers, plan=[{"name": f"n{n}", "kind": "nothing"} for n in range(units)])
    session = boss.until_completed()
    assert session.began_ms is not None
    assert session.ended_ms is not None
    return (session.ended_ms - session.began_ms) / 1000


def jobs_s(jobs: Jobs, count: int) -> float:
    """Seconds from the first enqueue to the last end of so many jobs, an equal part a queue."""
    ended = [queue.finished_job_registry for queue in jobs.queues]
    for registry in ended:
        registry.cleanup(time.time() + 10**6)
    began_s = time.perf_counter()
    for first, queue in enumerate(jobs.queues):
        share = range(first, count, len(jobs.queues))
        queue.enqueue_many([Queue.prepare_data(jobs.function, jobs.arguments(n)) for n in share])
    while sum(registry.get_job_count(cleanup=False) for registry in ended) < count:
        time.sleep(0.002)
    return time.perf_counter() - began_s


def unit_latencies(fleet: BenchFleet, boss: Boss, workers: int) -> list[float]:
    """From the commit that puts a unit into its queue to that of its result, one after another."""
    chain = [
        {"name": f"n{n}", "kind": "nothing", "needs": [f"n{n - 1}"] if n else []}
        for n in range(CHAIN)
    ]
    boss.ask(workers, plan=chain)
    units = fleet.units(boss.until_completed())
    attempts = [unit.attempts[0] for unit in units.values()]
    return [((one.ended_ms or 0) - one.began_ms) / 1000 for one in attempts]


def job_latencies(jobs: Jobs) -> list[float]:
    """From before the enqueue to the result in the hands of who waits, one after another."""
    latencies = []
    for n in range(CHAIN):
        began_s = time.perf_counter()
        job = jobs.queues[n % len(jobs.queues)].enqueue(jobs.function, *jobs.arguments(n))
        result = job.latest_result(timeout=30)
        latencies.append(time.perf_counter() - began_s)
        assert result is not None
        assert result.type == Result.Type.SUCCESSFUL
    return latencies


def bench_throughput(workers: int, rounds: int, units: int) -> dict[str, list[Taken]]:
    with bench_fleet() as fleet:
        for n in range(workers):
            fleet.start_trainer(f"AI_{n}")
        rivals = {PLAIN: plain_jobs(fleet, workers), TRAINERS: trainers_jobs(fleet, workers)}
        boss = Boss(fleet)
        taken: dict[str, list[Taken]] = {name: [] for name in (UNITS, *rivals)}
        for _ in range(rounds):
            rate = units / units_s(boss, workers, units)
            taken[UNITS].append(Taken(rate, unit_latencies(fleet, boss, workers)))
            for name, jobs in rivals.items():
                rate = units / jobs_s(jobs, units)
                taken[name].append(Taken(rate, job_latencies(jobs)))
        boss.close()
    return taken


def print_throughput(taken: dict[int, dict[str, list[Taken]]], units: int) -> None:
    rounds = max(len(rows[UNITS]) for rows in taken.values())
    print(
        f"**Throughput and latency.** {units} that need no other, and {CHAIN} one after another; "
        f"medians of {rounds} rounds in turns, and of the ratios of each round.\n"
    )
    print("| workers | what | a second | units / these | p50, ms | p99, ms | units / these |")
    print("|---|---|---|---|---|---|---|")
    for workers, rows in taken.items():
        ours = rows[UNITS]
        for name, theirs in rows.items():
            latencies = [latency for row in theirs for latency in row.latencies_s]
            pairs = list(zip(ours, theirs, strict=True))
            cells = [
                f"{median(row.per_s for row in theirs):.1f}",
                f"{median(our.per_s / row.per_s for our, row in pairs):.2f}",
                *(f"{percentile(latencies, share) * 1000:.1f}" for share in (0.5, 0.99)),
                f"{median(_p50(our) / _p50(row) for our, row in pairs):.2f}",
            ]
            print(f"| {workers} | {name} | {' | '.join(cells)} |")
    print(flush=True)


def _p50(taken: Taken) -> float:
    return median(taken.latencies_s)


class Recovery(NamedTuple):
    """From the kill, and from the end of the dead one's lease, to the start of the next attempt."""

    from_kill_s: float
    from_lease_end_s: float


def bench_kills(kills: int) -> tuple[float, list[Recovery]]:
    """Kill the worker that runs a unit, and see when another has begun it; again and again."""
    with bench_fleet() as fleet, tempfile.TemporaryDirectory() as directory:
        trainers = {f"AI_{n}": fleet.start_trainer(f"AI_{n}") for n in range(2)}
        boss = Boss(fleet)
        recoveries = []
        for n in range(kills):
            mark = Path(directory) / f"{n}"
            inputs = {"seconds": LONGEST_HOLD_S, "mark": str(mark)}
            boss.ask(1, plan=[{"name": "held", "kind": "hold", "inputs": inputs}])
            recoveries.append(kill_one(fleet, trainers, mark))
            Path(f"{mark}.end").touch()
            boss.until_completed()
            trainers[f"AI_{n + 2}"] = fleet.start_trainer(f"AI_{n + 2}")
        boss.close()
        return fleet.settings.lease_s, recoveries


def kill_one(
    fleet: BenchFleet, trainers: dict[str, subprocess.Popen[bytes]], mark: Path
) -> Recovery:
    """kill -9 of the worker alone that runs the unit: what it started ends with it."""
    _, ai = began(fleet, mark, 1)
    time.sleep(random.uniform(0, fleet.settings.lease_s / 3))  # anywhere between two heartbeats
    killed_s = time.time()
    trainers.pop(ai).kill()
    lease_ends_ms = 0.0

    def has_begun_again() -> bool:
        nonlocal lease_ends_ms
        lease_ends_ms = fleet.redis.zscore(KEYS.leases, ai) or lease_ends_ms
        return Path(f"{mark}.2").exists()

    fleet.wait(has_begun_again, "the unit to begin again")
    again_s, other = began(fleet, mark, 2)
    assert other != ai
    return Recovery(again_s - killed_s, again_s - lease_ends_ms / 1000)


def began(fleet: BenchFleet, mark: Path, attempt: int) -> tuple[float, str]:
    """When that attempt at a unit began, and whose it is."""
    told = Path(f"{mark}.{attempt}")
    fleet.wait(told.exists, f"attempt {attempt} to begin")
    when, ai = told.read_text().split()
    return float(when), ai


def print_kills(lease_s: float, recoveries: list[Recovery]) -> None:
    print(
        f"**Recovery.** kill -9 of the worker that runs a unit, {len(recoveries)} times, somewhere "
        f"between two heartbeats; the lease is {lease_s:g} s. Until another worker has begun the "
        "unit:\n"
    )
    print("| | median, s | worst, s |\n|---|---|---|")
    columns = {
        "the kill": [one.from_kill_s for one in recoveries],
        "the end of the lease": [one.from_lease_end_s for one in recoveries],
    }
    for name, column in columns.items():
        print(f"| since {name} | {median(column):.1f} | {max(column):.1f} |")


def print_machine() -> None:
    with throwaway_server() as url:
        machine = describe_machine(*MESSAGING_PACKAGES, "rq")
        print(f"Machine: {machine}; {describe_server(connect_to(url))}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    print_machine()
    if arguments.rounds:
        taken = {
            workers: bench_throughput(workers, arguments.rounds, arguments.units)
            for workers in arguments.workers
        }
        print_throughput(taken, arguments.units)
    if arguments.kills:
        print_kills(*bench_kills(arguments.kills))


if __name__ == "__main__":
    main()
