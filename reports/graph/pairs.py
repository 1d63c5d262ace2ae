"""What any two AIs did with each other, by a tally: of all of them, or of some."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from heapq import nlargest

from coordinator.history import Line
from reports.graph.graph import Edge, Graph, Label, Node
from reports.graph.tally import Derivation, Pair, SessionTally, Tally

MESSAGE = "message"
LINEAGE = "lineage"


class Pairs:
    """Of a tally that does not change any more. ``weights`` has what each pair weighs."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._sessions: dict[Pair, list[str]] = defaultdict(list)
        self.weights: Counter[Pair] = Counter(tally.messages)
        for pair, derivations in tally.lineage.items():
            self.weights[pair] += len(derivations)
        for session_id, session in sorted(tally.sessions.items()):
            for pair, units in session.pairs():
                self._sessions[pair].append(session_id)
                self.weights[pair] += units

    @property
    def ais(self) -> Set[str]:
        """All who were there."""
        return self._tally.seen

    def heaviest(self, limit: int) -> list[Pair]:
        """The pairs that did most, the most first."""
        return self._ranked(nlargest(limit, self.weights, key=self.weights.__getitem__))

    def of(self, ai: str) -> list[Pair]:
        """The pairs that ``ai`` is one of, likewise."""
        return self._ranked(pair for pair in self.weights if ai in pair)

    def _ranked(self, pairs: Iterable[Pair]) -> list[Pair]:
        return sorted(pairs, key=lambda pair: (-self.weights[pair], pair))

    def graph(self, pairs: Iterable[Pair], ais: Iterable[str]) -> Graph:
        """The edges of these pairs in their order, and these AIs."""
        return Graph(tuple(map(self._node, sorted(ais))), tuple(map(self.edge, pairs)))

    def edge(self, pair: Pair) -> Edge:
        messages, shared = self._tally.messages[pair], len(self.derivations(pair))
        sessions = self.sessions(pair)
        work: Counter[tuple[str, str]] = Counter()
        for session in sessions.values():
            work[session.type, session.feature] += session.units_of(*pair)
        told = [Label(*what, count) for what, count in work.items()]
        told.sort(key=lambda label: (-label.count, label.type, label.feature))
        told += [Label(MESSAGE, "", messages)] if messages else []
        told += [Label(LINEAGE, "", shared)] if shared else []
        return Edge(*pair, messages, shared, work.total(), tuple(told), tuple(sessions))

    def sessions(self, pair: Pair) -> dict[str, SessionTally]:
        """Those in which they completed units, by id."""
        return {one: self._tally.sessions[one] for one in self._sessions.get(pair, ())}

    def derivations(self, pair: Pair) -> Set[Derivation]:
        """Which records of one began from which of the other."""
        return self._tally.lineage.get(pair, frozenset())

    def _node(self, ai: str) -> Node:
        tally = self._tally
        return Node(
            ai,
            tally.specializations.get(ai, ""),
            tally.contributions.get(ai, 0.0),
            tally.sent[ai],
            tally.received[ai],
            tally.joined_ms.get(ai),
        )


def graph_of(lines: Iterable[Line]) -> Graph:
    """The graph of what ``lines`` tell: they may begin after what an AI is was told."""
    tally = Tally()
    for line in lines:
        tally.take(line)
    pairs = Pairs(tally)
    return pairs.graph(pairs.heaviest(len(pairs.weights)), pairs.ais)
