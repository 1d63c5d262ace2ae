"""How sessions are divided: a plan for each type, and the initiator's own."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.payloads import MAX_UNITS, PlannedUnit
from coordinator.plans import PLANS, ROUNDS_OF_ONE, check_plan, plan
from coordinator.settings import Settings
from coordinator.work import FEATURE_REQUEST, Session, Unit
from tests.fleet import FleetUnderTest

SKILLS = [
    *("propose_design", "implement_design", "measure_component", "bring_component"),
    *("tune_jointly", "begin_search", "search_share", "conclude_search", "develop_feature"),
]


def ai(name: str, specialization: str = "audio", skills: list[str] | None = None) -> Ai:
    profile = {"skills": SKILLS if skills is None else skills}
    return Ai(name, specialization, [], f"{name}.1", name, profile, 0, 0, 0, 0.0)


def session(kind: str, **more: Any) -> Session:
    common: dict[str, Any] = {"description": "", "target": None, "wanted": 2, "in_reply_to": "1"}
    return Session(id="s", type=kind, initiator="a", created_ms=0, **common, **more)


def planned(kind: str, *workers: Ai, **more: Any) -> list[Unit]:
    return plan(session(kind, **({"requirements": {}} | more)), workers, Settings())


def shown(units: list[Unit]) -> list[tuple[str, str | None, list[str]]]:
    return [(unit.name, unit.participant, unit.needs) for unit in units]


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_every_plan_is_in_an_order_in_which_it_can_be_done(kind: str, count: int) -> None:
    units = planned(kind, *(ai(f"ai{n}") for n in range(count)))
    assert 0 < len(units) <= MAX_UNITS
    assert len({unit.id for unit in units}) == len({unit.name for unit in units}) == len(units)
    before: set[str] = set()
    for unit in units:
        assert before.issuperset(unit.needs)
        before.add(unit.id)


def test_feature_development() -> None:
    assert shown(planned("feature_development", ai("a"), ai("b"))) == [
        ("design", "a", []),
        ("implementation", "b", ["s-1"]),
        ("measurement", "a", ["s-2"]),
    ]


def test_cross_specialization_brings_one_component_of_each() -> None:
    units = planned("cross_specialization", ai("a"), ai("b"), ai("c", "graphics"))
    assert [name for name, _, needs in shown(units) if not needs] == [
        "component-graphics",
        "component-audio",
    ]
    assert shown(units)[1:] == [
        ("component-audio", "a", []),
        ("joint-tuning", "a", ["s-1", "s-2"]),
        ("measurement", "b", ["s-3"]),
    ]


@pytest.mark.parametrize(
    "rounds", [0, -1, 1000, 128, "many", 10**400, None], ids=lambda value: str(value)[:6]
)
def test_rounds_that_cannot_be_are_as_many_as_are_needed(rounds: Any) -> None:
    units = planned("performance_optimization", ai("a"), ai("b"), requirements={"rounds": rounds})
    assert len(units) == ROUNDS_OF_ONE + 2


def test_as_many_rounds_as_there_may_be_units() -> None:
    units = planned("performance_optimization", ai("a"), ai("b"), requirements={"rounds": 127})
    assert len(units) == MAX_UNITS


def test_each_round_waits_for_the_one_before() -> None:
    units = planned("performance_optimization", ai("a"), ai("b"), requirements={"rounds": 2})
    assert shown(units) == [
        ("start", "a", []),
        ("round-0.0", "a", ["s-1"]),
        ("round-0.1", "b", ["s-1"]),
        ("round-1.0", "a", ["s-2", "s-3"]),
        ("round-1.1", "b", ["s-2", "s-3"]),
        ("result", "a", ["s-4", "s-5"]),
    ]


@pytest.mark.parametrize("kind", PLANS)
def test_without_the_skills_there_is_no_plan(kind: str) -> None:
    assert planned(kind, ai("a", skills=["other"])) == planned(kind) == []


def test_further_units_are_numbered_on() -> None:
    asked = session(FEATURE_REQUEST, requirements={})
    ids = [plan(asked, [ai(name)], Settings())[0].id for name in ("a", "b")]
    assert ids == ["s-1", "s-2"]


def test_a_plan_of_ones_own() -> None:
    own = [{"name": "x", "kind": "any"}, {"name": "y", "kind": "k", "needs": ["x"], "tries": 1}]
    own += [{"name": "z", "kind": "k", "participant": 5, "limit_s": 1.5, "inputs": {"i": 1}}]
    units = planned("feature_development", ai("a"), ai("b"), plan=own)
    assert shown(units) == [("x", None, []), ("y", None, ["s-1"]), ("z", "b", [])]
    assert [(unit.tries, unit.limit_s) for unit in units] == [(3, 300), (1, 300), (3, 1.5)]
    assert units[2].inputs == {"i": 1}


@pytest.mark.parametrize(
    ("units", "field"),
    [
        ([("a", []), ("a", [])], "payload.plan.1.name"),
        ([("a", ["a"])], "payload.plan.0.needs"),
        ([("a", ["b"]), ("b", [])], "payload.plan.0.needs"),
        ([("a", []), ("b", ["a", "none"])], "payload.plan.1.needs"),
    ],
)
def test_plans_that_cannot_be(units: list[tuple[str, list[str]]], field: str) -> None:
    with pytest.raises(BadMessage) as caught:
        check_plan([PlannedUnit(name=name, kind="k", needs=needs) for name, needs in units])
    assert caught.value.field == field


def test_who_has_no_worker_may_leave_its_plan_to_others(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("w", skills=["k"])
    fleet.join("a")
    s = fleet.collaborate("a", plan=[{"name": "u", "kind": "k", "participant": 0}])
    assert fleet.queue("w") == [fleet.job(f"{s}-1")]
    assert fleet.session(s)["participants"] == ["a", "w"]
