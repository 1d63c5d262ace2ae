"""CMA-ES against random search at equal evaluations, and what is gained on held-out runs.

    python -m bench.search --evaluations 50 100 200 --seeds 10 --processes 2

Does so for each specialization that has a problem, or for those named by `--specialization`.
Both searches begin with the default parameters (which count as one evaluation) and see the
training workload only; what they found is then scored on the held-out workload. Prints Markdown:
each workload after the last number of evaluations, and the mean over the workloads after each;
then what the held-out workloads cost, and what was measured beside after CMA-ES.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from statistics import mean

from bench.machine import describe_machine
from bench.random_search import random_steps
from coordinator.specializations import CAPABILITIES
from workers.problems import find_problem
from workers.problems.problem import Problem, Score, defaults
from workers.search import search_steps

TRAINED = [name for name in CAPABILITIES if find_problem(name)]
SEARCH_PACKAGES = ("cmaes", "numpy")
SEARCHES = {"CMA-ES": search_steps, "random": random_steps}


@dataclass(frozen=True)
class Run:
    """One search, looked at after some number of evaluations."""

    method: str
    workload: int
    seed: int
    evaluations: int
    trained: Score
    held_out: Score


def the_problem(specialization: str) -> Problem:
    problem = find_problem(specialization)
    if problem is None:
        raise SystemExit(f"there is no problem for {specialization}")
    return problem


def run_search(
    specialization: str, method: str, workload: int, seed: int, marks: Sequence[int]
) -> list[Run]:
    """Search once, up to the last of `marks` (numbers of evaluations, rising)."""
    problem = the_problem(specialization)
    training, held_out = problem.training_workloads[workload], problem.held_out_workloads[workload]
    runs = []
    for found in SEARCHES[method](problem, training, seed):
        if found.evaluations in marks:
            score = problem.evaluate(found.values, held_out)
            runs.append(Run(method, workload, seed, found.evaluations, found.score, score))
        if found.evaluations >= marks[-1]:
            break
    return runs


def all_runs(specialization: str, marks: Sequence[int], seeds: int, processes: int) -> list[Run]:
    workloads = range(len(the_problem(specialization).training_workloads))
    with ProcessPoolExecutor(processes) as pool:
        futures = [
            pool.submit(run_search, specialization, method, workload, seed, marks)
            for seed, workload, method in product(range(seeds), workloads, SEARCHES)
        ]
        return [run for future in futures for run in future.result()]


def row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def mean_gap(runs: Iterable[Run], method: str, is_held_out: bool) -> float:
    chosen = (run for run in runs if run.method == method)
    return mean((run.held_out if is_held_out else run.trained).gap_closed for run in chosen)


def wins(runs: Sequence[Run], is_held_out: bool) -> str:
    """How often CMA-ES beat random search of the same seed: won-tied-lost."""
    scores: dict[tuple[int, int], dict[str, float]] = {}
    for run in runs:
        gap = (run.held_out if is_held_out else run.trained).gap_closed
        scores.setdefault((run.workload, run.seed), {})[run.method] = gap
    pairs = [(both["CMA-ES"], both["random"]) for both in scores.values()]
    won = sum(ours > theirs for ours, theirs in pairs)
    tied = sum(ours == theirs for ours, theirs in pairs)
    return f"{won}-{tied}-{len(pairs) - won - tied}"


def print_comparison(problem: Problem, runs: Sequence[Run], marks: Sequence[int]) -> None:
    heads = ["trained on", "evaluations"]
    for scored in ("trained", "held out"):
        heads += [f"CMA-ES, {scored}", f"random, {scored}", f"won-tied-lost, {scored}"]
    print(row(heads))
    print(row("---" for _ in heads))
    names = [*problem.training_workloads, "**mean**"]
    for (place, name), mark in product(enumerate(names), marks):
        is_mean = place == len(names) - 1
        if not is_mean and mark != marks[-1]:
            continue
        here = [r for r in runs if r.evaluations == mark and (is_mean or r.workload == place)]
        cells: list[object] = [name, mark]
        for is_held_out in (False, True):
            cells += [f"{mean_gap(here, method, is_held_out):.3f}" for method in SEARCHES]
            cells.append(wins(here, is_held_out))
        print(row(cells))


def print_gains(problem: Problem, runs: Sequence[Run], last_mark: int) -> None:
    results = [
        (
            name,
            problem.evaluate(defaults(problem.parameters), name),
            [
                run.held_out
                for run in runs
                if (run.method, run.workload, run.evaluations) == ("CMA-ES", place, last_mark)
            ],
        )
        for place, name in enumerate(problem.held_out_workloads)
    ]
    beside = list(results[0][1].beside)
    heads = [
        "held out",
        f"baseline, {problem.cost_unit}",
        "defaults",
        f"CMA-ES, {last_mark} evaluations",
        "bound",
        "gap closed by defaults",
        "gap closed by CMA-ES, mean (least..most)",
        *(measured.replace("_", " ") for measured in beside),
    ]
    print(row(heads))
    print(row("---" for _ in heads))
    for name, start, found in results:
        gaps = [score.gap_closed for score in found]
        ratios = start.baseline, start.achieved, mean(s.achieved for s in found), start.bound
        cells = [f"{ratio:.4f}" for ratio in ratios]
        spread = f"{mean(gaps):.3f} ({min(gaps):.3f}..{max(gaps):.3f})"
        others = [f"{mean(score.beside[measured] for score in found):.2f}" for measured in beside]
        print(row([name, *cells, f"{start.gap_closed:.3f}", spread, *others]))


def print_problem(specialization: str, marks: Sequence[int], seeds: int, processes: int) -> None:
    problem = the_problem(specialization)
    began_s = time.perf_counter()
    runs = all_runs(specialization, marks, seeds, processes)
    took_s = time.perf_counter() - began_s
    machine = describe_machine(*SEARCH_PACKAGES)
    print(f"\n{specialization}. Machine: {machine}. Seeds 0..{seeds - 1}; {took_s:.0f} s.\n")
    print_comparison(problem, runs, marks)
    print()
    print_gains(problem, runs, marks[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specialization", nargs="+", default=TRAINED, choices=TRAINED)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    for specialization in arguments.specialization:
        marks = sorted(arguments.evaluations)
        print_problem(specialization, marks, arguments.seeds, arguments.processes)


if __name__ == "__main__":
    main()
