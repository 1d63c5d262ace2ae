"""What the active coordinator tells of itself: how long its commits take, and what work is open."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any

from coordinator.fleet import Fleet
from coordinator.keys import Keys
from coordinator.messages import to_json

COMMIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histogram's buckets; what took longer is in its ``commit_count`` alone."""


def bucket_field(bound_s: float) -> str:
    """What ``keys.metrics`` calls the number of commits that took at most so long."""
    return f"commit_le_{bound_s:g}"


class CoordinatorMetrics:
    """Counted in memory, and written now and then: what a coordinator that is killed has counted
    since is lost with it. The next one begins at 0."""

    def __init__(self) -> None:
        self._commits = [0] * (len(COMMIT_BOUNDS_S) + 1)
        self._commit_sum_s = 0.0
        self._written: dict[str, Any] = {}

    def add_commit(self, seconds: float) -> None:
        self._commits[bisect_left(COMMIT_BOUNDS_S, seconds)] += 1
        self._commit_sum_s += seconds

    def changes(self, fleet: Fleet, keys: Keys) -> list[tuple[Any, ...]]:
        """The command that writes what is not as it was written last; none if all is."""
        told = self._told(fleet)
        changed = {name: value for name, value in told.items() if self._written.get(name) != value}
        self._written = told
        pairs = (part for pair in changed.items() for part in pair)
        return [("HSET", keys.metrics, *pairs)] if changed else []

    def forget_written(self) -> None:
        """It is unknown what was written: all of it is, the next time."""
        self._written = {}

    def _told(self, fleet: Fleet) -> dict[str, Any]:
        told: dict[str, Any] = {}
        count = 0
        for bound_s, commits in zip(COMMIT_BOUNDS_S, self._commits, strict=False):
            count += commits
            told[bucket_field(bound_s)] = count
        told["commit_count"] = count + self._commits[-1]
        told["commit_sum_s"] = round(self._commit_sum_s, 6)
        sessions: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for session in fleet.sessions.values():
            sessions[session.type][session.state] += 1
        told["sessions"] = to_json(sessions)
        told["units"] = to_json(Counter(unit.state for unit in fleet.units.values()))
        return told
