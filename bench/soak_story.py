"""What happens in a soak run, told by its events, and judged."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coordinator.settings import Settings
from coordinator.work import END_STATES, FEATURE_REQUEST

SETTINGS = Settings(
    lease_s=6, leader_lease_s=2, session_keep_s=20, collaboration_wait_s=5, feature_wait_s=60
)
SLACK_S = 2.0
"""So long after the end of its owner's lease, a unit must have another."""
LOOK_EVERY_S = 0.1


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
