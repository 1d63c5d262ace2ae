"""A random walk over all that can happen to sessions and units: what must hold, at each step."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from redis import Redis

from coordinator.fleet import Fleet
from coordinator.state import read_fleet
from coordinator.work import ASSIGNED_STATES, OPEN_STATES
from tests.fleet import FleetUnderTest
from tests.servers import KINDS as SERVER_KINDS

AIS = ("a", "b", "c", "d", "e")
SPECIALIZATIONS = ("file_system", "networking", "security")
KINDS = ("k", "l", "propose_design", "implement_design", "measure_component", "develop_feature")
TYPES = ("feature_development", "cross_specialization", "performance_optimization")
FEATURES = ("file_cache", "network_stack", "security_module")
ENDED = ("completed", "failed", "cancelled", "declined", "expired")
STEPS = 150


class Walk:
    def __init__(self, connection: Redis, seed: int) -> None:
        self.chance = random.Random(seed)
        self.fleet = FleetUnderTest(
            connection,
            lease_s=3600,
            session_keep_s=30,
            unit_wait_s=20,
            unit_tries=2,
            feature_wait_s=60,
            feature_assignees=2,
            session_max_s=90,
        )
        self.weights = {
            self.join: 8,
            self.leave: 2,
            self.kick: 1,
            self.drain: 1,
            self.take_over: 4,
            self.ask: 8,
            self.answer: 20,
            self.request: 4,
            self.decline: 2,
            self.stale: 3,
            self.result: 30,
            self.share: 1,
            self.workspace: 4,
            self.cancel: 1,
            self.retry: 3,
            self.time: 5,
        }
        self.fleet.join(*AIS, skills=[*KINDS], specialization="file_system")

    @property
    def memory(self) -> Fleet:
        return self.fleet.coordinator._fleet

    def step(self) -> str:
        (act,) = self.chance.choices([*self.weights], [*self.weights.values()])
        act()
        self.fleet.run()
        return str(act.__name__)

    def somebody(self) -> str:
        """Mostly one who is there."""
        live = self.memory.ais if self.chance.random() < 0.9 else AIS
        return self.chance.choice([*live] or [*AIS])

    def a_session(self, *states: str, is_feature: bool | None = None) -> str:
        """Mostly one that is open, in one of ``states``, of that kind."""
        fitting = [
            session.id
            for session in self.memory.sessions.values()
            if session.state in (states or OPEN_STATES) and is_feature in (None, session.is_feature)
        ]
        return self.chance.choice(fitting if fitting and self.chance.random() < 0.9 else ["none"])

    def join(self) -> None:
        skills = self.chance.sample(KINDS, self.chance.randint(2, len(KINDS)))
        specialization = self.chance.choice(SPECIALIZATIONS)
        profile = {"skills": skills, "specialization": specialization}
        self.fleet.say(self.chance.choice(AIS), "hello", profile)

    def leave(self) -> None:
        self.fleet.say(self.somebody(), "goodbye")

    def kick(self) -> None:
        self.fleet.say("operator", "kick", {"ai": self.somebody()})

    def drain(self) -> None:
        self.fleet.say("operator", "drain", {"ai": self.somebody()})

    def ask(self) -> None:
        payload: dict[str, Any] = {"type": self.chance.choice(TYPES)}
        payload["participants"] = self.chance.randint(1, 4)
        if self.chance.random() < 0.7:
            a = {"name": "a", "kind": "k", "participant": 0}
            b = {"name": "b", "kind": "l", "needs": ["a"], "tries": 1}
            c = {"name": "c", "kind": "k", "needs": ["a", "b"], "participant": 1}
            payload["plan"] = [a, b, c]
        if self.chance.random() < 0.2:
            payload["target_ai"] = self.somebody()
        sender = self.chance.choice([*AIS, "operator"])
        self.fleet.say(sender, "collaboration_request", payload)

    def answer(self) -> None:
        session_id = self.a_session("pending", is_feature=False)
        payload = {"session_id": session_id, "accept": self.chance.random() < 0.8}
        self.fleet.say(self.somebody(), "collaboration_response", payload)

    def request(self) -> None:
        feature = {"feature": self.chance.choice(FEATURES)}
        self.fleet.say(self.somebody(), "feature_request", feature)

    def decline(self) -> None:
        request_id = self.a_session(is_feature=True)
        asked = self.memory.sessions.get(request_id)
        assignees = asked.participants if asked else []
        sender = self.chance.choice(assignees or AIS)
        payload = {"request_id": request_id, "accept": False}
        self.fleet.say(sender, "feature_response", payload)

    def result(self) -> None:
        held = [unit for unit in self.memory.units.values() if unit.assignee]
        if held:
            unit = self.chance.choice(held)
            outcome = self.chance.choice(("running", *["completed"] * 4, "failed"))
            component = {"component": {"name": "n"}} if self.chance.random() < 0.5 else {}
            workspace = {"k": "v"} if self.chance.random() < 0.5 else {}
            self.fleet.report(unit.id, outcome, output=component, workspace=workspace)

    def stale(self) -> None:
        if self.memory.units:
            unit = self.chance.choice(list(self.memory.units.values()))
            payload: dict[str, Any] = {
                "session_id": unit.session_id,
                "unit_id": unit.id,
                "outcome": "completed",
            }
            payload["attempt"] = self.chance.randint(1, 3)
            self.fleet.say(self.somebody(), "work_result", payload)

    def share(self) -> None:
        payload: dict[str, Any] = {"component": {"name": self.chance.choice(FEATURES)}}
        payload |= {"session_id": self.a_session(), "collaboration_complete": True}
        self.fleet.say(self.somebody(), "os_component_share", payload)

    def workspace(self) -> None:
        session = self.memory.sessions.get(self.a_session())
        sender = self.chance.choice((session.participants if session else []) or AIS)
        payload = {"session_id": session.id if session else "none", "key": "k", "value": 1}
        self.fleet.say(sender, "workspace_update", payload)

    def cancel(self) -> None:
        self.fleet.say("operator", "cancel", {"session_id": self.a_session()})

    def retry(self) -> None:
        events = [event for event in self.fleet.events() if event["kind"] == "unit_failed"]
        unit_id = self.chance.choice(events)["data"]["unit_id"] if events else "none-1"
        self.fleet.say("operator", "retry", {"unit_id": unit_id})

    def time(self) -> None:
        self.fleet.clock.advance(self.chance.choice((1.5, 5, 15)))

    def take_over(self) -> None:
        self.fleet.replace_coordinator("another")

    def assert_sound(self) -> None:
        memory, fleet = self.memory, self.fleet
        fresh = read_fleet(fleet.redis, fleet.keys, fleet.settings, fleet.clock, lambda: None)
        assert told(memory) == told(fresh)
        assert memory.assigned == Counter(u.assignee for u in memory.units.values() if u.assignee)
        jobs = Counter[str]()
        for ai in AIS:
            jobs.update(fleet.queue(ai))
        for unit in memory.units.values():
            if unit.state in ASSIGNED_STATES:
                assert unit.assignee in memory.ais
                assert jobs.pop(fleet.job(unit.id)) == 1
                assert fleet.job(unit.id) in fleet.queue(unit.assignee or "")
            elif unit.state == "waiting":
                done = all(memory.units[need].state == "completed" for need in unit.needs)
                assert done is (unit.unowned_since_s is not None)
        assert not jobs, "a job without a unit"
        self.assert_ended_ones_are_over()

    def assert_ended_ones_are_over(self) -> None:
        state = self.fleet.state()
        open_ones = self.memory.sessions.keys()
        for name, (value, kept) in state.items():
            _, kind, session_id = (*name.split(":"), "", "")[:3]
            if kind not in ("session", "unit", "workspace"):
                continue
            owner = session_id.rpartition("-")[0] or session_id
            assert (kept == "stays") is (owner in open_ones), name
            if kept == "expires" and kind == "session":
                assert json.loads(value["session"])["state"] in ENDED
            if kept == "expires" and kind == "unit":
                assert json.loads(value["unit"])["state"] not in ASSIGNED_STATES, value


def told(memory: Fleet) -> dict[str, Any]:
    """What of a fleet a takeover must read again, but for what a clock tells."""
    return {
        "sessions": {session.id: session.to_json() for session in memory.sessions.values()},
        "units": {unit.id: unit.to_json() for unit in memory.units.values()},
        "unowned": {u.id for u in memory.units.values() if u.unowned_since_s is not None},
        "assigned": memory.assigned,
        "members": {
            ai: (member.units_completed, member.units_failed, member.is_draining)
            for ai in memory.ais
            for member in [memory.members[ai]]
        },
    }


@pytest.mark.parametrize(
    ("server_kind", "seed"),
    [(kind, seed) for seed, kind in enumerate(SERVER_KINDS)],
    indirect=["server_kind"],
)
def test_what_must_hold_holds_at_each_step(redis: Redis, seed: int) -> None:
    walk = Walk(redis, seed)
    for _ in range(STEPS):
        done = walk.step()
        try:
            walk.assert_sound()
        except AssertionError as error:
            error.add_note(f"after {done}, seed {seed}")
            raise
    assert redis.xlen("coord:dead") == 0
