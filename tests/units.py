"""Sessions of units under test: asked for, held at gates, and judged by all that they left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coordinator.processes import start_time
from coordinator.work import Session, Unit
from tests.clients import RealFleet
from tests.servers import wait_for

BOSS = "Boss"


class Begun(NamedTuple):
    """An attempt that waits at a gate: its work-horse, and whose it is."""

    horse: int
    ai: str


class Gates:
    """Files by which units of the kind ``gate`` say that they began, and are let go on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def unit(self, name: str, **more: Any) -> dict[str, Any]:
        """A planned unit that waits, at each attempt, until ``open`` is called for it."""
        inputs = {"directory": str(self.directory)}
        return {"name": name, "kind": "gate", "inputs": inputs, **more}

    def begun(self, name: str, attempt: int) -> Begun:
        """Wait until that attempt runs."""
        mark = self.directory / f"began-{name}-{attempt}"
        wait_for(mark.exists, what=f"attempt {attempt} at {name} to begin")
        horse, ai = mark.read_text().split()
        return Begun(int(horse), ai)

    def open(self, name: str, *attempts: int) -> None:
        for attempt in attempts:
            (self.directory / f"go-{name}-{attempt}").touch()


class Run:
    """One session with a plan of its own, whose initiator runs no unit and leaves as it begins.

    ``partners`` is how many trainers are to say yes to it first.
    """

    def __init__(self, fleet: RealFleet, plan: Sequence[dict[str, Any]], partners: int = 0) -> None:
        self.fleet = fleet
        asked = {
            "type": "performance_optimization",
            "participants": 1 + partners,
            "seeking_expertise": ["general"],
            "plan": list(plan),
        }
        with fleet.client(BOSS, profile={"skills": ["none"]}) as boss:
            message_id = boss.send("collaboration_request", asked)
            while True:
                message = boss.receive(timeout_s=20)
                assert message is not None, "nobody said that the session began"
                if (
                    message.payload.get("in_reply_to") == message_id
                    and message.payload.get("status") != "pending"
                ):
                    break
        assert message.payload.get("status") == "active", message.payload
        self.session_id = str(message.payload["session_id"])

    @property
    def session(self) -> Session:
        return Session.from_json(self._field(self.fleet.keys.session(self.session_id), "session"))

    @property
    def units(self) -> dict[str, Unit]:
        keys = [self.fleet.keys.unit(unit_id) for unit_id in self.session.units]
        units = [Unit.from_json(self._field(key, "unit")) for key in keys]
        return {unit.name: unit for unit in units}

    def output(self, name: str) -> dict[str, Any]:
        key = self.fleet.keys.unit(self.units[name].id)
        found: dict[str, Any] = json.loads(self._field(key, "output"))
        return found

    def workspace(self) -> dict[str, Any]:
        stored: Any = self.fleet.redis.hgetall(self.fleet.keys.workspace(self.session_id))
        return {key.decode(): json.loads(value) for key, value in stored.items()}

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What happened to this session's units: kinds of events, and their data."""
        entries: Any = self.fleet.redis.xrange(self.fleet.keys.events)
        all_events = [(e[b"kind"].decode(), json.loads(e[b"data"])) for _, e in entries]
        return [
            (kind, data)
            for kind, data in all_events
            if data.get("session_id") == self.session_id and kind.startswith("unit_")
        ]

    def wait_until_over(self, limit_s: float = 40) -> Session:
        wait_for(lambda: not self.session.is_open, limit_s, f"session {self.session_id} to end")
        return self.session

    def wait_until_heard(self, begun: Begun) -> None:
        """Wait until that attempt has ended, and the coordinator took all that it said."""
        wait_for(lambda: start_time(begun.horse) is None, what="a work-horse to end")
        ingress = self.fleet.keys.ingress(begun.ai)
        wait_for(lambda: not self.fleet.redis.xlen(ingress), what="its messages to be taken")

    def has_one_result_each(self) -> bool:
        """Whether it completed with one result of each unit: that of the attempt that counted."""
        if self.session.state != "completed":
            return False
        units = self.units
        completed = Counter(
            data["unit_id"] for kind, data in self.events() if kind == "unit_completed"
        )
        workspace = self.workspace()
        return completed == Counter(unit.id for unit in units.values()) and all(
            unit.state == "completed"
            and [attempt.outcome for attempt in unit.attempts].count("completed") == 1
            and unit.attempts[-1].outcome == "completed"
            and self.output(name)["attempt"] == unit.attempt
            and self.output(name)["ai"] == unit.attempts[-1].ai
            and workspace[name]["value"] == {"attempt": unit.attempt}
            for name, unit in units.items()
        )

    def _field(self, key: str, name: str) -> bytes:
        found: Any = self.fleet.redis.hget(key, name)
        assert found is not None, f"{key} has no {name}"
        return bytes(found)
