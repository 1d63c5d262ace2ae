"""Who worked with whom, counted as a fleet's history tells it.

Two AIs worked together when one sent the other a message, when one began from what the other had
shared, or when units were completed in a session of both. What goes to everybody joins nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import combinations, product
from operator import itemgetter
from typing import Any, TypeGuard

from coordinator.events import (
    Credited,
    Joined,
    SessionChanged,
    Shared,
    ToldSession,
    UnitChanged,
    parse_event,
)
from coordinator.history import Line
from coordinator.messages import RESERVED_IDS
from coordinator.work import FEATURE_REQUEST

FEATURE = "feature"
UNKNOWN = "unknown"
"""The type of work of a session that began before what was told."""

Pair = tuple[str, str]
"""Two AIs in the order of their names."""
Derivation = tuple[str, str]
"""A record, and another one that it began from, by name: ``<kind>:<id>``."""


@dataclass(slots=True)
class SessionTally:
    """What is told of a session; ``done`` counts the units that each AI completed."""

    type: str = UNKNOWN
    feature: str = ""
    state: str = ""
    participants: tuple[str, ...] = ()
    done: Counter[str] = field(default_factory=Counter)

    def units_of(self, a: str, b: str) -> int:
        is_without_units = self.state == "completed" and not self.done
        return 1 if is_without_units else self.done[a] + self.done[b]

    def pairs(self) -> Iterator[tuple[Pair, int]]:
        """Who worked together in it, with how many units they completed."""
        for a, b in combinations(sorted({*self.participants, *self.done}), 2):
            if units := self.units_of(a, b):
                yield (a, b), units

    def add(self, later: SessionTally) -> None:
        self.done.update(later.done)
        if later.type != UNKNOWN:
            self.recall(later)

    def recall(self, told: SessionTally) -> None:
        """Take over all but what was done."""
        self.type, self.feature = told.type, told.feature
        self.state, self.participants = told.state, told.participants


@dataclass
class Tally:
    """What lines of a history told."""

    specializations: dict[str, str] = field(default_factory=dict)
    contributions: dict[str, float] = field(default_factory=dict)
    joined_ms: dict[str, int] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    messages: Counter[Pair] = field(default_factory=Counter)
    lineage: dict[Pair, set[Derivation]] = field(default_factory=lambda: defaultdict(set))
    sessions: dict[str, SessionTally] = field(default_factory=lambda: defaultdict(SessionTally))
    seen: set[str] = field(default_factory=set)

    def take(self, line: Line) -> None:
        if (message := line.envelope) is not None:
            self._take_message(message)
            return
        match parse_event(line):
            case Shared() as shared:
                self._take_share(shared)
            case SessionChanged(session=session):
                self._take_session(session)
            case Joined(ai=ai) as joined if self._sees(ai):
                self.specializations[ai] = joined.specialization
                self.joined_ms.setdefault(ai, joined.ms)
            case Credited(ai=ai) as credited if self._sees(ai):
                self.contributions[ai] = credited.contribution_score
            case UnitChanged(event="unit_completed", ai=ai, unit=unit) if self._sees(ai):
                self.sessions[unit.session_id].done[ai] += 1

    def add(self, later: Tally) -> None:
        """Count what was told after this, too."""
        self.specializations |= later.specializations
        self.contributions |= later.contributions
        self.joined_ms = later.joined_ms | self.joined_ms
        self.sent.update(later.sent)
        self.received.update(later.received)
        self.messages.update(later.messages)
        for pair, derivations in later.lineage.items():
            self.lineage[pair] |= derivations
        for session_id, session in later.sessions.items():
            self.sessions[session_id].add(session)
        self.seen |= later.seen

    def recall(self, earlier: Tally) -> None:
        """Take over what was told before of the AIs and the sessions that it has: nothing of what
        they did."""
        self.specializations = earlier.specializations | self.specializations
        self.contributions = earlier.contributions | self.contributions
        self.joined_ms |= earlier.joined_ms
        for session_id, session in self.sessions.items():
            told = earlier.sessions.get(session_id)
            if told is not None and session.type == UNKNOWN:
                session.recall(told)

    def shed(self, size: int) -> None:
        """Come down to about that size: forget the pairs, and sessions, that did least, and all AIs
        that are in none of the others."""
        if self.size <= size:
            return
        part = size / self.size
        messages = nlargest(
            int(part * len(self.messages)), self.messages.items(), key=itemgetter(1)
        )
        derived = nlargest(
            int(part * len(self.lineage)), self.lineage.items(), key=lambda told: len(told[1])
        )
        worked = nlargest(
            int(part * len(self.sessions)),
            self.sessions.items(),
            key=lambda told: told[1].done.total(),
        )
        self.messages = Counter(dict(messages))
        self.lineage = defaultdict(set, derived)
        self.sessions = defaultdict(SessionTally, worked)
        self.seen = {ai for pair in (*self.messages, *self.lineage) for ai in pair}
        for session in self.sessions.values():
            self.seen.update(session.participants, session.done)
        self.sent = Counter({ai: self.sent[ai] for ai in self.seen & self.sent.keys()})
        self.received = Counter({ai: self.received[ai] for ai in self.seen & self.received.keys()})
        for known in (self.specializations, self.contributions, self.joined_ms):
            for ai in known.keys() - self.seen:
                del known[ai]

    @property
    def size(self) -> int:
        """About how many facts it holds."""
        by_pair = len(self.messages) + len(self.lineage)
        by_ai = len(self.sent) + len(self.received) + len(self.seen)
        return by_pair + by_ai + len(self.sessions)

    def _take_message(self, message: Mapping[str, Any]) -> None:
        sender, target = message["sender_id"], message["target_ai"]
        if not self._sees(sender):
            return
        self.sent[sender] += 1
        if self._sees(target) and target != sender:
            self.received[target] += 1
            self.messages[pair_of(sender, target)] += 1

    def _take_share(self, shared: Shared) -> None:
        """Each record is counted once for each that it began from, whatever its revisions."""
        makers = self._ais(shared.contributors)
        for origin in shared.origins or ():
            others = self._ais(origin.contributors) if origin.is_use else []
            for maker, other in product(makers, others):
                if maker != other:
                    derivation = (shared.record_key.name, origin.name)
                    self.lineage[pair_of(maker, other)].add(derivation)

    def _take_session(self, told: ToldSession) -> None:
        session, wanted = self.sessions[told.id], told.requirements
        is_request = told.type == FEATURE_REQUEST
        asked_by = [told.initiator] if is_request else []
        session.type = FEATURE if is_request else told.type
        session.feature = str(wanted.get("feature") or wanted.get("specialization") or "")
        session.state = told.state
        session.participants = tuple(self._ais([*asked_by, *told.participants]))

    def _ais(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are AIs'; they were there."""
        return [name for name in names if self._sees(name)]

    def _sees(self, name: object) -> TypeGuard[str]:
        """Whether that is an AI; it was there."""
        if not isinstance(name, str) or not name or name in RESERVED_IDS:
            return False
        self.seen.add(name)
        return True


def pair_of(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)
