"""Policies as evaluators see them: what answers are refused, and how few are asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from workers.problems import (
    JOINT_PROBLEMS,
    PROBLEMS,
    Interface,
    JointProblem,
    Maker,
    Problem,
    Remote,
)
from workers.problems.file_system.problem import policy_misses
from workers.problems.policies import SHOWN_CHARACTERS, WrongAnswer, is_finite_number, shown
from workers.problems.problem import defaults
from workers.problems.process_manager.cpu import LONGEST_US, RoundRobin, replay
from workers.problems.process_manager.problem import CpuScheduler

NO_WHOLE_NUMBERS: list[Any] = [
    True,
    1.0,
    float("nan"),
    float("inf"),
    "1",
    None,
    [],
    {},
    [1],
    "a\nb",
]
HUGE = 10**6_000


class GivesUp:
    """A cache policy that always gives up the same."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def hit(self, block: int) -> None: ...

    def insert(self, block: int) -> None: ...

    def replace(self, block: int) -> Any:
        return self.answer


class Chooses(RoundRobin):
    """A scheduler that always chooses the same."""

    def __init__(self, answer: object) -> None:
        super().__init__(10)
        self.answer = answer

    def choose(self, now_us: int) -> Any:
        return self.answer


class Interrupts(RoundRobin):
    """One that always says the same of who is ready."""

    def __init__(self, answer: object) -> None:
        super().__init__(10)
        self.answer = answer

    def ready(self, process: int) -> Any:
        super().ready(process)
        return self.answer


def caching(answer: object) -> int:
    return policy_misses(GivesUp(answer), [1, 2], [], 1)


def choosing(answer: object) -> list[int]:
    return replay([0], [20], Chooses(answer))


def interrupting(answer: object) -> list[int]:
    return replay([0, 5], [20, 20], Interrupts(answer), switch_us=0)


BLOCK = "a block that is in the cache"
CHOICE = f"a process that is ready, and how long it may run, 1..{LONGEST_US} us"
REFUSED: list[tuple[Callable[[Any], object], str, Any, str]] = [
    *((caching, "replace", answer, "an int, not ") for answer in NO_WHOLE_NUMBERS),
    *((caching, "replace", answer, BLOCK) for answer in (2, -1, HUGE)),
    *((choosing, "choose", answer, "a tuple[int, int], not ") for answer in NO_WHOLE_NUMBERS),
    *((choosing, "choose", answer, "a tuple[int, int], not int") for answer in (0, HUGE)),
    *(
        (choosing, "choose", (0, answer), "a tuple[int, int], not tuple[int, ")
        for answer in NO_WHOLE_NUMBERS
    ),
    *((choosing, "choose", (0, answer), CHOICE) for answer in (0, -1, LONGEST_US + 1, HUGE)),
    *(
        (choosing, "choose", (answer, 10), "a tuple[int, int], not tuple[")
        for answer in NO_WHOLE_NUMBERS
    ),
    *((choosing, "choose", (answer, 10), CHOICE) for answer in (7, HUGE)),
    (choosing, "choose", (0, 10, 0), "a tuple[int, int], not tuple[int, int, int]"),
    (choosing, "choose", (0,) * 99, "a tuple[int, int], not tuple[int, int, int, int]"),
    *((interrupting, "ready", answer, "a bool, not int") for answer in (0, 1)),
    (interrupting, "ready", None, "a bool, not None"),
    (interrupting, "ready", "true", "a bool, not str"),
    (interrupting, "ready", [True], "a bool, not list"),
    (interrupting, "ready", float("nan"), "a bool, not float"),
]


@pytest.mark.parametrize(
    ("ask", "method", "answer", "rule"),
    REFUSED,
    ids=[f"{method} {shown(answer)}" for _, method, answer, _ in REFUSED],
)
def test_no_wrong_answer_gets_by(
    ask: Callable[[Any], object], method: str, answer: object, rule: str
) -> None:
    with pytest.raises(WrongAnswer) as refused:
        ask(answer)
    detail = refused.value.detail
    seen = tuple(answer) if method == "choose" and isinstance(answer, list) else answer
    begin = f"the policy's {method}() answered {shown(seen)}: it must be {rule}"
    assert detail.startswith(begin)
    assert "\n" not in detail
    assert len(detail) < 200
    assert refused.value.method == method


