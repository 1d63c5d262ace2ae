"""What the server keeps in a soak run, and what of it must not be."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import redis

from bench.soak_story import SETTINGS, Story
from bench.trainers import KEYS
from coordinator.jobs import JOB_KEPT_S
from coordinator.work import END_STATES, Session, Unit

END_LIMIT_S = 60.0
LATE_S = 30.0
OF_ENDED_SESSIONS = ("coord:session", "coord:unit", "coord:workspace")
KNOWLEDGE = re.compile(r"coord:(patterns?|components?|features?|benchmarks)\b")
LASTING = re.compile(
    r"coord:(fleet|totals|doors|gateways|log|events|dead|leases|sessions|standby|leader"
    r"|member|enrolled|credentials|inbox|ingress|capability|specialization)\b"
    r"|rq:(queues|workers|queue|finished|failed|canceled|wip)\b"
)
"""Keys that need not expire: one a fleet, an AI or a queue."""


class Records:
    """Keys and records on the server; what is wrong with them becomes a fault of the story."""

    def __init__(self, connection: redis.Redis, story: Story) -> None:
        self.redis = connection
        self.story = story

    def check_session(self, session_id: str, state: str) -> None:
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

    def sample(self) -> dict[str, float]:
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
            "keys": sum(groups.values()),
            "keys that are knowledge": knowledge,
        }

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
            is_kept = ttl_ms == -1  # the lists of who has left go as a whole
            if is_kept and name in ("rq:finished", "rq:failed", "rq:wip", "rq:canceled"):
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


def prefix(key: bytes) -> str:
    """The first two parts of its name: a key's kind."""
    return ":".join(key.decode(errors="replace").split(":")[:2])
