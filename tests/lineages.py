"""Records that were derived from each other, as the coordinator writes them, without one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, partial
from typing import Any, cast

import redis

from coordinator.context import Context
from coordinator.credit import credited, read_ledger, retracted, score_of
from coordinator.effects import Effect, Write
from coordinator.fleet import Fleet, Loaded
from coordinator.keys import Keys, RecordKey
from coordinator.lineage import derived, read_origins
from coordinator.settings import Settings
from coordinator.state import read_contributors
from tests.fleet import BEGINNING_MS, CountingIds

SHARED = "2025-06-15T15:06:40.000Z"
FOUND = {
    "reason": "",
    "problem": "disk",
    "sandbox": "bubblewrap 0.11.0",
    "limits": {"wall_s": 20.0, "memory_bytes": 268435456.0},
    "tests": ["test_one", "test_two"],
    "validator": "v",
}
"""What all verdicts here have in common."""


class Records:
    """Shares, verdicts and retractions: each does what the coordinator does for it."""

    def __init__(self, connection: redis.Redis, keys: Keys | None = None) -> None:
        self.redis = connection
        self.keys = keys or Keys()

    def share(
        self,
        kind: Any,
        record_id: str,
        *ais: str,
        derived_from: Any = None,
        source: str = "",
        hash_ms: int = 0,
    ) -> None:
        """Store what ``ais`` made; ``source`` stands for its hash, which it has since then."""
        context = self._context()
        known = context.fleet.contributors[kind, record_id]
        makers = list(dict.fromkeys([*known, *ais]))
        fields = {"contributor": makers[0], "contributors": json.dumps(makers)}
        fields |= {"specialization": "audio", "timestamp": SHARED}
        record = {"id": record_id, "derived_from": derived_from}
        fields |= {"record": json.dumps(record), "revision": "1"}
        fields |= {"hash": source, "hash_ms": str(hash_ms)} if source else {}
        self.redis.hset(self.keys.record(kind, record_id), mapping=cast(Any, fields))
        self.redis.zadd(self.keys.records(kind), {record_id: BEGINNING_MS})
        self.write(derived(kind, record, ais, context))

    def judge(self, component_id: str, quality: float | None, problem: str = "disk") -> None:
        """Give a component its verdict."""
        verdict = {"verdict": "failed" if quality is None else "passed", **FOUND}
        key = self.keys.record("component", component_id)
        self.redis.hset(key, "validation", json.dumps(verdict))
        self.redis.hdel(key, "quality_score")
        if quality is not None:
            self.redis.hset(key, "quality_score", quality)
        record = RecordKey("component", component_id)
        ledger = read_ledger(self.redis, self.keys, record)
        self.write(credited(record, problem, quality, ledger, self.keys))

    def rank(self, record: RecordKey, quality: float, problem: str) -> None:
        """It passed, and is among the best of that problem."""
        verdict = {"verdict": "passed", **FOUND, "problem": problem, "workload": "w1"}
        fields: Any = {"validation": json.dumps(verdict), "quality_score": quality}
        self.redis.hset(self.keys.record(*record), mapping=fields)
        self.redis.zadd(self.keys.best(record.kind, problem), {record.id: quality})

    def retract(self, *records: RecordKey) -> None:
        ledger = read_ledger(self.redis, self.keys, *records, all_above=True)
        self.write(retracted(ledger, self.keys))
        for record in records:
            self.redis.delete(self.keys.record(*record))

    def write(self, effects: Iterable[Effect]) -> None:
        """What they change; what they tell the history is a coordinator's to number."""
        for effect in effects:
            if isinstance(effect, Write):
                self.redis.execute_command(*effect.command)

    def uses(self, kind: Any, record_id: str) -> dict[str, int]:
        """What a record lists: 1 for a use, 0 for its contributors' own."""
        listed = self.redis.zrange(self.keys.derived(kind, record_id), 0, -1, withscores=True)
        return {name.decode(): int(use) for name, use in cast("list[Any]", listed)}

    def book(self, ai: str) -> dict[str, dict[str, list[Any]]]:
        """What an AI is credited for, by group."""
        stored = cast("dict[bytes, bytes]", self.redis.hgetall(self.keys.credit(ai)))
        return {group.decode(): json.loads(text) for group, text in stored.items()}

    def scores(self) -> dict[str, float]:
        """The contribution score of each AI that ever had one; it is what its book says."""
        found = {}
        prefix = self.keys.member("")
        for key in sorted(cast("list[bytes]", self.redis.keys(f"{prefix}*"))):
            ai = key.decode().removeprefix(prefix)
            found[ai] = float(cast(bytes, self.redis.hget(key.decode(), "contribution_score")))
            assert found[ai] == score_of(cast(Any, self.book(ai)))
        return found

    def _context(self) -> Context:
        fleet = Fleet(
            contributors=Loaded(partial(read_contributors, self.redis, self.keys)),
            origins=Loaded(partial(read_origins, self.redis, self.keys)),
        )
        return Context(fleet, self.keys, _defaults(), CountingIds(), BEGINNING_MS, 0.0)


@cache
def _defaults() -> Settings:
    """Made once: it takes longer than to share a record."""
    return Settings()
