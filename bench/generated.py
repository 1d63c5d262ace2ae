"""Do the workloads that validators generate rank policies as recordings do?

    python -m bench.generated --seeds 20 --processes 2

Ranked are the default values, some at random, some trained on one training workload each, and those
of textbooks where `textbook` has any. Agreement is Spearman's rank correlation of one seed's scores
with the means over the development or held-out workloads, which are recordings, or for a problem
that nothing is recorded for, other seeds of the same models. Prints Markdown, a row for each
problem.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from random import Random
from statistics import correlation, mean, stdev
from typing import Any, NamedTuple

from bench.machine import describe_machine
from bench.search import SEARCH_PACKAGES, row
from bench.textbook import CACHES, SCHEDULERS
from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Maker, Problem, Scenarios
from workers.problems.problem import defaults, from_unit
from workers.search import search

AT_RANDOM = 8
EVALUATIONS = 60
TRAINED, DEFAULTS = "trained", "defaults"
PAIRS = (
    ("FIFO", "round robin 4 ms"),
    ("LFU with history", "round robin 30 ms"),
    ("2Q", "least attained service"),
    ("SIEVE", "round robin 1 ms"),
    ("MRU", "first come first served"),
    ("LRU-2", "least attained service"),
    ("random", "round robin 4 ms"),
)
Textbook = tuple[str, ...]
"""Names of textbook policies, one for each specialization of a problem."""
TEXTBOOK: Mapping[str, Sequence[Textbook]] = {
    "buffer_cache": [(name,) for name in CACHES],
    "cpu_scheduler": [(name,) for name in SCHEDULERS],
    "cache_and_scheduler": PAIRS,
}
"""What textbooks have, by the name of a problem."""


class Subject(NamedTuple):
    """A problem, how often each workload is trained on, and what textbooks have for it."""

    problem: Problem | JointProblem
    times_trained: int
    textbook: Sequence[Textbook]


SUBJECTS = (
    *(Subject(problem, 1, TEXTBOOK.get(problem.name, ())) for problem in PROBLEMS),
    *(Subject(problem, 2, TEXTBOOK.get(problem.name, ())) for problem in JOINT_PROBLEMS),
)


class Candidate(NamedTuple):
    """A policy by its parameter values, or the textbook's by its names."""

    kind: str
    values: Mapping[str, float]
    names: Textbook = ()


def makers(problem: Problem | JointProblem, candidate: Candidate) -> dict[str, Maker]:
    """By specialization, what makes the candidate's policy."""
    if candidate.names:
        known = CACHES | SCHEDULERS
        return dict(zip(problem.interfaces, (known[name] for name in candidate.names), strict=True))
    return problem.makers(candidate.values)


def trained(number: int, workload: str, seed: int) -> Candidate:
    found = search(SUBJECTS[number].problem, workload, EVALUATIONS, seed)
    return Candidate(TRAINED, found.values)


def gaps(number: int, candidates: Sequence[Candidate], scenarios: Scenarios) -> list[float]:
    """The part of the gap that each candidate closes."""
    problem = SUBJECTS[number].problem
    scores = (problem.evaluate_policies(makers(problem, one), scenarios) for one in candidates)
    return [score.gap_closed for score in scores]


def on_seed(number: int, candidates: Sequence[Candidate], seed: int) -> list[float]:
    return gaps(number, candidates, SUBJECTS[number].problem.generated(b"seed%d" % seed))


def on_recording(number: int, candidates: Sequence[Candidate], workload: str) -> list[float]:
    return gaps(number, candidates, SUBJECTS[number].problem.recorded(workload))


def candidates_for(pool: ProcessPoolExecutor, number: int) -> list[Candidate]:
    problem, times, textbook = SUBJECTS[number]
    random = Random(5)
    drawn = ([random.random() for _ in problem.parameters] for _ in range(AT_RANDOM))
    runs = product(problem.training_workloads, range(1, times + 1))
    searches = [pool.submit(trained, number, workload, seed) for workload, seed in runs]
    return [
        Candidate(DEFAULTS, defaults(problem.parameters)),
        *(Candidate("random", from_unit(problem.parameters, units)) for units in drawn),
        *(one.result() for one in searches),
        *(Candidate("textbook", {}, names) for names in textbook),
    ]


def agreement(scores: Sequence[float], others: Sequence[float]) -> float:
    """Spearman's: that of their ranks."""
    return correlation(*([sorted(of).index(one) for one in of] for of in (scores, others)))


def told(values: Sequence[float]) -> str:
    """Mean (least)."""
    return f"{mean(values):.2f} ({min(values):.2f})"


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def measure(pool: ProcessPoolExecutor, number: int, seeds: int) -> tuple[object, ...]:
    """The cells of a problem's row."""
    problem = SUBJECTS[number].problem
    candidates = candidates_for(pool, number)

    def all_of(one: Callable[..., list[float]], items: Sequence[Any]) -> list[list[float]]:
        return list(pool.map(partial(one, number, candidates), items))

    development, held_out = (
        [mean(scores) for scores in zip(*all_of(on_recording, workloads), strict=True)]
        for workloads in (problem.development_workloads, problem.held_out_workloads)
    )
    by_seed = all_of(on_seed, range(seeds))
    by_candidate = list(zip(*by_seed, strict=True))
    of_kind = {
        kind: [s for c, s in zip(candidates, by_candidate, strict=True) if c.kind == kind]
        for kind in (DEFAULTS, TRAINED)
    }
    (by_default,) = of_kind[DEFAULTS]
    means, sds = ([f(scores) for scores in of_kind[TRAINED]] for f in (mean, stdev))
    return (
        problem.name,
        len(candidates),
        len(problem.generated(b"")),
        f"{mean(by_default):.3f}, {stdev(by_default):.3f}",
        f"{span(means)}, {span(sds)}",
        told([agreement(scores, development) for scores in by_seed]),
        told([agreement(scores, held_out) for scores in by_seed]),
        f"{agreement(development, held_out):.2f}",
        f"{mean(agreement(by_seed[0], scores) for scores in by_seed[1:]):.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    names = [subject.problem.name for subject in SUBJECTS]
    parser.add_argument("--problems", nargs="+", default=names, choices=names)
    arguments = parser.parse_args()
    print(f"Machine: {describe_machine(*SEARCH_PACKAGES)}. {arguments.seeds} seeds.\n")
    heads = (
        *("problem", "policies", "scenarios", "defaults: mean, sd over seeds"),
        *("the trained: mean, sd", "agreement: development", "held out"),
        *("development with held out", "one seed with another"),
    )
    print(row(heads))
    print(row("---" for _ in heads))
    with ProcessPoolExecutor(arguments.processes) as pool:
        for number in map(names.index, arguments.problems):
            print(row(measure(pool, number, arguments.seeds)), flush=True)


if __name__ == "__main__":
    main()
