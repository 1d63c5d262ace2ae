"""A fleet that works, and is harmed, for as long as wanted; what must hold is looked at all along.

    python -m bench.soak [--minutes 10] [--seed N] [--trainers 12]

Trainers of two specializations train, seek company and ask for features; a client and the operator
ask for more. Meanwhile trainers, work-horses and coordinators are killed and started again, and
trainers stopped for longer than their lease. Prints Markdown; exit code 1 when something does not
hold. The seed decides what is asked and harmed, and when, but not what the fleet makes of it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bench.machine import describe_machine, throwaway_server
from bench.trainers import KEYS, BenchFleet
from coordinator import Client, CoordError
from coordinator.clock import RandomIds, SystemClock
from coordinator.jobs import JOB_KEPT_S
from coordinator.lease import holder_name
from coordinator.operator import send_as_operator
from coordinator.settings import Settings
from coordinator.specializations import FEATURES
from coordinator.work import FEATURE_REQUEST, Session, Unit
from workers.agent import LISTENING_SPELLS, SILENCE_S

SPECIALIZATIONS = ("file_system", "process_manager")
SETTINGS = Settings(
    lease_s=6, leader_lease_s=2, session_keep_s=20, collaboration_wait_s=5, feature_wait_s=60
)
SLACK_S = 2.0
"""So long after the end of its owner's lease, a unit must have another."""
LOOK_EVERY_S = 0.1
SAMPLE_EVERY_S = 10.0
ASK_EVERY_S = (0.5, 3.0)
HARM_EVERY_S = (2.0, 8.0)
AWAY_S = (0.0, 2 * SETTINGS.lease_s)
STOPPED_S = (SETTINGS.lease_s + 2, SETTINGS.lease_s + 12)
SILENT_S = max(SETTINGS.lease_s, SILENCE_S) * (1 + 1 / LISTENING_SPELLS) + 1
"""After so long the agent of a worker that is stopped gives up what it has."""
COORDINATORS = 2
COORDINATOR_AWAY_S = 3.0
END_LIMIT_S = 60.0
LATE_S = 30.0
MOST_GROWTH = 1.25
"""Of a mean over the last quarter of a run to that over the quarter before."""

END_STATES = frozenset({"completed", "failed", "cancelled", "declined", "expired"})
OUTCOMES = ("completed", "failed", "lost", "cancelled")
TYPES = ("performance_optimization", "feature_development", "cross_specialization")
OF_ENDED_SESSIONS = ("coord:session", "coord:unit", "coord:workspace")
KNOWLEDGE = re.compile(r"coord:(patterns?|components?|features?|benchmarks)\b")
LASTING = re.compile(
    r"coord:(fleet|totals|doors|log|events|dead|leases|sessions|standby|leader"
    r"|member|inbox|ingress|capability|specialization)\b"
    r"|rq:(queues|workers|queue|finished|failed|canceled|wip)\b"
)
"""Keys that need not expire: one a fleet, an AI or a queue."""


class Outage(NamedTuple):
    """The active coordinator was killed, and another took over (inf: not yet)."""

    killed_s: float
    taken_over_s: float


class Gone(NamedTuple):
    """An AI was harmed; all that it had, and was given since, must have been taken by then."""

    since_s: float
    overdue_s: float


@dataclass
class Owned:
    """An attempt that lasts."""

    ai: str
    began_s: float
    is_told: bool = False


