"""One search by several trainers of a real fleet: rounds, evaluations and time to the same score.

    python -m bench.collaborate [--seeds 10] [--participants 1 2 4] [--evaluations 48]

Each search is a session of type performance_optimization. The score to reach is the best that one
trainer finds in `--evaluations` evaluations with the same seed. The fleet's trainers do nothing
else meanwhile. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

from bench.machine import describe_machine, describe_server
from bench.search import SEARCH_PACKAGES
from bench.split_search import Reached, print_reached
from bench.trainers import KEYS, BenchFleet, bench_fleet
from bench.units import Boss
from coordinator.work import Session
from workers.split_search import SHARE

PACKAGES = ("redis", "rq", *SEARCH_PACKAGES)


class Round(NamedTuple):
    """One round of a search: what each point closed of the gap, and when its last unit ended."""

    gaps_closed: list[float]
    ended_ms: int


def search(
    fleet: BenchFleet, boss: Boss, parts: int, requirements: dict[str, Any]
) -> tuple[Session, list[Round]]:
    """A session of so many participants, and its rounds that evaluated anything."""
    boss.ask(parts, requirements=requirements)
    session = boss.until_completed()
    stored: Any = fleet.redis.hgetall(KEYS.workspace(session.id))
    shares = {key.decode(): json.loads(value)["value"] for key, value in stored.items()}
    units = fleet.units(session)
    rounds: list[Round] = []
    while all(f"round-{len(rounds)}.{part}" in shares for part in range(parts)):
        names = [f"round-{len(rounds)}.{part}" for part in range(parts)]
        gaps = [gap_closed for name in names for _, gap_closed in shares[name]]
        rounds.append(Round(gaps, max(units[name].attempts[-1].ended_ms or 0 for name in names)))
    return session, rounds


def reached(session: Session, rounds: list[Round], target: float) -> Reached:
    """What it took until the end of the round that reached ``target``."""
    n = next(n for n, one in enumerate(rounds, 1) if max(one.gaps_closed, default=0) >= target)
    evaluations = sum(len(one.gaps_closed) for one in rounds[:n])
    return Reached(n, evaluations, (rounds[n - 1].ended_ms - (session.began_ms or 0)) / 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specialization", default="file_system")
    parser.add_argument("--participants", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--evaluations", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    most = arguments.evaluations // SHARE
    counts = sorted({1, *arguments.participants})
    took: dict[int, list[Reached]] = {parts: [] for parts in counts}
    with bench_fleet() as fleet:
        for n in range(max(counts)):
            fleet.start_trainer(f"AI_{n}")
        boss = Boss(fleet)
        for seed in range(arguments.seeds):
            wanted = {"specialization": arguments.specialization, "rounds": most, "seed": seed}
            session, rounds = search(fleet, boss, 1, wanted)
            target = max(gap for one in rounds for gap in one.gaps_closed)
            took[1].append(reached(session, rounds, target))
            for parts in counts[1:]:
                session, rounds = search(fleet, boss, parts, {**wanted, "target": target})
                took[parts].append(reached(session, rounds, target))
        boss.close()
        print(f"Machine: {describe_machine(*PACKAGES)}; {describe_server(fleet.redis)}.\n")
    print(
        f"{arguments.specialization}, seeds 0..{arguments.seeds - 1}, up to {SHARE} points a "
        "participant and round; medians.\n"
    )
    print_reached(took)


if __name__ == "__main__":
    main()
