"""Graphs of any size to be drawn, and their hostile names."""

from __future__ import annotations

import random

from coordinator.specializations import CAPABILITIES
from reports.graph.graph import Edge, Graph, Label, Node

SPECIALIZATIONS = [*CAPABILITIES, "validation", "own_words", ""]
HOSTILE = (
    "<script>alert(1)</script>",
    "a\"b'c&d;--><g>",
    "$\\frac{x}{y}$ $math$",
    "\u202eright to left \u05d0\u05d1\u05d2",
    "A" * 64,
    "\u65e5\u672c\u8a9e",
    "\x00\x1b[31m\n\ud800",
    "{{ 7 * 7 }}",
)


def graph_with(names: list[str] | int, edges: int, seed: int = 1) -> Graph:
    """AIs of these names (or so many), and at most so many edges between them."""
    draws = random.Random(seed)
    ids = names if isinstance(names, list) else [f"AI_Node_{n}" for n in range(names)]
    nodes = [
        Node(
            ai,
            SPECIALIZATIONS[n % len(SPECIALIZATIONS)],
            round(3 * draws.random() ** 2, 3),
            draws.randrange(99),
            draws.randrange(99),
            None,
        )
        for n, ai in enumerate(ids)
    ]
    made = {}
    for _ in range(edges):
        a, b = sorted(draws.sample(ids, 2))
        units, shared, messages = (draws.randrange(1, 20) for _ in range(3))
        labels = (Label("feature", ids[0], units), Label("message", "", messages))
        made[a, b] = Edge(a, b, messages, shared, units, labels, ())
    ordered = sorted(made.values(), key=lambda edge: (-edge.weight, edge.a, edge.b))
    return Graph(tuple(sorted(nodes)), tuple(ordered))
