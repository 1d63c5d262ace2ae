"""Who worked with whom, by what a fleet's history tells.

Two AIs worked together when one sent the other a message, when one began from what the other had
shared, or when units were completed in a session of both. What goes to everybody joins nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, NamedTuple, TypeGuard

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
from coordinator.reads import Item
from coordinator.work import FEATURE_REQUEST

FEATURE = "feature"
MESSAGE = "message"
LINEAGE = "lineage"
UNKNOWN = "unknown"
"""The type of work of a session that began before the history that is kept."""


class Node(NamedTuple):
    """An AI. ``specialization`` is "" if nobody told it; ``contribution`` is its score; it ``sent``
    so many messages, and ``received`` so many that were for it alone; ``joined_ms`` is None if it
    joined before."""

    id: str
    specialization: str
    contribution: float
    sent: int
    received: int
    joined_ms: int | None


@dataclass(frozen=True)
class Label:
    """What the work of two AIs was: a ``type`` of collaboration, ``feature`` of a request for one,
    ``message`` or ``lineage``, so many times. ``feature`` says of what, "" if nobody does."""

    type: str
    feature: str
    count: int

    @property
    def text(self) -> str:
        """In words, e.g. "feature buffer_cache" or "lineage"."""
        return f"{self.type} {self.feature}".rstrip()

    def to_json(self) -> Item:
        of_what = {"feature": self.feature} if self.feature else {}
        return {"type": self.type, **of_what, "count": self.count}


class Edge(NamedTuple):
    """What ``a`` and ``b`` (in the order of their names) did with each other: ``messages`` from one
    to the other, records ``shared`` that the other began from, ``units`` that either completed in
    ``sessions`` of both. A session that was completed without units counts as one.

    ``labels`` tell the same, sessions by type first, the most of each first.
    """

    a: str
    b: str
    messages: int
    shared: int
    units: int
    labels: tuple[Label, ...]
    sessions: tuple[str, ...]

    @property
    def weight(self) -> int:
        return self.messages + self.shared + self.units

    def to_json(self) -> Item:
        return {
            "a": self.a,
            "b": self.b,
            "messages": self.messages,
            "shared": self.shared,
            "units": self.units,
            "weight": self.weight,
            "labels": [label.to_json() for label in self.labels],
            "sessions": list(self.sessions),
        }


@dataclass(frozen=True)
class Graph:
    """AIs by name, and the edges between them, the heaviest first."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def around(self, ai: str) -> Graph:
        """``ai`` with those it worked with, and nothing of what these did with each other."""
        edges = tuple(edge for edge in self.edges if ai in (edge.a, edge.b))
        near = {ai, *(name for edge in edges for name in (edge.a, edge.b))}
        return Graph(tuple(node for node in self.nodes if node.id in near), edges)

    def credited(self, contributions: Mapping[str, float]) -> Graph:
        """The same with these contributions."""
        nodes = (
            node._replace(contribution=contributions.get(node.id, node.contribution))
            for node in self.nodes
        )
        return Graph(tuple(nodes), self.edges)

    def to_json(self) -> Item:
        return {
            "nodes": [node._asdict() for node in self.nodes],
            "edges": [edge.to_json() for edge in self.edges],
        }


def graph_of(
    lines: Iterable[Line],
    contributions: Mapping[str, float] | None = None,
    specializations: Mapping[str, str] | None = None,
) -> Graph:
    """The graph of what ``lines`` tell. ``contributions`` and ``specializations`` are those of AIs
    as they are known otherwise: lines that begin later may not tell them."""
    told = _Told(dict(specializations or {}))
    for line in lines:
        told.take(line)
    return Graph(told.nodes(contributions or {}), told.edges())


@dataclass
class _Session:
    """What is told of a session; ``done`` counts the units that each AI completed."""

    type: str = UNKNOWN
    feature: str = ""
    state: str = ""
    participants: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def units_of(self, a: str, b: str) -> int:
        is_without_units = self.state == "completed" and not self.done
        return 1 if is_without_units else self.done[a] + self.done[b]


