"""A Python component's way from its text to its score.

Outside lie the checks that run nothing, the evaluator, the clock and the score; inside the sandbox
runs the component, and nowhere else. The tests and the measurement have a sandbox each: whatever
the tests left behind is gone when the policy is measured.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from coordinator.messages import one_line
from workers.problems import (
    JointProblem,
    Problem,
    ProblemError,
    Scenarios,
    Score,
    evaluator_version,
    find_joint_problem,
    find_problem,
)
from workers.problems.problem import defaults
from workers.sandbox import PolicyFailed, Rung, Sandbox
from workers.validation.interface_check import (
    Takes,
    check_module,
    check_said,
    find_tests,
    takes_of,
)
from workers.validation.remote_policy import remote_makers
from workers.validation.report import NotValidated, Report
from workers.validation.source import (
    Component,
    ComponentFault,
    Source,
    cases_of,
    language_of,
    parse,
)
from workers.validation.workload_seed import fingerprint, seed_of

SCORE_DECIMALS = 3
COST_DIGITS = 3
"""No more is told of a score and of costs, so that nobody climbs on the digits."""
BROKEN = {
    "raised": "it raised an exception",
    "timeout": "it took more time than it may",
    "memory": "it used more memory than it may",
    "ended": "it ended its process",
    "bad_answer": "it gave an answer that cannot be read",
    "too_much_output": "it printed more than it may",
}
"""What is told of a policy that failed on a secret workload: nothing in words of its own, by which
it could tell what it was asked."""


class Measurement:
    """The checks of one component in their order; the first that does not hold raises."""

    def __init__(
        self, component: Component, sources: list[Source], report: Report, is_public: bool
    ) -> None:
        self.component = component
        self.sources = sources
        self.report = report
        self.is_public = is_public

    def run(self, workload_seed: bytes, find_rung: Callable[[], Rung]) -> None:
        """Check, test and measure it. Raises ComponentFault, PolicyFailed, ProblemError for what is
        the component's fault, NotValidated and NoRung for what is not."""
        report = self.report
        report.on_step("reading it")
        with report.timed("parse_ms"):
            trees = self._parse()
            problem = self._problem()
            takes = takes_by_specialization(problem)
            for source, tree in zip(self.sources, trees, strict=True):
                check_module(tree, source.specialization, takes[source.specialization])
            cases = cases_of(self.component)
            tests = find_tests(trees, cases)
        report.fields["not_run"] = list(cases.not_run)
        report.on_step("looking for a sandbox")
        rung = find_rung()
        report.fields["sandbox"] = rung.describe()
        for source, names in zip(self.sources, tests, strict=True):
            self._test(rung, source, takes[source.specialization], names)
        self._measure(rung, problem, workload_seed)

    # -- what can be told without running it -------------------------------------------------------

    def _parse(self) -> list[ast.Module]:
        try:
            return [parse(source.text) for source in self.sources]
        except ComponentFault as fault:
            if language_of(self.component):
                raise
            raise NotValidated(
                f"it names no `language`, and read as Python {fault.detail}: name its language"
            ) from None

    def _problem(self) -> Problem | JointProblem:
        """What its policies are measured by. Raises NotValidated."""
        names = [source.specialization for source in self.sources]
        problem: Problem | JointProblem | None = None
        if len(names) == 1:
            problem = find_problem(*names)
        elif len(names) == 2:
            problem = find_joint_problem(*names)
        if problem is None:
            raise NotValidated(
                one_line(f"nothing measures {' and '.join(names) or 'no specialization'} yet:")
                + " docs/components.md says what is measured"
            )
        return problem

    # -- what takes a sandbox ----------------------------------------------------------------------

    def _start(self, stack: ExitStack, rung: Rung, source: Source) -> Sandbox:
        """A sandbox for one source, which ends with the stack; NoRung if it does not come up."""
        box = stack.enter_context(Sandbox(rung, self.report.limits, source.text))
        times_ms = self.report.times_ms
        times_ms["startup_ms"] = max(times_ms["startup_ms"], box.startup_ms)
        return box

    def _test(self, rung: Rung, source: Source, takes: Takes, names: Iterable[str]) -> None:
        """Load it, and run its own tests."""
        report = self.report
        report.on_step(f"loading {source.specialization}")
        with ExitStack() as stack:
            box = self._start(stack, rung, source)
            with report.timed("tests_ms"):
                check_said(box.load(), source.specialization, takes)
                for name in names:
                    report.on_step(f"running its test {name}")
                    try:
                        box.test(name)
                    except PolicyFailed as error:
                        raise ComponentFault(f"its test {name}: {error.detail}") from None
                    report.fields.setdefault("tests", []).append(name)

    def _measure(self, rung: Rung, problem: Problem | JointProblem, seed: bytes) -> None:
        """Let the evaluator ask the policies, each in its sandbox."""
        report = self.report
        report.fields |= {
            "problem": problem.name,
            "evaluator": evaluator_version(problem),
            "workload": fingerprint(seed, problem.name),
            "cost_unit": problem.cost_unit,
        }
        report.on_step("generating the workload")
        with report.timed("workload_ms"):
            scenarios = problem.generated(seed_of(seed, problem.name))
        report.on_step(f"measuring it in {len(scenarios)} scenarios")
        with ExitStack() as stack:
            boxes = {one.specialization: self._start(stack, rung, one) for one in self.sources}
            score = self._evaluate(boxes, problem, scenarios)
        report.fields |= _measured(score)

    def _evaluate(
        self, boxes: dict[str, Sandbox], problem: Problem | JointProblem, scenarios: Scenarios
    ) -> Score:
        """The score; what goes wrong is told in full if the workload is public."""
        report = self.report
        try:
            with report.timed("evaluation_ms"):
                for box in boxes.values():
                    box.load()
                score = problem.evaluate_policies(
                    remote_makers(boxes, problem.interfaces), scenarios
                )
                for box in boxes.values():
                    box.flush()
                return score
        except (PolicyFailed, ProblemError) as error:
            if self.is_public:
                raise
            what = "it gave an answer that the rules do not allow"
            if isinstance(error, PolicyFailed):
                what = BROKEN[error.kind]
            raise ComponentFault(
                f"while it was measured, {what}: `coord validate` shows what, on another workload"
            ) from None
        finally:
            asked_s = sum(box.asked_s for box in boxes.values())
            report.times_ms["policy_ms"] = asked_s * 1000


def takes_by_specialization(problem: Problem | JointProblem) -> dict[str, Takes]:
    """By specialization, what a policy must have."""
    values = defaults(problem.parameters)
    if isinstance(problem, JointProblem):
        sources = problem.component_sources(values)
    else:
        sources = {problem.specialization: problem.component_source(values)}
    return {name: takes_of(sources[name], one) for name, one in problem.interfaces.items()}


def _measured(score: Score) -> dict[str, object]:
    """The fields of a verdict that tell a score."""
    costs = {"achieved": score.achieved, "baseline": score.baseline, "bound": score.bound}
    return {
        "score": round(score.gap_closed, SCORE_DECIMALS),
        "costs": {name: float(f"{cost:.{COST_DIGITS}g}") for name, cost in costs.items()},
    }
