"""What a trainer starts from of what others share."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator import Message
from workers.offers import WAITING_MAX, Offer, Unproven

PARAMETERS = {"x": 0.5}


def shared(message_type: str, record_id: str, sender: str = "AI_2", **component: Any) -> Message:
    field = {"code_share": "code", "os_component_share": "component"}[message_type]
    record = {"id": record_id, "problem": "hill", "parameters": PARAMETERS, **component}
    payload: dict[str, Any] = {field: record}
    if sender == "hub":
        payload["contributors"] = ["AI_2", "AI_3"]
    return Message("m", sender, message_type, "t", payload, None, "log", 1)


def verdict(kind: str, record_id: str, word: str = "passed") -> dict[str, Any]:
    return {"kind": kind, "component_id": record_id, "verdict": word}


@pytest.fixture
def unproven() -> Unproven:
    return Unproven()


@pytest.mark.parametrize(
    ("message_type", "kind"), [("code_share", "component"), ("os_component_share", "feature")]
)
def test_parameters_are_offered_once_their_component_has_passed(
    message_type: str, kind: str, unproven: Unproven
) -> None:
    unproven.add(shared(message_type, "c"))
    assert unproven.judged(verdict(kind, "other")) is None
    data = {"problem": "hill", "parameters": PARAMETERS}
    assert unproven.judged(verdict(kind, "c")) == Offer(
        {"id": "c", "data": data}, "AI_2", "component"
    )
    assert unproven.judged(verdict(kind, "c")) is None


@pytest.mark.parametrize("word", ["failed", "compiled", "not_validated"])
def test_no_other_verdict_lets_anybody_start_from_it(word: str, unproven: Unproven) -> None:
    unproven.add(shared("code_share", "c"))
    assert unproven.judged(verdict("component", "c", word)) is None
    assert unproven.judged(verdict("component", "c")) is None


def test_a_component_and_a_feature_of_one_id_are_two(unproven: Unproven) -> None:
    unproven.add(shared("code_share", "c"))
    assert unproven.judged(verdict("feature", "c")) is None
    assert unproven.judged(verdict("component", "c")) is not None


@pytest.mark.parametrize("parameters", [None, "x=1", [1]])
def test_one_shared_anew_without_parameters_offers_nothing(
    parameters: object, unproven: Unproven
) -> None:
    unproven.add(shared("code_share", "c"))
    unproven.add(shared("code_share", "c", parameters=parameters))
    assert unproven.judged(verdict("component", "c")) is None


def test_what_came_of_a_collaboration_is_of_several(unproven: Unproven) -> None:
    unproven.add(shared("os_component_share", "c", "hub"))
    offer = unproven.judged(verdict("feature", "c"))
    assert offer is not None
    assert offer.contributor == "AI_2, AI_3"


def test_of_too_many_that_wait_the_oldest_are_forgotten(unproven: Unproven) -> None:
    for number in range(WAITING_MAX + 1):
        unproven.add(shared("code_share", f"c{number}"))
    assert unproven.judged(verdict("component", "c0")) is None
    assert unproven.judged(verdict("component", "c1")) is not None
