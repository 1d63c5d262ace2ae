"""Runs as their history tells them: lines made by hand, as the coordinator's events are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from coordinator.archive.archive import Archive
from coordinator.history import Line
from coordinator.messages import to_json
from coordinator.reads import Item
from coordinator.work import Attempt, Session, Unit
from tests.fleet import BEGINNING_MS

EPOCH = "f1ee7000f1ee.1"
POLICY = '''"""Which block a full cache gives up."""

from collections import OrderedDict


class Policy:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.blocks: OrderedDict[int, int] = OrderedDict()

    def access(self, block: int) -> bool:
        hit = block in self.blocks
        self.blocks[block] = self.blocks.pop(block, 0) + 1
        if len(self.blocks) > self.capacity:
            self.blocks.popitem(last=False)
        return hit
'''


class History:
    """Lines in their order, a second apart unless it is told otherwise."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.ms = BEGINNING_MS
        self._n = {"log": 0, "events": 0}
        begins = {"events_n": 0, "forgot": 0}
        self.lines.append(Line("epoch", "log", 0, 0, 0, EPOCH, begins))

    def pass_time(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)

    def event(self, event: str, ai: str, data: Item, text: str = "") -> None:
        told = {"event": event, "ai": ai, "text": text or f"{ai} {event}", "data": data}
        self._add("event", "events", told)

    def say(self, ai: str, message_type: str, payload: Item, target_ai: str | None = None) -> None:
        message = self._message(ai, message_type, payload, target_ai)
        if target_ai is None:
            self._add("message", "log", message)
        else:
            data = {"message_id": message["message_id"], "message": to_json(message)}
            self.event("message", target_ai, data, f"{ai} sent {message_type} to {target_ai}")

    def miss(self, source: Any, count: int) -> None:
        """The next ``count`` were cut before they were read."""
        first = self._n[source] + 1
        self._n[source] += count
        self.lines.append(Line("gap", source, first, self._n[source], self.ms, EPOCH))

    def join(self, ai: str, specialization: str, *capabilities: str) -> None:
        data = {"specialization": specialization, "capabilities": list(capabilities)}
        self.event("joined", ai, data)
        self.say(ai, "hello", data)

    def leave(self, ai: str) -> None:
        self.event("left", ai, {"reason": "the trainer was stopped"})

    def share(
        self,
        ai: str,
        name: str,
        specialization: str,
        *origins: tuple[str, str],
        record: Item | None = None,
    ) -> None:
        """``ai`` shares the record ``<kind>:<id>``, begun from those of the names and makers."""
        kind, _, record_id = name.partition(":")
        told = [
            {"name": parent, "contributors": [maker], "is_use": maker != ai}
            for parent, maker in origins
        ]
        data: Item = {"kind": kind, "id": record_id, "specialization": specialization}
        data |= {"contributors": [ai], "record": {"id": record_id} | (record or {})}
        data |= {"hash": "" if kind == "pattern" else "0" * 64}
        self.event("shared", ai, data | ({"origins": told} if told else {}))
        self.say(ai, f"{kind}_share", {"id": record_id})

    def judge(self, ai: str, name: str, problem: str, score: float | None, **more: Any) -> None:
        """The verdict on a record of ``ai``: passed if it has a score."""
        kind, _, record_id = name.partition(":")
        verdict: Item = {
            "verdict": "failed" if score is None else "passed",
            "reason": "",
            "problem": problem if score is not None else "",
            "evaluator": f"{problem}-a3029be01e86",
            "workload": "eceefd572b1c",
            "score": score,
            "costs": {"baseline": 0.741, "bound": 0.562},
            "cost_unit": "miss ratio",
            "sandbox": "bubblewrap 0.11.0, Landlock, seccomp without fork, rlimits",
            "tests": ["test_hits"],
            "validator": "Validator_1",
            "previous_score": None,
            "regression": False,
            "timestamp": "2025-06-15T15:06:40.000+00:00",
        }
        verdict |= {"limits": {}, "timings": {}, "not_run": [], "dropped": []}
        verdict |= {"kind": kind, "component_id": record_id, "hash": "0" * 64, "contributors": [ai]}
        self.event("validated", ai, verdict | more)

    def credit(self, ai: str, score: float) -> None:
        self.event("credited", ai, {"contribution_score": score})

    def work(
        self, session_id: str, kind: str, workers: list[str], units: int, **ended: Any
    ) -> None:
        """A session of ``workers``, and a unit a second, in turn; in the end as ``ended`` says."""
        session = Session(
            id=session_id,
            type=kind,
            initiator=workers[0],
            description="",
            target=None,
            wanted=len(workers),
            requirements=dict(ended.pop("requirements", {})),
            created_ms=self.ms,
            in_reply_to="r",
        )
        self._tell(session, "opened")
        session.state, session.began_ms, session.participants = "active", self.ms, workers
        session.units = [f"{session_id}-{n}" for n in range(units)]
        self._tell(session, "active")
        for n, unit_id in enumerate(session.units):
            self._do(Unit(unit_id, session_id, f"u{n}", "search", None, [], {}, 60, 3), workers, n)
        session.state = ended.pop("state", "completed")
        session.ended_ms, session.progress = self.ms, 1.0
        for name, value in ended.items():
            setattr(session, name, value)
        self._tell(session, session.state)

    def _do(self, unit: Unit, workers: list[str], n: int) -> None:
        ai = workers[n % len(workers)]
        unit.attempts = [Attempt(ai, self.ms)]
        unit.state = "running"
        told = {"session_id": unit.session_id, "unit_id": unit.id, "attempt": 1}
        self.event("unit_assigned", ai, told | {"unit": unit.told()})
        self.pass_time(1)
        unit.state, unit.attempts = "completed", [Attempt(ai, self.ms - 1000, self.ms, "completed")]
        output = {"reason": "", "output": {"gap_closed": 0.5}}
        self.event("unit_completed", ai, told | {"unit": unit.told()} | output)

    def _tell(self, session: Session, state: str) -> None:
        data = {"session_id": session.id, "session": session.told()}
        self.event(f"session_{state}", session.initiator, data)

    def _message(
        self, ai: str, message_type: str, payload: Item, target_ai: str | None
    ) -> dict[str, Any]:
        head = {"message_id": f"m{len(self.lines)}", "sender_id": ai, "message_type": message_type}
        return head | {"timestamp": "t", "payload": payload, "target_ai": target_ai}

    def _add(self, kind: Any, source: Any, data: Item) -> None:
        self._n[source] += 1
        n = self._n[source]
        self.lines.append(Line(kind, source, n, n, self.ms, EPOCH, data))

    def archived(self, path: Path) -> Archive:
        """An archive of all this at ``path``."""
        archive = Archive.open(path, create=True)
        archive.take(self.lines)
        return archive


