"""Runs as their history tells them: lines made by hand, as the coordinator's events are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.archive.archive import Archive
from coordinator.history import Line
from coordinator.messages import to_json
from coordinator.reads import Item
from coordinator.streams import Source
from coordinator.work import Attempt, Session, Unit
from tests.fleet import BEGINNING_MS

EPOCH = "f1ee7000f1ee.1"
TIMESTAMP = "2025-06-15T15:06:40+00:00"
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


def event_line(event: str, ai: str, data: Item, n: int = 1, ms: int = BEGINNING_MS) -> Line:
    """An event of ``ai``, the ``n``th."""
    told = {"event": event, "ai": ai, "text": f"{ai} {event}", "data": data}
    return Line("event", "events", n, n, ms, EPOCH, told)


def envelope(message_id: str, ai: str, message_type: str, **fields: Any) -> Item:
    """A message of ``ai`` to all, unless it has a ``target_ai``."""
    head = {"message_id": message_id, "sender_id": ai, "message_type": message_type}
    return head | {"timestamp": TIMESTAMP, "payload": {}, "target_ai": None} | fields


def session_line(session: Session, n: int = 1, ms: int = BEGINNING_MS) -> Line:
    """That it came to its state."""
    change = {"pending": "opened"}.get(session.state, session.state)
    data = {"session_id": session.id, "session": session.told()}
    return event_line(f"session_{change}", session.initiator, data, n, ms)


def unit_line(unit: Unit, n: int = 1, ms: int = BEGINNING_MS, **more: Any) -> Line:
    """What became of its last attempt."""
    tried = unit.attempts[-1]
    head = {"session_id": unit.session_id, "unit_id": unit.id, "attempt": len(unit.attempts)}
    data = head | {"unit": unit.told()} | more
    return event_line(f"unit_{tried.outcome or 'assigned'}", tried.ai, data, n, ms)


def session_of(session_id: str, kind: str, *participants: str, **fields: Any) -> Session:
    """A session of them, which the first has asked for; ``pending`` unless ``fields`` say more."""
    first: dict[str, Any] = {
        "id": session_id,
        "type": kind,
        "initiator": participants[0],
        "description": "",
        "target": None,
        "wanted": len(participants),
        "requirements": {},
        "created_ms": BEGINNING_MS,
        "in_reply_to": "r",
        "participants": list(participants),
    }
    return Session(**first | fields)


def unit_of(session_id: str, unit_id: str, *attempts: Attempt, name: str = "u0") -> Unit:
    """A unit of a session, with its attempts."""
    return Unit(unit_id, session_id, name, "search", None, [], {}, 60, 3, attempts=[*attempts])


class History:
    """Lines in their order, a second apart unless it is told otherwise."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.ms = BEGINNING_MS
        self._n: dict[Source, int] = {"log": 0, "events": 0}
        begins = {"events_n": 0, "forgot": 0}
        self.lines.append(Line("epoch", "log", 0, 0, 0, EPOCH, begins))

    def pass_time(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)

    def event(self, event: str, ai: str, data: Item) -> None:
        self._add("events", event_line(event, ai, data))

    def say(self, ai: str, message_type: str, payload: Item, target_ai: str | None = None) -> None:
        message_id = f"m{len(self.lines)}"
        sent = envelope(message_id, ai, message_type, payload=payload, target_ai=target_ai)
        if target_ai is None:
            self._add("log", Line("message", "log", 0, 0, 0, EPOCH, sent))
        else:
            data = {"message_id": message_id, "message": to_json(sent)}
            self.event("message", target_ai, data)

    def miss(self, source: Source, count: int) -> None:
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
        wanted = dict(ended.pop("requirements", {}))
        times = {"created_ms": self.ms, "requirements": wanted}
        session = session_of(session_id, kind, *workers, **times)
        self._add("events", session_line(session))
        session.state, session.began_ms = "active", self.ms
        session.units = [f"{session_id}-{n}" for n in range(units)]
        self._add("events", session_line(session))
        for n, unit_id in enumerate(session.units):
            self._do(unit_of(session_id, unit_id, name=f"u{n}"), workers[n % len(workers)])
        session.state = ended.pop("state", "completed")
        session.ended_ms, session.progress = self.ms, 1.0
        for name, value in ended.items():
            setattr(session, name, value)
        self._add("events", session_line(session))

    def _do(self, unit: Unit, ai: str) -> None:
        unit.state, unit.attempts = "running", [Attempt(ai, self.ms)]
        self._add("events", unit_line(unit))
        self.pass_time(1)
        unit.state, unit.attempts = "completed", [Attempt(ai, self.ms - 1000, self.ms, "completed")]
        self._add("events", unit_line(unit, reason="", output={"gap_closed": 0.5}))

    def _add(self, source: Source, line: Line) -> None:
        self._n[source] += 1
        n = self._n[source]
        self.lines.append(replace(line, first=n, n=n, ms=self.ms))

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
