"""The soak run's own judgement: what must not be is seen, and what may be is not."""

from __future__ import annotations

import pytest

from bench.soak_story import LOOK_EVERY_S, SETTINGS, SLACK_S, Gone, Outage, Story

UNIT = {"session_id": "s", "unit_id": "s-1"}
LEASE_END_S = 100.0
OVERDUE_S = LEASE_END_S + SLACK_S


@pytest.fixture
def story() -> Story:
    """AI_1 has a unit, and is gone."""
    story = Story()
    story.take("session_opened", "AI_1", {"session_id": "s", "type": "feature_development"}, 90)
    story.take("unit_assigned", "AI_1", UNIT, 91)
    story.gone["AI_1"] = Gone(95, OVERDUE_S)
    return story


def test_a_unit_that_another_has_in_time_is_right(story: Story) -> None:
    story.look(OVERDUE_S - 1)
    story.take("unit_lost", "AI_1", UNIT, LEASE_END_S + 0.5)
    story.take("unit_assigned", "AI_2", UNIT, LEASE_END_S + 0.5)
    story.look(OVERDUE_S + 60)
    assert story.faults == []
    assert story.late_s == [0.5]
    assert story.longest_unowned_s == 0


def test_a_unit_that_stays_with_one_that_is_gone_is_told_once(story: Story) -> None:
    for _ in range(3):
        story.look(OVERDUE_S + 10 * LOOK_EVERY_S)
    assert len(story.faults) == 1


def test_what_it_is_given_while_it_is_gone_counts_too(story: Story) -> None:
    story.take("unit_assigned", "AI_1", {**UNIT, "unit_id": "s-2"}, 98)
    story.look(OVERDUE_S + 1)
    assert len(story.faults) == 2


def test_one_that_is_back_keeps_what_it_has(story: Story) -> None:
    story.take("joined", "AI_1", {}, 101)
    story.look(OVERDUE_S + 60)
    assert story.faults == []


def test_after_a_takeover_nobody_expires_for_a_lease(story: Story) -> None:
    story.outages.append(Outage(99, 102))
    story.look(102 + SETTINGS.lease_s)
    assert story.faults == []
    story.look(102 + SETTINGS.lease_s + SLACK_S + 1)
    assert len(story.faults) == 1


def test_a_unit_that_is_nobodys_is_seen(story: Story) -> None:
    story.take("unit_lost", "AI_1", UNIT, 101)
    story.look(105)
    assert story.longest_unowned_s == 4


def test_the_end_of_a_session_counts_once(story: Story) -> None:
    story.take("unit_failed", "AI_1", UNIT, 101)
    story.take("session_failed", "AI_1", {"session_id": "s"}, 101)
    story.look(200)
    assert story.open == []
    assert story.faults == []
    assert story.longest_unowned_s == 0
    story.take("session_cancelled", "AI_1", {"session_id": "s"}, 102)
    assert len(story.faults) == 1