FLEET = {
    "AI_Node_1": "file_system",
    "AI_Node_2": "process_manager",
    "AI_Node_3": "performance",
    "AI_Node_4": "networking",
    "AI_Node_5": "file_system",
    "AI_Node_6": "audio",
}
PROBLEM_OF = {
    "file_system": ("buffer_cache", "miss ratio", 0.741, 0.562),
    "process_manager": ("cpu_scheduler", "s", 0.0632, 0.0196),
    "performance": ("memory_allocator", "B", 190_000.0, 120_000.0),
    "networking": ("congestion_control", "s", 1.9, 0.4),
    "audio": ("playout_delay", "s", 0.31, 0.11),
}


def a_rich_run(rounds: int = 8) -> History:
    """All that a report tells of, of six AIs in ``rounds`` of a few seconds."""
    history = History()
    history.join("Validator_1", "validation")
    for ai, specialization in FLEET.items():
        history.join(ai, specialization, "search", "share")
        history.pass_time(0.7)
    latest: dict[str, tuple[str, str]] = {}
    for n in range(1, rounds + 1):
        for place, (ai, specialization) in enumerate(FLEET.items()):
            history.pass_time(0.9)
            _learn(history, ai, specialization, n, place, latest)
        _meet(history, n)
    history.event("refused", "AI_Node_4", {"code": "too_large", "detail": "it has 300000 bytes"})
    history.say("AI_Node_3", "direct", {"text": "thanks"}, "AI_Node_1")
    for ai in ("AI_Node_4", "AI_Node_6"):
        history.leave(ai)
    return history


def _learn(
    history: History,
    ai: str,
    specialization: str,
    n: int,
    place: int,
    latest: dict[str, tuple[str, str]],
) -> None:
    """It shares a pattern, begun from another's if there is one, and a component made of it."""
    problem, unit, baseline, bound = PROBLEM_OF[specialization]
    pattern, component = f"pattern:{problem}.{ai}.{n}", f"component:{problem}.{ai}.{n}.policy"
    others = [known for known in (latest.get(specialization),) if known and known[1] != ai]
    history.share(ai, pattern, specialization, *others, record={"data": {"problem": problem}})
    latest[specialization] = (pattern, ai)
    code = {"language": "python", "implementation": POLICY}
    history.share(ai, component, specialization, (pattern, ai), record=code)
    history.pass_time(0.4)
    score = 0.85 * (1 - math.exp(-n / (2 + place))) - 0.12 + 0.05 * math.sin(7 * n + place)
    costs = {"baseline": baseline, "bound": bound}
    if (n + place) % 7 == 6:
        why = f"test_hits failed: expected {n} hits, got {n - 1}"
        history.judge(ai, component, problem, None, reason=why)
    else:
        score = round(score, 3)
        history.judge(ai, component, problem, score, costs=costs, cost_unit=unit)
        history.credit(ai, round(max(0.0, score) + 0.1 * place, 3))
    history.say(
        ai,
        "performance_report",
        {"component_id": component, "performance": {"s": 1.5}},
        "AI_Node_1",
    )


def _meet(history: History, n: int) -> None:
    kinds = ("cross_specialization", "performance_optimization", "feature_request")
    kind, ais = kinds[n % 3], list(FLEET)
    workers = [ais[n % 6], ais[(n + 1) % 6]]
    if n % 5 == 4:
        why = f"u1 failed {n} times: the search found nothing better"
        history.work(f"s{n:011d}", kind, workers, 2, state="failed", reason=why)
        return
    text = f"a cache that saves {n} % of the waiting of processes, at the cost of {n - 1} KiB"
    wanted = {"feature": "adaptive_readahead"} if kind == "feature_request" else {}
    history.work(f"s{n:011d}", kind, workers, 3 + n, result={"text": text}, requirements=wanted)
