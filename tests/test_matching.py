"""Who is asked to do what: by what they have to do, by their record, by their load."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.fleet import Ai, Fleet, Member
from coordinator.matching import capable, ranked, runner
from coordinator.work import FEATURE_REQUEST, Attempt, Session, Unit

NAMES = ("a", "b", "c")


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    for name in NAMES:
        profile = {"skills": ["k"]}
        fleet.ais[name] = Ai(
            name, "audio", ["audio_mixing"], f"{name}.1", name, profile, 0, 0, 0, 0.0
        )
        fleet.members[name] = Member()
    return fleet


def a_session(**more: Any) -> Session:
    common = {"id": "s", "type": "feature_development", "initiator": "x", "description": ""}
    rest: dict[str, Any] = {
        "target": None,
        "wanted": 2,
        "requirements": {},
        "created_ms": 0,
        "in_reply_to": "1",
    }
    return Session(**(common | rest | more))


def a_unit(*failed: str, participant: str | None = None) -> Unit:
    attempts = [Attempt(ai, 0, 1, "failed") for ai in failed]
    return Unit("s-1", "s", "u", "k", participant, [], {}, 60, 3, attempts=attempts)


def order(fleet: Fleet) -> str:
    return "".join(ai.id for ai in ranked(fleet.ais.values(), fleet))


def test_the_order_of_the_equal_is_that_of_their_names(fleet: Fleet) -> None:
    assert order(fleet) == "abc"


def test_what_they_have_to_do_comes_before_their_record_and_that_before_load(fleet: Fleet) -> None:
    fleet.ais["a"].load = 1
    assert order(fleet) == "bca"
    fleet.members["b"].units_failed = 1
    assert order(fleet) == "cab"
    fleet.members["b"].units_completed = 5
    assert order(fleet) == "bca"
    fleet.assigned["b"] = 1
    assert order(fleet) == "cab"


def test_a_newcomer_stands_between_the_good_and_the_bad(fleet: Fleet) -> None:
    fleet.members["a"].units_failed = 1
    fleet.members["c"].units_completed = 1
    assert order(fleet) == "cba"


@pytest.mark.parametrize(
    ("participants", "failed", "participant", "chosen"),
    [
        ([], (), None, "a"),
        (["c"], (), None, "c"),
        (["b", "c"], (), "c", "c"),
        (["b", "c"], ("c",), "c", "b"),
        (["b", "c"], ("b", "c"), "c", "a"),
        (["b", "c"], ("a", "b", "c"), "c", "c"),
    ],
)
def test_who_runs_a_unit(
    fleet: Fleet,
    participants: list[str],
    failed: tuple[str, ...],
    participant: str | None,
    chosen: str,
) -> None:
    ai = runner(
        a_unit(*failed, participant=participant), a_session(participants=participants), fleet
    )
    assert ai is not None
    assert ai.id == chosen


def test_of_a_feature_only_those_it_is_assigned_to(fleet: Fleet) -> None:
    asked = a_session(type=FEATURE_REQUEST, participants=["b"])
    ai = runner(a_unit(), asked, fleet)
    assert ai is fleet.ais["b"]
    del fleet.ais["b"]
    assert runner(a_unit(), asked, fleet) is None


def test_who_is_drained_is_given_nothing(fleet: Fleet) -> None:
    for name in NAMES:
        fleet.members[name].is_draining = True
    asked = a_session(requirements={"feature": "audio_mixer"})
    assert (runner(a_unit(), a_session(), fleet), capable(asked, fleet)) == (None, [])


def test_who_is_capable_of_a_feature(fleet: Fleet) -> None:
    asked = a_session(initiator="a", declined={"b": ""}, requirements={"feature": "audio_mixer"})
    fleet.ais["d"] = Ai("d", "graphics", ["code_generation"], "d.1", "d", {}, 0, 0, 0, 0.0)
    assert [ai.id for ai in capable(asked, fleet)] == ["c"]
