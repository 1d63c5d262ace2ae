"""Validations through kills, stops and outages: one verdict each, none lost, none twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients import RealFleet
from tests.components import lru_with
from tests.processes import descendants
from tests.sandboxes import needs_sandbox
from tests.servers import TestServer, wait_for
from tests.trainers import Start, Validator, instance, is_gone, started_trainers
from tests.validators import (
    SLOW,
    events,
    is_over,
    joined,
    judged,
    share,
    told,
    work_horse,
)

pytestmark = [pytest.mark.timeout(180), needs_sandbox]

AIS = ("V_1", "V_2")


@pytest.fixture
def validator(fleet: RealFleet, tmp_path: Path) -> Iterator[Start]:
    with started_trainers(tmp_path, lambda _: fleet.url, Validator) as start:
        yield start


@pytest.fixture
def validators(fleet: RealFleet, validator: Start) -> dict[str, Validator]:
    """Two that have joined, by their ids."""
    return {ai: joined(fleet, validator, ai) for ai in AIS}


def busy(validators: dict[str, Validator]) -> tuple[str, int]:
    """Which of them runs a sandbox now, and its work-horse."""

    def found() -> tuple[str, int] | None:
        for ai, validator in validators.items():
            horse = work_horse(validator)
            if horse is not None:
                return ai, horse
        return None

    running = wait_for(found, what="a validation to run")
    assert running is not None
    return running


def assert_judged_once(fleet: RealFleet, record_id: str, word: str = "passed") -> None:
    verdict = judged(fleet, record_id, 80)
    assert verdict["verdict"] == word, verdict
    assert [heard["verdict"] for heard in told(fleet, record_id)] == [word]
    assert events(fleet, record_id).count("validated") == 1
    assert is_over(fleet, record_id)


@pytest.mark.parametrize(
    "killed", [("worker",), ("horse",), ("agent",), ("worker", "agent", "horse")], ids="+".join
)
@pytest.mark.parametrize("with_coordinator", [False, True], ids=["", "coordinator"])
def test_killed_in_mid_validation(
    killed: tuple[str, ...],
    with_coordinator: bool,
    fleet: RealFleet,
    validators: dict[str, Validator],
) -> None:
    share(fleet, "AI_1", "c", SLOW)
    ai, horse = busy(validators)
    worker, agent = validators[ai].processes
    victims = {"worker": worker, "agent": agent, "horse": horse}
    below = descendants(horse)
    began_s = time.monotonic()
    if with_coordinator:
        fleet.crash_coordinator()
    for name in killed:
        os.kill(victims[name], signal.SIGKILL)
    if with_coordinator:
        fleet.start_coordinator()
    if killed != ("agent",):
        wait_for(lambda: is_gone(*below), 5, "the sandbox to end with its work-horse")
    assert_judged_once(fleet, "c")
    print(f"{'+'.join(killed)} killed: judged after {time.monotonic() - began_s:.1f} s")


def test_a_work_horse_that_is_killed_each_time_is_given_up(
    fleet: RealFleet, validators: dict[str, Validator]
) -> None:
    share(fleet, "AI_1", "c", SLOW)
    for _ in range(3):
        _, horse = busy(validators)
        os.kill(horse, signal.SIGKILL)
        wait_for(lambda horse=horse: is_gone(horse))
    assert_judged_once(fleet, "c", "not_validated")
    assert "lost 3 times" in judged(fleet, "c")["reason"]
    assert events(fleet, "c") == ["validation_lost"] * 2 + ["validated"]
    share(fleet, "AI_1", "next", SLOW)
    assert_judged_once(fleet, "next")


@pytest.mark.parametrize(
    "end",
    ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)", "import os; os.abort()"],
    ids=["exit", "kill", "abort"],
)
def test_a_component_that_ends_its_sandbox_has_failed_at_once(
    end: str, fleet: RealFleet, validators: dict[str, Validator]
) -> None:
    share(fleet, "AI_1", "c", lru_with("        victim, _", f"        {end}\n        victim, _"))
    assert_judged_once(fleet, "c", "failed")
    assert events(fleet, "c") == ["validated"]
    assert all(validator.process.poll() is None for validator in validators.values())


def test_a_sandbox_that_is_killed_from_outside_costs_an_attempt(
    fleet: RealFleet, validators: dict[str, Validator]
) -> None:
    share(fleet, "AI_1", "c", SLOW)
    _, horse = busy(validators)
    for pid in descendants(horse):
        with suppress(ProcessLookupError):  # one ends with another
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_gone(horse), what="its work-horse to end")
    assert_judged_once(fleet, "c")
    assert events(fleet, "c") == ["validation_lost", "validated"]


def test_stopped_for_long_and_continued(fleet: RealFleet, validators: dict[str, Validator]) -> None:
    """Another one has judged it meanwhile; what the first one says at last changes nothing."""
    share(fleet, "AI_1", "c", SLOW)
    ai, horse = busy(validators)
    worker, agent = validators[ai].processes
    stopped = (worker, agent, horse)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    (other,) = {*AIS} - {ai}
    assert judged(fleet, "c", 80)["validator"] == other
    before = told(fleet, "c"), events(fleet, "c")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: is_gone(horse), 40, "the stopped validation to end")
    wait_for(lambda: instance(fleet, ai), what="it to be back")
    wait_for(lambda: not fleet.redis.xlen(fleet.keys.ingress(ai)), what="its word to be taken")
    assert (told(fleet, "c"), events(fleet, "c")) == before
    share(fleet, "AI_1", "next", SLOW)
    assert_judged_once(fleet, "next")


def test_six_seconds_without_the_server_as_a_verdict_is_sent(
    server: TestServer, fleet: RealFleet, validators: dict[str, Validator]
) -> None:
    """The validation begins before, and ends in the outage."""
    share(fleet, "AI_1", "c", SLOW)
    ai, _ = busy(validators)
    server.kill()
    still_down_s = time.monotonic() + 6
    wait_for(lambda: time.monotonic() >= still_down_s)
    server.start()
    assert_judged_once(fleet, "c")
    assert events(fleet, "c") == ["validated"]
    assert judged(fleet, "c")["validator"] == ai
    assert all(validator.process.poll() is None for validator in validators.values())
    assert "Traceback" not in validators[ai].said()