@dataclass
class Story:
    """What the events tell, and what of it must not be."""

    faults: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    types: dict[str, str] = field(default_factory=dict)
    ended_s: dict[str, float] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    assigned_s: list[float] = field(default_factory=list)
    results: Counter[str] = field(default_factory=Counter)
    owned: dict[str, Owned] = field(default_factory=dict)
    gone: dict[str, Gone] = field(default_factory=dict)
    unowned_since_s: dict[str, float] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    longest_unowned_s: float = 0.0

    @property
    def open(self) -> list[str]:
        return [session_id for session_id in self.types if session_id not in self.ended_s]

    def take(self, kind: str, ai: str, data: dict[str, Any], at_s: float) -> None:
        """One event, in the order in which they were committed."""
        self.kinds[kind] += 1
        session_id, unit_id = str(data.get("session_id")), str(data.get("unit_id"))
        match kind:
            case "session_opened":
                self.types[session_id] = data["type"]
            case "unit_assigned":
                self._note_unowned(self.unowned_since_s.pop(unit_id, at_s), at_s)
                self.assigned_s.append(at_s)
                self.owned[unit_id] = Owned(ai, at_s)
            case "unit_completed" | "unit_failed" | "unit_lost" | "unit_cancelled":
                self._give_up(unit_id, at_s)
                if kind == "unit_completed":
                    self.results[unit_id] += 1
                elif kind != "unit_cancelled" and self.types[session_id] != FEATURE_REQUEST:
                    self.unowned_since_s[unit_id] = at_s
            case "joined" if ai in self.gone and at_s > self.gone[ai].since_s:
                del self.gone[ai]
            case "refused":
                self.refusals[str(data.get("code"))] += 1
        state = kind.removeprefix("session_")
        if state in END_STATES and state != kind:
            if session_id in self.ended_s:
                self.faults.append(f"session {session_id} ended twice, then {state}")
            self.ended_s[session_id] = at_s
            self.ends[state] += 1
            for unit_id in [one for one in self.unowned_since_s if one.startswith(session_id)]:
                del self.unowned_since_s[unit_id]

    def look(self, now_s: float) -> None:
        """What should have happened by now and did not."""
        for unit_id, owned in self.owned.items():
            if now_s > self._overdue_s(owned.ai) + LOOK_EVERY_S * 5 and not owned.is_told:
                owned.is_told = True
                self.faults.append(
                    f"unit {unit_id} stayed with {owned.ai}, which is gone, for longer than its "
                    f"lease + {SLACK_S:g} s (assigned {now_s - owned.began_s:.1f} s ago)"
                )
        for since_s in self.unowned_since_s.values():
            self._note_unowned(since_s, now_s)

    def _note_unowned(self, since_s: float, until_s: float) -> None:
        self.longest_unowned_s = max(self.longest_unowned_s, until_s - since_s)

    def _give_up(self, unit_id: str, at_s: float) -> None:
        owned = self.owned.pop(unit_id, None)
        if owned is not None and owned.ai in self.gone:
            self.late_s.append(at_s - self._overdue_s(owned.ai) + SLACK_S)

    def _overdue_s(self, ai: str) -> float:
        """After a takeover nobody expires for a full lease, counted from it."""
        overdue_s = self.gone[ai].overdue_s if ai in self.gone else math.inf
        for killed_s, taken_over_s in self.outages:
            if killed_s <= overdue_s:
                overdue_s = max(overdue_s, taken_over_s + SETTINGS.lease_s + SLACK_S)
        return overdue_s


@dataclass
class Trainer:
    ai: str
    specialization: str
    process: subprocess.Popen[bytes] | None = None
    is_stopped: bool = False


