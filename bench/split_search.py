"""One search split over participants: rounds, evaluations and time to the same score.

    python -m bench.split_search --workloads compile search --seeds 10 --participants 1 2 4

The score to reach is what one participant has found after `--evaluations` evaluations with the
same seed on the same workload. The participants of a round are processes of their own, which begin
a round together; nothing but the shares goes between them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from statistics import mean, median

from bench.machine import describe_machine
from bench.search import SEARCH_PACKAGES, row, the_problem
from workers.problems.problem import Problem, defaults
from workers.search import search_steps
from workers.split_search import GENERATION, SHARE, Share, best_of, evaluate_share


@dataclass(frozen=True)
class Reached:
    """What it took to reach a score: whole rounds, their evaluations, and wall clock."""

    rounds: int
    evaluations: int
    wall_s: float


def run_until(
    pool: ProcessPoolExecutor,
    problem: Problem,
    workload: str,
    seed: int,
    parts: int,
    target: float | None,
    evaluations: int,
) -> tuple[list[list[Share]], Reached]:
    """Rounds until `target` is reached, or so many evaluations are made if it is None."""
    history: list[list[Share]] = []
    began_s = time.perf_counter()
    while True:
        futures = [
            pool.submit(evaluate_share, problem, workload, seed, None, history, part, parts)
            for part in range(parts)
        ]
        history.append([future.result() for future in futures])
        best = best_of(problem, history)
        is_done = best.evaluations >= evaluations if target is None else best.gap_closed >= target
        if is_done:
            wall_s = time.perf_counter() - began_s
            return history, Reached(len(history), best.evaluations, wall_s)


def warmed_pool(problem: Problem, workloads: Sequence[str], parts: int) -> ProcessPoolExecutor:
    """Processes that have loaded the workloads, which a trainer does once."""
    pool = ProcessPoolExecutor(parts, multiprocessing.get_context("spawn"))
    values = defaults(problem.parameters)
    for workload in workloads:
        list(pool.map(problem.evaluate, [values] * 4 * parts, [workload] * 4 * parts))
    return pool


def best_after(problem: Problem, history: Sequence[Sequence[Share]], evaluations: int) -> float:
    ones = [one for shares in history for share in shares for one in share]
    return best_of(problem, [[ones[:evaluations]]]).gap_closed


def print_reached(reached: dict[int, list[Reached]]) -> None:
    alone = reached[min(reached)]
    heads = "participants", "rounds", "evaluations", "wall clock, s"
    print(row([*heads, *(f"{head} / alone" for head in heads[1:])]))
    print(row("---" for _ in range(7)))
    for parts, runs in reached.items():
        pairs = list(zip(runs, alone, strict=True))
        cells = [
            f"{median(run.rounds for run in runs):g}",
            f"{median(run.evaluations for run in runs):g}",
            f"{median(run.wall_s for run in runs):.2f}",
            f"{median(run.rounds / one.rounds for run, one in pairs):.2f}",
            f"{median(run.evaluations / one.evaluations for run, one in pairs):.2f}",
            f"{median(run.wall_s / one.wall_s for run, one in pairs):.2f}",
        ]
        print(row([parts, *cells]))


def print_comparison(scores: dict[int, list[tuple[float, float]]]) -> None:
    """Gaps closed by the split search and by the plain one, by evaluations."""
    print(row(["evaluations", f"split, {GENERATION} a generation", "plain", "won-tied-lost"]))
    print(row("---" for _ in range(4)))
    for evaluations, pairs in scores.items():
        won = sum(ours > theirs for ours, theirs in pairs)
        tied = sum(ours == theirs for ours, theirs in pairs)
        gaps = [f"{mean(gaps):.3f}" for gaps in zip(*pairs, strict=True)]
        print(row([evaluations, *gaps, f"{won}-{tied}-{len(pairs) - won - tied}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specialization", default="file_system")
    parser.add_argument("--workloads", nargs="+", default=["compile", "search"])
    parser.add_argument("--participants", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--evaluations", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    problem = the_problem(arguments.specialization)
    last = arguments.evaluations
    counts = sorted({1, *arguments.participants})
    pools = {parts: warmed_pool(problem, arguments.workloads, parts) for parts in counts}
    reached: dict[int, list[Reached]] = {parts: [] for parts in counts}
    scores: dict[int, list[tuple[float, float]]] = {last // 4: [], last // 2: [], last: []}
    for seed, workload in product(range(arguments.seeds), arguments.workloads):
        history, _ = run_until(pools[1], problem, workload, seed, 1, None, last)
        target = best_after(problem, history, last)
        for parts, pool in pools.items():
            _, one = run_until(pool, problem, workload, seed, parts, target, last)
            reached[parts].append(one)
        for found in islice(search_steps(problem, workload, seed), last):
            if found.evaluations in scores:
                ours = best_after(problem, history, found.evaluations)
                scores[found.evaluations].append((ours, found.score.gap_closed))
    for pool in pools.values():
        pool.shutdown()
    print(
        f"Machine: {describe_machine(*SEARCH_PACKAGES)}. Workloads "
        f"{', '.join(arguments.workloads)}, seeds 0..{arguments.seeds - 1}; {GENERATION} points a "
        f"generation, up to {SHARE} a participant and round.\n"
    )
    print_reached(reached)
    print()
    print_comparison(scores)


if __name__ == "__main__":
    main()
