"""Who joined and left lately, as a listener of the feed keeps it."""

from __future__ import annotations

import pytest

from coordinator.history import recent_lines
from tests.fleet import FleetUnderTest
from web.live.churn import CHANGES_KEPT, Churn


@pytest.fixture
def churn() -> Churn:
    return Churn()


def changes_of(fleet: FleetUnderTest, churn: Churn) -> list[tuple[str, bool, str]]:
    churn.take(list(recent_lines(fleet.redis, fleet.keys, 0).lines))
    return [(change.ai, change.has_joined, change.text) for change in churn.newest]


def test_who_joined_and_left_is_told_newest_first(fleet: FleetUnderTest, churn: Churn) -> None:
    fleet.join("AI_1", specialization="audio")
    fleet.say("AI_1", "pattern_share", {"pattern": {"id": "p"}})
    fleet.say("AI_1", "goodbye", {"reason": "all\ndone"})
    fleet.run()
    assert changes_of(fleet, churn) == [("AI_1", False, r"all\ndone"), ("AI_1", True, "audio")]


def test_the_newest_are_kept(fleet: FleetUnderTest, churn: Churn) -> None:
    fleet.join(*(f"AI_{n}" for n in range(CHANGES_KEPT + 1)))
    found = changes_of(fleet, churn)
    assert (found[0][0], found[-1][0], len(found)) == (f"AI_{CHANGES_KEPT}", "AI_1", CHANGES_KEPT)


@pytest.mark.parametrize("data", ["{}", '{"reason": null}', '{"reason": {"x": 1}}'])
def test_what_strangers_wrote_is_told_as_text(
    fleet: FleetUnderTest, churn: Churn, data: str
) -> None:
    fleet.join("AI_1")
    fields = {"ms": 1, "epoch": "", "kind": "left", "ai": "<b>", "text": "", "data": data}
    fleet.redis.xadd(fleet.keys.events, fields, id="1000-0")  # type: ignore[arg-type]
    (newest, *_) = changes_of(fleet, churn)
    assert newest[:2] == ("<b>", False)
