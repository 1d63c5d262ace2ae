"""Units run by real trainers for a real coordinator; tests/chaos/test_units.py has more."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients import RealFleet
from tests.servers import TestServer, wait_for
from tests.trainers import LEASE_S, Start, instance
from tests.units import Gates, Run


@pytest.fixture
def server() -> Iterator[TestServer]:
    with TestServer("valkey", "--appendonly", "yes") as server:
        yield server


@pytest.fixture
def fleet(server: TestServer) -> Iterator[RealFleet]:
    with RealFleet(server.url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def two(fleet: RealFleet, start: Start) -> Start:
    """Two trainers that have joined, AI_1 and AI_2."""
    trainers = [start(ai) for ai in ("AI_1", "AI_2")]
    for trainer, ai in zip(trainers, ("AI_1", "AI_2"), strict=True):
        wait_for(lambda ai=ai: instance(fleet, ai), what=trainer.said() or f"{ai} to join")
    return start


@pytest.mark.usefixtures("two")
def test_two_trainers_run_a_plan(fleet: RealFleet) -> None:
    said = fleet.redis.hget(fleet.keys.ai("AI_1"), "capabilities")
    run = Run(
        fleet,
        [
            {"name": "a", "kind": "echo", "inputs": {"x": 1}, "participant": 1},
            {"name": "b", "kind": "echo", "inputs": {"x": 2}, "participant": 2},
            {"name": "c", "kind": "echo", "needs": ["a", "b"], "limit_s": 5},
        ],
        partners=2,
    )
    run.wait_until_over()
    assert run.has_one_result_each(), run.units
    a, b, c = (run.output(name) for name in "abc")
    assert {a["ai"], b["ai"]} == {"AI_1", "AI_2"}
    assert (a["inputs"], b["inputs"]) == ({"x": 1}, {"x": 2})
    assert c["outputs"] == {"a": a, "b": b}
    assert [unit.attempt for unit in run.units.values()] == [1, 1, 1]
    assert b"echoing" in said


@pytest.mark.usefixtures("two")
def test_a_killed_work_horse_costs_one_attempt(fleet: RealFleet, gates: Gates) -> None:
    gates.open("g", 2)
    run = Run(fleet, [gates.unit("g")])
    os.kill(gates.begun("g", 1).horse, signal.SIGKILL)
    run.wait_until_over()
    assert run.has_one_result_each(), run.units
    first, second = run.units["g"].attempts
    assert (first.outcome, second.outcome) == ("failed", "completed")
    assert "terminated unexpectedly" in first.reason


def test_told_to_stop_it_ends_its_unit_first(
    fleet: RealFleet, start: Start, ai: str, gates: Gates
) -> None:
    trainer = start(ai)
    wait_for(lambda: instance(fleet, ai))
    run = Run(fleet, [gates.unit("g")])
    gates.begun("g", 1)
    trainer.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.process.wait(LEASE_S + 1)
    gates.open("g", 1)
    assert trainer.process.wait(30) == 0, trainer.said()
    run.wait_until_over()
    assert run.has_one_result_each(), run.units
    assert run.units["g"].attempt == 1
    assert ai not in fleet.live()


@pytest.mark.usefixtures("two")
def test_an_outage_in_mid_unit_costs_nothing(
    server: TestServer, fleet: RealFleet, gates: Gates
) -> None:
    run = Run(fleet, [gates.unit("g"), {"name": "after", "kind": "echo", "needs": ["g"]}])
    gates.begun("g", 1)
    server.kill()
    gates.open("g", 1)
    server.start()
    run.wait_until_over()
    assert run.has_one_result_each(), run.units
    assert [unit.attempt for unit in run.units.values()] == [1, 1]
