"""Scenarios measured side by side: the scores that they have alone, few round trips, one end."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from tests.components import LRU, ROUND_ROBIN
from tests.sandboxes import needs_sandbox
from workers.problems import Interface, Maker, ProblemError, find_joint_problem, find_problem
from workers.problems.file_system import policy as file_system_policy
from workers.problems.process_manager import policy as process_manager_policy
from workers.sandbox import Call, Limits, PolicyFailed, Sandbox, find_rung
from workers.validation.lockstep import measure_all

POLICIES = {
    "file_system": file_system_policy.Policy,
    "process_manager": process_manager_policy.Policy,
}
PROBLEMS: list[Any] = [
    find_problem("file_system"),
    find_problem("process_manager"),
    find_joint_problem("file_system", "process_manager"),
]


class Here:
    """A box whose policies run in this process; counts what each of them is asked."""

    def __init__(self, policy: Callable[..., Any]) -> None:
        self.policy = policy
        self.policies: dict[int, Any] = {}
        self.told: list[Call] = []
        self.asked: Counter[int] = Counter()
        self.batches: list[int] = []

    def make(self, policy_id: int, arguments: Sequence[Any]) -> None:
        self.policies[policy_id] = self.policy(*arguments)

    def tell(self, policy_id: int, method: str, *arguments: Any) -> None:
        self.told.append((policy_id, method, arguments))

    def ask_all(self, calls: Sequence[Call]) -> list[Any]:
        self.batches.append(len(calls))
        self.asked.update(policy_id for policy_id, _, _ in calls)
        for policy_id, method, arguments in self.told:
            getattr(self.policies[policy_id], method)(*arguments)
        self.told.clear()
        return [getattr(self.policies[one], method)(*given) for one, method, given in calls]


class Adder:
    """A policy that adds up, and knows when it is to fail."""

    def __init__(self) -> None:
        self.sum = 0

    def add(self, number: int) -> None:
        if number == 13:
            raise PolicyFailed("raised", "it was told 13")
        self.sum += number

    def total(self) -> int:
        return self.sum


class Adding:
    """A problem whose scenarios are numbers to add; no total may be above 99."""

    interfaces: Mapping[str, Interface] = {"adding": Interface((), ("add",), {"total": int})}

    def __init__(self) -> None:
        self.ended: list[tuple[int, ...]] = []

    def measure(self, makers: Mapping[str, Maker], scenario: tuple[int, ...]) -> list[int]:
        policy = makers["adding"]()
        totals = []
        try:
            for number in scenario:
                policy.add(number)
                totals.append(policy.total())
                if totals[-1] > 99:
                    raise ProblemError(f"{totals[-1]} is above 99")
        finally:
            self.ended.append(scenario)
        return totals


@pytest.fixture
def adding() -> Any:
    return Adding()


@pytest.fixture(autouse=True)
def _no_greenlet_is_left() -> Iterator[None]:
    yield
    left = [one for one in gc.get_objects() if isinstance(one, greenlet) and not one.dead]
    assert left == [getcurrent()]


def boxes_of(problem: Any) -> dict[str, Any]:
    return {name: Here(POLICIES[name]) for name in problem.interfaces}


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_side_by_side_they_score_as_one_after_the_other(problem: Any) -> None:
    scenarios = problem.generated(b"lockstep")
    makers = {name: POLICIES[name] for name in problem.interfaces}
    alone = problem.evaluate_policies(makers, scenarios)
    measured = measure_all(problem, boxes_of(problem), scenarios)
    reversed_measured = measure_all(problem, boxes_of(problem), scenarios[::-1])
    assert problem.score(scenarios, measured) == alone
    assert reversed_measured[::-1] == measured


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_no_more_round_trips_than_the_longest_scenario_has_questions(problem: Any) -> None:
    boxes = boxes_of(problem)
    measure_all(problem, boxes, problem.generated(b"lockstep"))
    asked = sum((box.asked for box in boxes.values()), Counter())
    longest = max(asked.values())
    for box in boxes.values():
        assert 0 < len(box.batches) <= longest < sum(asked.values()) / 3
    if len(boxes) == 1:
        assert len(box.batches) == longest


def test_each_goes_on_with_its_own_answer(adding: Any) -> None:
    box: Any = Here(Adder)
    measured = measure_all(adding, {"adding": box}, [(1, 2, 3), (), (10,), (5, 5)])
    assert measured == [[1, 3, 6], [], [10], [5, 10]]
    assert box.batches == [3, 2, 1]


def test_nothing_to_measure_asks_nothing(adding: Any) -> None:
    box: Any = Here(Adder)
    assert measure_all(adding, {"adding": box}, []) == []
    assert box.batches == []


@pytest.mark.parametrize(
    ("bad", "error", "detail"),
    [
        ((50, 50), ProblemError, "100 is above 99"),
        ((1, 13), PolicyFailed, "it was told 13"),
        ((13,), PolicyFailed, "it was told 13"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_fails_in_one_scenario_ends_all(
    adding: Any, bad: tuple[int, ...], error: type[Exception], detail: str, place: int
) -> None:
    scenarios = [(1, 2, 3), (4, 5, 6)]
    scenarios.insert(place, bad)
    with pytest.raises(error) as caught:
        measure_all(adding, {"adding": Here(Adder)}, scenarios)
    assert str(caught.value) == detail
    assert sorted(adding.ended) == sorted(scenarios)


def test_what_fails_at_once_begins_no_other(adding: Any) -> None:
    def fails() -> None:
        raise PolicyFailed("raised", "it is not made")

    with pytest.raises(PolicyFailed, match="it is not made"):
        measure_all(adding, {"adding": Here(fails)}, [(1,), (2,)])
    assert adding.ended == []


@needs_sandbox
def test_two_sandboxes_take_turns() -> None:
    problem = PROBLEMS[2]
    scenarios = problem.generated(b"lockstep")[:3]
    names: dict[str, Any] = {}
    sources = {"file_system": LRU, "process_manager": ROUND_ROBIN}
    makers = {}
    for name, source in sources.items():
        exec(source, names)
        makers[name] = names["Policy"]
    rung = find_rung()
    with (
        Sandbox(rung, Limits(), sources["file_system"]) as cache,
        Sandbox(rung, Limits(), sources["process_manager"]) as scheduler,
    ):
        boxes = {"file_system": cache, "process_manager": scheduler}
        for box in boxes.values():
            box.load()
        measured = measure_all(problem, boxes, scenarios)
    assert measured == [problem.measure(makers, one) for one in scenarios]
