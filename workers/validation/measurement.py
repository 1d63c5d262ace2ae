"""A Python component's way from its text to its score.

Outside lie the checks that run nothing, the evaluator, the clock and the score; inside the sandbox
runs the component, and nowhere else. The tests and the measurement have a sandbox each: whatever
the tests left behind is gone when the policy is measured.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from coordinator.messages import one_line
from coordinator.specializations import CAPABILITIES
from coordinator.validation.models import language_of
from workers.problems import (
    JOINT_PROBLEMS,
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
from workers.sandbox import Budget, PolicyFailed, Rung, Sandbox
from workers.validation.interface_check import (
    SPECIALIZATION,
    Takes,
    check_module,
    check_said,
    find_tests,
    takes_of,
)
from workers.validation.lockstep import measure_all
from workers.validation.report import NotValidated, Report
from workers.validation.seed import fingerprint, seed_of
from workers.validation.source import (
    Component,
    ComponentFault,
    Source,
    cases_of,
    parse,
)

MEASURED = tuple(word for word in CAPABILITIES if find_problem(word))
"""The specializations whose policies are measured alone."""
TOGETHER = tuple(" and ".join(problem.specializations) for problem in JOINT_PROBLEMS)
"""Those of which two are measured together, as they are named to people."""
SCORE_DECIMALS = {True: 3, False: 2}
"""Of a public workload and of a secret one; no more, so that nobody climbs on the digits."""
COST_DIGITS = 3
LONGEST_NAMES = 200
BROKEN = (
    "it raised an exception, or broke a rule or a limit, while it was measured: `coord validate`"
    " says which, on a public workload"
)
"""All that is told of a policy that failed on a secret workload: by what it broke, or in words of
its own, it could tell what it was asked."""


class Measurement:
    """The checks of one component in their order; the first that does not hold raises."""

    def __init__(
        self, component: Component, sources: list[Source], report: Report, is_public: bool
    ) -> None:
        self.component = component
        self.sources = sources
        self.report = report
        self.is_public = is_public
        self.budget = Budget(report.limits.wall_s)

    def run(self, seed: bytes, day: str | None, find_rung: Callable[[], Rung]) -> None:
        """Check, test and measure it. Raises ComponentFault, PolicyFailed, ProblemError for what is
        the component's fault, NotValidated, NoRung and Interrupted for what is not."""
        report = self.report
        report.on_step("reading it")
        with report.timed("parse_ms"):
            trees = self._parse()
            problem = self._problem()
            takes = takes_by_specialization(problem)
            for source, tree in zip(self.sources, trees, strict=True):
                with self._named(source):
                    check_module(tree, source.specialization, takes[source.specialization])
            cases = cases_of(self.component)
            tests = find_tests(trees, cases)
        report.fields["not_run"] = list(cases.not_run)
        report.on_step("looking for a sandbox")
        rung = find_rung()
        report.fields["sandbox"] = rung.describe()
        for source, names in zip(self.sources, tests, strict=True):
            with self._named(source):
                self._test(rung, source, takes[source.specialization], names)
        self._measure(rung, problem, seed, day)

    # -- what can be told without running it -------------------------------------------------------

    def _parse(self) -> list[ast.Module]:
        return [self._parsed(source) for source in self.sources]

    def _parsed(self, source: Source) -> ast.Module:
        try:
            with self._named(source):
                return parse(source.text)
        except ComponentFault as fault:
            if language_of(self.component.record):
                raise
            raise NotValidated(
                f"it names no `language`, and read as Python {fault.detail}: name its language"
            ) from None

    def _problem(self) -> Problem | JointProblem:
        """What its policies are measured by. Raises NotValidated, and ComponentFault for what does
        not say what it is of."""
        names = [source.specialization for source in self.sources]
        if not all(names):
            raise ComponentFault(
                f'{SPECIALIZATION} is not set: write `{SPECIALIZATION} = "{MEASURED[0]}"` at module'
                f" level, or what else it is for: {', '.join(MEASURED)}"
            )
        problem: Problem | JointProblem | None = None
        if len(names) == 1:
            problem = find_problem(*names)
        elif len(names) == 2:
            problem = find_joint_problem(*names)
        if problem is None:
            known = MEASURED if len(names) == 1 else TOGETHER
            raise NotValidated(
                one_line(f"nothing measures {' and '.join(names)} yet", LONGEST_NAMES)
                + f": measured are {', '.join(known)}"
            )
        return problem

    @contextmanager
    def _named(self, source: Source) -> Iterator[None]:
        """A fault of one source of several says which."""
        try:
            yield
        except (ComponentFault, PolicyFailed) as error:
            if len(self.sources) == 1:
                raise
            raise ComponentFault(f"{source.specialization}: {error.detail}") from None

    # -- what takes a sandbox ----------------------------------------------------------------------

    def _start(self, stack: ExitStack, rung: Rung, source: Source) -> Sandbox:
        """A sandbox for one source, which ends with the stack. Raises Interrupted."""
        box = stack.enter_context(Sandbox(rung, self.report.limits, source.text, self.budget))
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

    def _measure(
        self, rung: Rung, problem: Problem | JointProblem, seed: bytes, day: str | None
    ) -> None:
        """Let the evaluator ask the policies, each in its sandbox."""
        report = self.report
        report.fields |= {
            "problem": problem.name,
            "evaluator": evaluator_version(problem, day),
            "workload": fingerprint(seed, problem.name, day),
            "cost_unit": problem.cost_unit,
        }
        report.on_step("generating the workload")
        with report.timed("workload_ms"):
            scenarios = problem.generated(seed_of(seed, problem.name, day))
        report.on_step(f"measuring it in {len(scenarios)} scenarios")
        with ExitStack() as stack:
            boxes = {one.specialization: self._start(stack, rung, one) for one in self.sources}
            score = self._evaluate(boxes, problem, scenarios)
        report.fields |= self._told(score)

    def _evaluate(
        self, boxes: dict[str, Sandbox], problem: Problem | JointProblem, scenarios: Scenarios
    ) -> Score:
        """The score; what goes wrong is told in full if the workload is public."""
        report = self.report
        try:
            with report.timed("evaluation_ms"):
                for box in boxes.values():
                    box.load()
                measured = measure_all(problem, boxes, scenarios)
                for box in boxes.values():
                    box.flush()
                return problem.score(scenarios, measured)
        except (PolicyFailed, ProblemError):
            if self.is_public:
                raise
            raise ComponentFault(BROKEN) from None
        finally:
            asked_s = sum(box.asked_s for box in boxes.values())
            report.times_ms["policy_ms"] = asked_s * 1000

    def _told(self, score: Score) -> dict[str, object]:
        """The fields of a verdict that tell a score. What was achieved tells it once more, and is
        told of a public workload alone."""
        costs = {"baseline": score.baseline, "bound": score.bound}
        if self.is_public:
            costs = {"achieved": score.achieved} | costs
        return {
            "score": round(score.gap_closed, SCORE_DECIMALS[self.is_public]),
            "costs": {name: float(f"{cost:.{COST_DIGITS}g}") for name, cost in costs.items()},
            "dropped": list(score.dropped),
        }


def takes_by_specialization(problem: Problem | JointProblem) -> dict[str, Takes]:
    """By specialization, what a policy must have."""
    values = defaults(problem.parameters)
    if isinstance(problem, JointProblem):
        sources = problem.component_sources(values)
    else:
        sources = {problem.specialization: problem.component_source(values)}
    return {name: takes_of(sources[name], one) for name, one in problem.interfaces.items()}
