"""Who worked with whom, by what a fleet's history tells.

Two AIs worked together when one sent the other a message, when one began from what the other had
shared, or when units were completed in a session of both. What goes to everybody joins nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple, TypeGuard

from coordinator.history import Line
from coordinator.messages import RESERVED_IDS
from coordinator.reads import Item
from coordinator.stored import finite_number
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
        elif line.kind == "event":
            self._take_event(line.data, line.ms)

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
        sender, target = message.get("sender_id"), message.get("target_ai")
        if not _is_ai(sender):
            return
        self.seen.add(sender)
        self.sent[sender] += 1
        if _is_ai(target) and target != sender:
            self.seen.add(target)
            self.received[target] += 1
            self.messages[_pair(sender, target)] += 1

    def _take_event(self, event: Mapping[str, Any], ms: int) -> None:
        kind, ai, data = str(event.get("event")), event.get("ai"), _mapping(event.get("data"))
        if kind == "shared":
            self._take_share(data)
        elif kind.startswith("session_"):
            self._take_session(str(data.get("session_id")), _mapping(data.get("session")))
        elif _is_ai(ai):
            self._take_deed(kind, ai, data, ms)

    def _take_deed(self, kind: str, ai: str, data: Mapping[str, Any], ms: int) -> None:
        if kind == "joined":
            self.seen.add(ai)
            self.specializations[ai] = str(data.get("specialization", ""))
            self.joined_ms.setdefault(ai, ms)
        elif kind == "credited":
            self.seen.add(ai)
            self.credited[ai] = finite_number(data.get("contribution_score")) or 0.0
        elif kind == "unit_completed":
            self.seen.add(ai)
            self.sessions[str(data.get("session_id"))].done[ai] += 1

    def _take_share(self, data: Mapping[str, Any]) -> None:
        """Each record is counted once for each that it began from, whatever its revisions."""
        makers = _ais(data.get("contributors"))
        self.seen.update(makers)
        child = f"{data.get('kind')}:{data.get('id')}"
        for origin in map(_mapping, _list(data.get("origins"))):
            others = _ais(origin.get("contributors")) if origin.get("is_use") else []
            self.seen.update(others)
            for maker in makers:
                for other in others:
                    if maker != other:
                        self.lineage[_pair(maker, other)].add((child, str(origin.get("name"))))

    def _take_session(self, session_id: str, told: Mapping[str, Any]) -> None:
        if not told:
            return
        session, wanted = self.sessions[session_id], _mapping(told.get("requirements"))
        is_request = told.get("type") == FEATURE_REQUEST
        asked_by = [told.get("initiator")] if is_request else []
        session.type = FEATURE if is_request else str(told.get("type"))
        session.feature = str(wanted.get("feature") or wanted.get("specialization") or "")
        session.state = str(told.get("state"))
        session.participants = _ais([*asked_by, *_list(told.get("participants"))])
        self.seen.update(session.participants)


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _is_ai(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and name != "" and name not in RESERVED_IDS


def _ais(names: object) -> list[str]:
    return [name for name in _list(names) if _is_ai(name)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