class Soak:
    """The fleet, what is done to it, and what is seen of it."""

    def __init__(self, fleet: BenchFleet, trainers: int, chance: random.Random) -> None:
        self.fleet = fleet
        self.redis = fleet.redis
        self.chance = chance
        self.story = Story()
        self.harms: Counter[str] = Counter()
        self.samples: list[dict[str, float]] = []
        self._last_event = "0-0"
        self._due: list[tuple[float, Any]] = []
        self._coordinators = [fleet.start_coordinator() for _ in range(COORDINATORS)]
        self._leader = b""
        self._killed_s = 0.0
        self._looked_s = time.time()
        self.longest_pause_s = 0.0
        self.trainers = [
            Trainer(f"AI_{n}", SPECIALIZATIONS[n % len(SPECIALIZATIONS)]) for n in range(trainers)
        ]
        for trainer in self.trainers:
            self._start(trainer)
        self._client = Client("Asker", fleet.url, settings=fleet.settings)
        self._client.connect()

    def run(self, seconds: float) -> None:
        """Ask and harm all the time, and look at what comes of it."""
        now_s = time.time()
        ends_s = now_s + seconds
        ask_s, harm_s, sample_s = now_s, now_s + HARM_EVERY_S[1], now_s
        while (now_s := time.time()) < ends_s:
            self.look()
            for due in [due for due in self._due if due[0] <= now_s]:
                self._due.remove(due)
                due[1]()
            if now_s >= ask_s:
                self._ask()
                ask_s = now_s + self.chance.uniform(*ASK_EVERY_S)
            if now_s >= harm_s:
                self._harm()
                harm_s = now_s + self.chance.uniform(*HARM_EVERY_S)
            if now_s >= sample_s:
                self.samples.append(self._sample())
                sample_s += SAMPLE_EVERY_S
            time.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Read what happened, and judge it."""
        looked_s, self._looked_s = self._looked_s, time.time()
        self.longest_pause_s = max(self.longest_pause_s, self._looked_s - looked_s)
        leader: Any = self.redis.get(KEYS.leader) or b""
        if leader and self._leader and leader != self._leader and self._killed_s:
            self.story.outages[-1] = Outage(self._killed_s, time.time())
            self._killed_s = 0.0
        self._leader = leader or self._leader
        entries: Any = self.redis.xrange(KEYS.events, f"({self._last_event}", "+")
        for entry_id, fields in entries:
            number, expected = int(entry_id.split(b"-")[0]), int(self._last_event.split("-")[0]) + 1
            if number != expected:
                self.story.faults.append(f"events {expected}..{number - 1} were not there to read")
            self._last_event = entry_id.decode()
            kind, data = fields[b"kind"].decode(), json.loads(fields[b"data"])
            self.story.take(kind, fields[b"ai"].decode(), data, int(fields[b"ms"]) / 1000)
            if kind.removeprefix("session_") in END_STATES - {kind}:
                self._check_session(data["session_id"], kind.removeprefix("session_"))
        self.story.look(time.time())
        with suppress(CoordError):
            while self._client.receive(0.0):
                pass

    # -- what is asked ---------------------------------------------------------------------------

    def _ask(self) -> None:
        chance = self.chance
        specialization = chance.choice(SPECIALIZATIONS)
        request: dict[str, Any] = {
            "type": chance.choice(TYPES),
            "participants": chance.randint(2, 4),
            "seeking_expertise": list(SPECIALIZATIONS),
            "requirements": {"specialization": specialization, "rounds": 3, "evaluations": 12},
        }
        message_type = "collaboration_request"
        match chance.randrange(4):
            case 0:
                message_type, request = "feature_request", {"feature": chance.choice([*FEATURES])}
            case 1 | 2:
                request["plan"] = self._plan()
        if chance.random() < 0.5:
            with suppress(CoordError):
                self._client.send(message_type, request)
        else:
            self._order(message_type, request)

    def _plan(self) -> list[dict[str, Any]]:
        """Some that do nothing, and some that take a while, of which half wait for another."""
        units: list[dict[str, Any]] = []
        for n in range(self.chance.randint(5, 40)):
            is_long = self.chance.random() < 0.2
            inputs = {"seconds": self.chance.uniform(0.1, 5)} if is_long else {}
            needs = [f"n{self.chance.randrange(n)}"] if n and self.chance.random() < 0.5 else []
            kind = "hold" if is_long else "nothing"
            units.append({"name": f"n{n}", "kind": kind, "inputs": inputs, "needs": needs})
        return units

    def _order(self, message_type: str, payload: dict[str, Any]) -> None:
        """It waits for no answer: with nobody active it is taken later."""
        with suppress(CoordError):
            send_as_operator(
                self.redis, KEYS, SystemClock(), RandomIds(), message_type, payload, timeout_s=0
            )

    # -- what is harmed --------------------------------------------------------------------------

    def _harm(self) -> None:
        harms = [self._kill_trainer] * 4 + [self._stop_all, self._stop_worker] * 2
        harms += [self._kill_horse] * 2 + [self._kill_coordinator] * 2
        harm = self.chance.choice(harms)
        self.harms[harm.__name__.removeprefix("_").replace("_", " ")] += harm()

    def _chosen(self) -> Trainer | None:
        alive = [one for one in self.trainers if one.process and not one.is_stopped]
        return self.chance.choice(alive) if len(alive) > len(self.trainers) // 2 else None

    def _kill_trainer(self) -> bool:
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        trainer.process.kill()
        trainer.process.wait()
        trainer.process = None
        self._gone(trainer, self._lease_end_s(trainer.ai))

        self._later(AWAY_S, lambda: self._start(trainer))
        return True

    def _kill_horse(self) -> bool:
        horses = [pid for one in self.trainers if one.process for pid in _horses(one.process.pid)]
        if horses:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(horses), signal.SIGKILL)
        return bool(horses)

    def _stop_all(self) -> bool:
        """The worker and all that it started."""
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        pids = [trainer.process.pid, *_descendants(trainer.process.pid)]
        self._stop(trainer, pids)
        self._gone(trainer, self._lease_end_s(trainer.ai))
        self._later(STOPPED_S, lambda: self._continue(trainer, pids))
        return True

    def _stop_worker(self) -> bool:
        """The worker alone: its agent heartbeats until it has missed it for long."""
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        pids = [trainer.process.pid]
        self._stop(trainer, pids)
        self._gone(trainer, time.time() + SILENT_S)
        self._later(STOPPED_S, lambda: self._continue(trainer, pids))
        return True

    def _kill_coordinator(self) -> bool:
        if self._killed_s or len(self._coordinators) < COORDINATORS:
            return False
        process = self.chance.choice(self._coordinators)
        active = holder_name(self._leader)
        self._coordinators.remove(process)
        process.kill()
        process.wait()
        if active.split(".")[-2:-1] == [str(process.pid)]:
            self._killed_s = time.time()
            self.story.outages.append(Outage(self._killed_s, math.inf))

        def start() -> None:
            self._coordinators.append(self.fleet.start_coordinator())

        self._later((COORDINATOR_AWAY_S, 2 * COORDINATOR_AWAY_S), start)
        return True

    def _lease_end_s(self, ai: str) -> float:
        """A heartbeat that is on its way may still renew it."""
        is_on_its_way = self.redis.xlen(KEYS.ingress(ai)) > 0
        ends_ms = self.redis.zscore(KEYS.leases, ai)
        if ends_ms is None or is_on_its_way:
            return time.time() + SETTINGS.lease_s
        return ends_ms / 1000

    def _gone(self, trainer: Trainer, lease_ends_s: float) -> None:
        self.story.gone[trainer.ai] = Gone(time.time(), lease_ends_s + SLACK_S)

    def _start(self, trainer: Trainer) -> None:
        ai, specialization = trainer.ai, trainer.specialization
        trainer.process = self.fleet.start_trainer(ai, specialization, wait=False)

    def _stop(self, trainer: Trainer, pids: Iterable[int]) -> None:
        trainer.is_stopped = True
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def _continue(self, trainer: Trainer, pids: Iterable[int]) -> None:
        """What it still has then it may go on with."""
        trainer.is_stopped = False
        self.look()
        self.story.gone.pop(trainer.ai, None)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _later(self, within_s: tuple[float, float], action: Any) -> None:
        self._due.append((time.time() + self.chance.uniform(*within_s), action))

    # -- what is looked at -----------------------------------------------------------------------

    def _check_session(self, session_id: str, state: str) -> None:
        """Its records, as it ended: named states, and one result of each unit that is done."""
        fault = self.story.faults.append
        stored: Any = self.redis.hget(KEYS.session(session_id), "session")
        if stored is None:
            ago_s = time.time() - self.story.ended_s[session_id]
            fault(f"session {session_id} ended {state} {ago_s:.1f} s ago and is not kept")
            return
        session = Session.from_json(stored)
        if session.state != state:
            fault(f"session {session_id} ended {state}, and its record says {session.state}")
        with self.redis.pipeline(transaction=False) as pipe:
            for unit_id in session.units:
                pipe.hmget(KEYS.unit(unit_id), "unit", "output")
            found = pipe.execute()
        for unit_id, (record, output) in zip(session.units, found, strict=True):
            unit = Unit.from_json(record) if record else None
            if unit is None or unit.state not in END_STATES:
                fault(f"unit {unit_id} is {unit and unit.state} after its session {state}")
                continue
            outcomes = [attempt.outcome for attempt in unit.attempts]
            wanted = int(unit.state == "completed")
            counts = (
                outcomes.count("completed"),
                self.story.results[unit_id],
                int(output is not None),
            )
            if counts != (wanted, wanted, wanted):
                fault(f"unit {unit_id} is {unit.state} with {counts} attempts, events, outputs")
            if wanted and outcomes[-1] != "completed":
                fault(f"unit {unit_id} went on after it was completed: {outcomes}")
            if state == "completed" and not session.is_feature and not wanted:
                fault(f"session {session_id} completed, and its unit {unit_id} is {unit.state}")

    def _sample(self) -> dict[str, float]:
        """Memory (MiB) and numbers of keys; those of ended sessions and jobs have to go in time."""
        now_s, story = time.time(), self.story
        groups = Counter(map(prefix, self.redis.scan_iter(count=1000)))
        knowledge = sum(count for name, count in groups.items() if KNOWLEDGE.match(name))
        ended = sum(now_s - at_s < SETTINGS.session_keep_s + 5 for at_s in story.ended_s.values())
        attempts = sum(now_s - at_s < JOB_KEPT_S + LATE_S for at_s in story.assigned_s)
        lasting = sum(name_s < now_s - JOB_KEPT_S - LATE_S for name_s in story.assigned_s)
        bounds = {
            "coord:session": len(story.open) + ended,
            "rq:job": attempts + min(lasting, len(story.owned)),
        }
        for name, most in bounds.items():
            if groups[name] > most + 5:
                story.faults.append(f"{groups[name]} keys {name}:*, of which {most} are to be kept")
        return {
            "server memory, MiB": self.redis.info("memory")["used_memory"] / 2**20,
            "coordinators' memory, MiB": sum(_rss_mib(one.pid) for one in self._coordinators),
            "keys": sum(groups.values()),
            "keys that are knowledge": knowledge,
            "sessions open": len(story.open),
        }

    # -- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        """End all that is open, and wait until what ended sessions leave has gone."""
        for _, action in self._due:
            action()
        alive = [one.process for one in self.trainers if one.process]
        for process in alive:
            process.terminate()
        ends_s = time.time() + END_LIMIT_S
        self._client.close("the soak is over")
        while time.time() < ends_s and (self.story.open or any(p.poll() is None for p in alive)):
            self.look()
            if all(process.poll() is not None for process in alive):
                for session_id in self.story.open:
                    self._order("cancel", {"session_id": session_id})
                time.sleep(1)
            time.sleep(LOOK_EVERY_S)
        self.look()
        for process in [process for process in alive if process.poll() is None]:
            self.story.faults.append(f"trainer process {process.pid} did not end when told to")
        for session_id in self.story.open:
            self.story.faults.append(f"session {session_id} could not be ended")
        time.sleep(SETTINGS.session_keep_s + 5)
        self.look()

    def check_keys(self) -> dict[str, list[int]]:
        """Keys by prefix: how many, how many of them never expire, how many members they have."""
        now_s, found = time.time(), dict[str, list[int]]()
        for key in self.redis.scan_iter(count=1000):
            name, ttl_ms, size = prefix(key), self.redis.pttl(key), self._size(key)
            row = found.setdefault(name, [0, 0, 0])
            row[0], row[1], row[2] = row[0] + 1, row[1] + (ttl_ms == -1), row[2] + size
            shown = key.decode(errors="replace")
            if name in OF_ENDED_SESSIONS:
                self.story.faults.append(f"{shown} outlives its session, which has ended")
            elif ttl_ms == -1 and not LASTING.match(name) and not KNOWLEDGE.match(name):
                self.story.faults.append(f"{shown} never expires")
            if name in ("rq:finished", "rq:failed", "rq:wip", "rq:canceled"):
                old = self.redis.zcount(key, 1, now_s - END_LIMIT_S - LATE_S)
                if old:
                    self.story.faults.append(f"{shown} has {old} members that should have gone")
        if self.redis.zcard(KEYS.sessions):
            self.story.faults.append(f"{KEYS.sessions} still lists ended sessions")
        return found

    def _size(self, key: bytes) -> int:
        sizes = {b"zset": "zcard", b"set": "scard", b"list": "llen", b"stream": "xlen"}
        kind: Any = self.redis.type(key)
        return int(getattr(self.redis, sizes[kind])(key)) if kind in sizes else 1

    def check_the_rest(self) -> None:
        """Results, time without an owner, growth, dead letters, and what was logged."""
        story = self.story
        for unit_id, count in story.results.items():
            if count != 1:
                story.faults.append(f"unit {unit_id} was completed {count} times")
        if story.longest_unowned_s > SLACK_S:
            story.faults.append(f"a unit had no owner for {story.longest_unowned_s:.1f} s")
        if letters := self.redis.xlen(KEYS.dead):
            story.faults.append(f"{letters} messages broke a handler: see {KEYS.dead}")
        for log in sorted(self.fleet.directory.glob("log-*")):
            text = log.read_text(errors="replace")
            for word in ("Traceback", "critical:", "gave up session"):
                if word in text:
                    story.faults.append(f"{log} has {word!r} {text.count(word)} times")
        quarter = len(self.samples) // 4
        if quarter * SAMPLE_EVERY_S * 2 >= JOB_KEPT_S:
            for name in ("server memory, MiB", "coordinators' memory, MiB", "keys"):
                before, last = (
                    fmean(sample[name] for sample in self.samples[-n * quarter :][:quarter])
                    for n in (2, 1)
                )
                if last > before * MOST_GROWTH:
                    story.faults.append(f"{name} grows: {before:.1f}, then {last:.1f}")


def prefix(key: bytes) -> str:
    """The first two parts of its name: a key's kind."""
    return ":".join(key.decode(errors="replace").split(":")[:2])


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _horses(worker: int) -> list[int]:
    """What the worker forked: it has its own command line."""
    with suppress(OSError):
        own = Path(f"/proc/{worker}/cmdline").read_bytes()
        return [c for c in _children(worker) if Path(f"/proc/{c}/cmdline").read_bytes() == own]
    return []