def test_a_list_which_stands_for_a_tuple_is_shown_as_one() -> None:
    with pytest.raises(WrongAnswer) as refused:
        choosing([7, 10])
    assert refused.value.detail == f"the policy's choose() answered (7, 10): it must be {CHOICE}"


@pytest.mark.parametrize(
    ("answer", "line"),
    [(HUGE, "a number too long to show"), ([HUGE], "a number too long to show, in a list")],
    ids=["itself", "in a list"],
)
def test_a_huge_number_is_not_written_out(answer: object, line: str) -> None:
    assert shown(answer) == line


def test_who_interrupts_runs_at_once() -> None:
    # 1 comes at 5, when 0 has run for half of its quantum.
    assert (interrupting(True), interrupting(False)) == ([40, 35], [30, 40])


def test_a_list_stands_for_a_tuple() -> None:
    assert choosing([0, 10]) == choosing((0, LONGEST_US)) == [70]


@pytest.mark.parametrize(
    "answer",
    [HUGE, [HUGE], "x" * 10**6, [[[[0] * 9] * 9] * 9] * 9, {"a": "\n" * 99}],
    ids=["a huge number", "a huge number in a list", "a long text", "lists", "lines"],
)
def test_an_answer_is_shown_on_one_short_line(answer: object) -> None:
    line = shown(answer)
    assert 0 < len(line) <= SHOWN_CHARACTERS
    assert line.isprintable()


class Away(Remote):
    """A policy that is reached by messages of JSON, and counts them."""

    def __init__(self, policy: Any, interface: Interface, calls: Counter[str]) -> None:
        self.policy, self.interface, self.calls = policy, interface, calls

    def tell(self, method: str, *arguments: Any) -> None:
        assert method in self.interface.tells
        self.calls["told"] += 1
        getattr(self.policy, method)(*json.loads(json.dumps(arguments)))

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if method not in self.interface.asks:
                return self.tell(method, *arguments)
            self.calls[f"asked {method}"] += 1
            answer = getattr(self.policy, method)(*json.loads(json.dumps(arguments)))
            return json.loads(json.dumps(answer))

        return call


ALL: list[Problem | JointProblem] = [*PROBLEMS, *JOINT_PROBLEMS]


def makers_of_defaults(problem: Problem | JointProblem) -> dict[str, Maker]:
    return problem.makers(defaults(problem.parameters))


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_a_policy_elsewhere_scores_the_same(problem: Problem) -> None:
    calls: Counter[str] = Counter()
    makers = makers_of_defaults(problem)

    def away(specialization: str) -> Callable[..., Away]:
        interface = problem.interfaces[specialization]
        return lambda *arguments: Away(makers[specialization](*arguments), interface, calls)

    scenarios = problem.generated(b"elsewhere")
    here = problem.evaluate_policies(makers, scenarios)
    there = problem.evaluate_policies({name: away(name) for name in problem.interfaces}, scenarios)
    assert there == here
    assert bool(calls["told"]) == any(one.tells for one in problem.interfaces.values())
    asked = {method for interface in problem.interfaces.values() for method in interface.asks}
    assert {name for name in calls if name != "told"} == {f"asked {method}" for method in asked}


def test_a_process_that_finds_the_cpu_idle_asks_nothing() -> None:
    calls: Counter[str] = Counter()
    interface = CpuScheduler().interfaces["process_manager"]
    policy: Any = Away(RoundRobin(10), interface, calls)
    replay([0, 100, 110], [20, 30, 10], policy, switch_us=0)
    # 0 and 1 come to an idle CPU, 2 while 1 runs.
    assert calls["asked ready"] == 1


def test_only_finite_numbers_are_numbers() -> None:
    assert all(map(is_finite_number, (0, -1, 0.5, 10**300)))
    numbers = (True, None, "1", [1], float("nan"), float("inf"), -float("inf"), 10**400)
    assert not any(map(is_finite_number, numbers))
