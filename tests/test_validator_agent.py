"""The agent of a validator: what it says it measures by, and how long that holds."""

from __future__ import annotations

import asyncio

import pytest

from coordinator import Settings
from workers import validator_agent
from workers.fleet_agent import AgentEnds
from workers.problems import JOINT_PROBLEMS, PROBLEMS
from workers.validator_agent import ValidatorAgent, evaluators

DAY, NEXT_DAY = "2026-11-21", "2026-11-22"


def test_it_measures_by_another_version_every_day() -> None:
    today, tomorrow = evaluators(DAY), evaluators(NEXT_DAY)

    problems = {problem.name for problem in (*PROBLEMS, *JOINT_PROBLEMS)}
    assert today.keys() == tomorrow.keys() == problems
    assert all(version.endswith(f"-{DAY}") for version in today.values())
    assert {version.removesuffix(f"-{DAY}") for version in today.values()} == {
        version.removesuffix(f"-{NEXT_DAY}") for version in tomorrow.values()
    }


def test_it_ends_with_the_day_so_that_the_next_one_says_by_what_it_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = iter([DAY, DAY, NEXT_DAY])
    monkeypatch.setattr(validator_agent, "today", lambda: next(days))
    monkeypatch.setattr(validator_agent, "DAY_POLL_S", 0)
    agent = ValidatorAgent("Validator_1", "unix:///nowhere", Settings())

    with pytest.raises(AgentEnds, match="a new day has begun"):
        asyncio.run(agent._measure_by_the_day())

    assert list(days) == []