def _rss_mib(pid: int) -> float:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"VmRSS:\s+(\d+) kB", status):
            return int(found[1]) / 1024
    return 0.0


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def print_summary(soak: Soak, keys: dict[str, list[int]]) -> None:
    story = soak.story
    attempts = {name: story.kinds[f"unit_{name}"] for name in OUTCOMES}
    rows: dict[str, object] = {
        "sessions opened": len(story.types),
        "sessions ended": counted(story.ends),
        "attempts begun": len(story.assigned_s),
        "attempts ended": counted(attempts),
        "harm done": counted(soak.harms),
        "takeovers": len(story.outages),
        "attempts whose owner was gone": len(story.late_s),
        "... ended after the lease, worst, s": f"{max(story.late_s, default=0):.2f}",
        "longest a unit was nobody's, s": f"{story.longest_unowned_s:.2f}",
        "messages refused": counted(story.refusals),
        "longest between two looks, s": f"{soak.longest_pause_s:.1f}",
    }
    print("| | value |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print("\n| sampled | first | middle | last | most |\n|---|---|---|---|---|")
    for name in soak.samples[0]:
        values = [sample[name] for sample in soak.samples]
        shown = values[0], values[len(values) // 2], values[-1], max(values)
        print(f"| {name} | {' | '.join(f'{value:,.0f}' for value in shown)} |")
    print("\n| keys at the end | how many | never expire | members |\n|---|---|---|---|")
    for name, counts in sorted(keys.items()):
        print(f"| {name} | {' | '.join(map(str, counts))} |")
    print()
    for fault in story.faults:
        print(f"- FAULT: {fault}")
    print(f"{len(story.faults)} faults." if story.faults else "All that must hold held.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--trainers", type=int, default=12)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="coord-soak-"))
    with throwaway_server() as url:
        fleet = BenchFleet(url, directory, SETTINGS)
        try:
            print(
                f"{arguments.trainers} trainers for {arguments.minutes:g} min, seed "
                f"{arguments.seed}. Machine: {describe_machine(fleet.redis)}.\n",
                flush=True,
            )
            soak = Soak(fleet, arguments.trainers, random.Random(arguments.seed))
            soak.run(arguments.minutes * 60)
            soak.end()
            keys = soak.check_keys()
            soak.check_the_rest()
            print_summary(soak, keys)
        finally:
            fleet.close()
    if soak.story.faults:
        raise SystemExit(f"what the processes said is in {directory}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