Pair = tuple[str, str]
"""Two AIs in the order of their names."""


@dataclass
class _Told:
    """What the lines told so far."""

    specializations: dict[str, str]
    credited: dict[str, float] = field(default_factory=dict)
    joined_ms: dict[str, int] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    messages: Counter[Pair] = field(default_factory=Counter)
    lineage: dict[Pair, set[Pair]] = field(default_factory=lambda: defaultdict(set))
    sessions: dict[str, _Session] = field(default_factory=lambda: defaultdict(_Session))
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
                self.credited[ai] = credited.contribution_score
            case UnitChanged(event="unit_completed", ai=ai, unit=unit) if self._sees(ai):
                self.sessions[unit.session_id].done[ai] += 1

    def nodes(self, contributions: Mapping[str, float]) -> tuple[Node, ...]:
        scores = {**self.credited, **contributions}
        return tuple(
            Node(
                ai,
                self.specializations.get(ai, ""),
                scores.get(ai, 0.0),
                self.sent[ai],
                self.received[ai],
                self.joined_ms.get(ai),
            )
            for ai in sorted(self.seen)
        )

    def edges(self) -> tuple[Edge, ...]:
        labels: dict[Pair, Counter[tuple[str, str]]] = defaultdict(Counter)
        sessions: dict[Pair, list[str]] = defaultdict(list)
        for session_id, session in sorted(self.sessions.items()):
            for a, b in combinations(sorted({*session.participants, *session.done}), 2):
                if units := session.units_of(a, b):
                    labels[a, b][session.type, session.feature] += units
                    sessions[a, b].append(session_id)
        pairs = labels.keys() | self.messages.keys() | self.lineage.keys()
        edges = [self._edge(pair, labels[pair], sessions[pair]) for pair in pairs]
        return tuple(sorted(edges, key=lambda edge: (-edge.weight, edge.a, edge.b)))

    def _edge(self, pair: Pair, work: Counter[tuple[str, str]], sessions: list[str]) -> Edge:
        messages, shared = self.messages[pair], len(self.lineage.get(pair, ()))
        told = [Label(*what, count) for what, count in work.items()]
        told.sort(key=lambda label: (-label.count, label.type, label.feature))
        told += [Label(MESSAGE, "", messages)] if messages else []
        told += [Label(LINEAGE, "", shared)] if shared else []
        return Edge(*pair, messages, shared, work.total(), tuple(told), tuple(sessions))

    def _take_message(self, message: Mapping[str, Any]) -> None:
        sender, target = message["sender_id"], message["target_ai"]
        if not self._sees(sender):
            return
        self.sent[sender] += 1
        if self._sees(target) and target != sender:
            self.received[target] += 1
            self.messages[_pair(sender, target)] += 1

    def _take_share(self, shared: Shared) -> None:
        """Each record is counted once for each that it began from, whatever its revisions."""
        makers = self._ais(shared.contributors)
        for origin in shared.origins or ():
            others = self._ais(origin.contributors) if origin.is_use else []
            for maker, other in product(makers, others):
                if maker != other:
                    edge = (shared.record_key.name, origin.name)
                    self.lineage[_pair(maker, other)].add(edge)

    def _take_session(self, told: ToldSession) -> None:
        session, wanted = self.sessions[told.id], told.requirements
        is_request = told.type == FEATURE_REQUEST
        asked_by = [told.initiator] if is_request else []
        session.type = FEATURE if is_request else told.type
        session.feature = str(wanted.get("feature") or wanted.get("specialization") or "")
        session.state = told.state
        session.participants = self._ais([*asked_by, *told.participants])

    def _ais(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are AIs'; they were there."""
        return [name for name in names if self._sees(name)]

    def _sees(self, name: object) -> TypeGuard[str]:
        """Whether that is an AI; it was there."""
        if not isinstance(name, str) or not name or name in RESERVED_IDS:
            return False
        self.seen.add(name)
        return True


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)
