"""Units through kills, stops and outages: one result each, whatever comes late."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from coordinator import collaborations, dispatch
from coordinator.context import Context, Incoming
from coordinator.effects import Effect
from coordinator.payloads import WorkResult, parse_payload
from tests.clients import RealFleet
from tests.servers import TestServer, wait_for
from tests.trainers import Start, Trainer, instance, is_gone
from tests.units import Begun, Gates, Run

pytestmark = pytest.mark.timeout(180)

AIS = ("AI_1", "AI_2")
AFTER = {"name": "after", "kind": "echo", "needs": ["g"]}


@pytest.fixture
def trainers(fleet: RealFleet, start: Start) -> dict[str, Trainer]:
    """Two that have joined, by their ids."""
    started = {ai: start(ai) for ai in AIS}
    for ai in AIS:
        wait_for(lambda ai=ai: instance(fleet, ai), what=f"{ai} to join")
    return started


def parts(trainer: Trainer, begun: Begun) -> dict[str, int]:
    worker, agent = trainer.processes
    return {"worker": worker, "agent": agent, "horse": begun.horse}


@pytest.mark.parametrize(
    "killed", [("worker",), ("horse",), ("agent",), ("worker", "agent", "horse")], ids="+".join
)
@pytest.mark.parametrize("with_coordinator", [False, True], ids=["", "coordinator"])
def test_killed_in_mid_unit(
    killed: tuple[str, ...],
    with_coordinator: bool,
    fleet: RealFleet,
    trainers: dict[str, Trainer],
    gates: Gates,
) -> None:
    run = Run(fleet, [gates.unit("g"), AFTER])
    begun = gates.begun("g", 1)
    victims = parts(trainers[begun.ai], begun)
    gates.open("g", 2, 3)
    began_s = time.monotonic()
    if with_coordinator:
        fleet.crash_coordinator()
    for name in killed:
        os.kill(victims[name], signal.SIGKILL)
    if with_coordinator:
        fleet.start_coordinator()
    session = run.wait_until_over()
    print(f"{'+'.join(killed)} killed: done after {time.monotonic() - began_s:.1f} s")
    assert run.has_one_result_each(), (session, run.units, run.events())
    assert run.units["g"].attempt == 2
    if "worker" in killed:
        wait_for(lambda: is_gone(*victims.values()), 5, "all to end with their worker")
    else:
        wait_for(lambda: instance(fleet, begun.ai), what="the trainer to be whole again")
        assert trainers[begun.ai].process.poll() is None
    if killed == ("agent",):
        before = run.units, run.workspace(), run.events(), run.output("g")
        gates.open("g", 1)
        run.wait_until_heard(begun)
        assert (run.units, run.workspace(), run.events(), run.output("g")) == before


@pytest.mark.parametrize("stopped", [("worker",), ("worker", "agent", "horse")], ids="+".join)
def test_stopped_for_longer_than_its_lease_and_continued(
    stopped: tuple[str, ...], fleet: RealFleet, trainers: dict[str, Trainer], gates: Gates
) -> None:
    run = Run(fleet, [gates.unit("g"), AFTER])
    begun = gates.begun("g", 1)
    victims = parts(trainers[begun.ai], begun)
    first = instance(fleet, begun.ai)
    gates.open("g", 2)
    began_s = time.monotonic()
    for name in stopped:
        os.kill(victims[name], signal.SIGSTOP)
    run.wait_until_over()
    print(f"{'+'.join(stopped)} stopped: done after {time.monotonic() - began_s:.1f} s")
    assert run.has_one_result_each(), (run.units, run.events())
    assert [a.outcome for a in run.units["g"].attempts] == ["lost", "completed"]
    before = run.units, run.workspace(), run.events(), run.output("g")

    for name in stopped:
        os.kill(victims[name], signal.SIGCONT)
    gates.open("g", 1)
    run.wait_until_heard(begun)
    assert (run.units, run.workspace(), run.events(), run.output("g")) == before
    second = wait_for(lambda: instance(fleet, begun.ai), what="it to be back")
    assert (second == first) == ("agent" in stopped)
    again = Run(fleet, [{"name": f"n{n}", "kind": "echo"} for n in range(4)])
    again.wait_until_over()
    assert again.has_one_result_each()


def test_six_seconds_without_the_server_in_mid_unit(
    server: TestServer, fleet: RealFleet, trainers: dict[str, Trainer], gates: Gates
) -> None:
    """The unit begins before, and ends in the outage."""
    run = Run(fleet, [gates.unit("g"), AFTER])
    begun = gates.begun("g", 1)
    server.kill()
    still_down_s = time.monotonic() + 6
    gates.open("g", 1)
    wait_for(lambda: time.monotonic() >= still_down_s)
    server.start()
    up_s = time.monotonic()
    run.wait_until_over()
    print(f"server away for 6 s: done {time.monotonic() - up_s:.1f} s after it was back")
    assert run.has_one_result_each(), (run.units, run.events())
    assert [unit.attempt for unit in run.units.values()] == [1, 1]
    assert all(trainer.process.poll() is None for trainer in trainers.values())
    assert "Traceback" not in trainers[begun.ai].said()


def test_a_frozen_server_in_mid_unit(
    server: TestServer, fleet: RealFleet, trainers: dict[str, Trainer], gates: Gates
) -> None:
    """It answers nothing for longer than any time limit; then all goes on."""
    run = Run(fleet, [gates.unit("g"), AFTER])
    begun = gates.begun("g", 1)
    server.pause()
    frozen_until_s = time.monotonic() + 12
    gates.open("g", 1, 2)
    wait_for(lambda: time.monotonic() >= frozen_until_s)
    server.resume()
    run.wait_until_over()
    assert run.has_one_result_each(), (run.units, run.events())
    assert all(trainer.process.poll() is None for trainer in trainers.values())
    assert "Traceback" not in trainers[begun.ai].said()


def test_a_server_that_forgot_everything_in_mid_unit(
    server: TestServer, fleet: RealFleet, trainers: dict[str, Trainer], gates: Gates
) -> None:
    """What the session was is gone; the trainers are there for the next one."""
    run = Run(fleet, [gates.unit("g")])
    begun = gates.begun("g", 1)
    server.kill()
    still_down_s = time.monotonic() + 6
    wait_for(lambda: time.monotonic() >= still_down_s)
    for kept in server.directory.glob("appendonlydir/*"):
        kept.unlink()
    server.start()
    wait_for(lambda: all(instance(fleet, ai) for ai in AIS), what="both to be back")
    gates.open("g", 1)
    again = Run(fleet, [{"name": f"n{n}", "kind": "echo"} for n in range(4)])
    again.wait_until_over()
    assert again.has_one_result_each(), (again.units, again.events())
    assert not fleet.redis.exists(fleet.keys.session(run.session_id))
    assert "Traceback" not in trainers[begun.ai].said()


# -- the suite itself ------------------------------------------------------------------------------


def unfenced(message: Incoming, context: Context) -> list[Effect]:
    """``work_result`` as it would be if it did not look at the attempt."""
    result = parse_payload(WorkResult, message.envelope.payload)
    unit = context.fleet.units.get(result.unit_id)
    return collaborations.take_result(unit, result, context) if unit else []


@pytest.fixture
def without_fence(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes the fence of the attempts out of the coordinator."""

    def take_out() -> None:
        route = dispatch.ROUTES["work_result"]
        monkeypatch.setitem(dispatch.ROUTES, "work_result", route._replace(handle=unfenced))

    return take_out


@pytest.mark.parametrize("is_fenced", [True, False], ids=["fenced", "unfenced"])
def test_without_the_fence_a_late_attempt_does_change_something(
    is_fenced: bool,
    without_fence: Callable[[], None],
    fleet: RealFleet,
    trainers: dict[str, Trainer],
    gates: Gates,
) -> None:
    if not is_fenced:
        without_fence()
    run = Run(fleet, [gates.unit("g")])
    first = gates.begun("g", 1)
    os.kill(trainers[first.ai].agent, signal.SIGKILL)
    second = gates.begun("g", 2)
    gates.open("g", 1)
    run.wait_until_heard(first)
    gates.open("g", 2)
    run.wait_until_heard(second)
    run.wait_until_over()
    assert run.has_one_result_each() == is_fenced, (run.units, run.events())
