"""Who worked with whom, as a graph: AIs, and what any two of them did with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordinator.reads import Item


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

    def known(
        self, contributions: Mapping[str, float], specializations: Mapping[str, str]
    ) -> Graph:
        """The same, with these of the AIs that are in them: they are known otherwise."""
        nodes = (
            node._replace(
                contribution=contributions.get(node.id, node.contribution),
                specialization=specializations.get(node.id, node.specialization),
            )
            for node in self.nodes
        )
        return replace(self, nodes=tuple(nodes))

    def to_json(self) -> Item:
        return {
            "nodes": [node._asdict() for node in self.nodes],
            "edges": [edge.to_json() for edge in self.edges],
        }
