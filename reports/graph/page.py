"""A graph as a page of its own: the picture, and all it shows as tables."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.graph.drawing import draw
from reports.graph.graph import Graph
from reports.graph.svg import svg_of
from reports.pages import page_of
from reports.palette import colours_of

ROWS_MAX = 300
"""So many edges are listed, and so many AIs; the heaviest first."""


def graph_page(graph: Graph, heading: Sequence[str], notes: Sequence[str]) -> str:
    """The page as HTML, which needs nothing but itself; the first line of ``heading`` is its
    title."""
    title, *lead = heading
    nodes = sorted(graph.nodes, key=lambda node: (-node.contribution, node.id))
    return page_of(
        "graph.html",
        title=title,
        lead=lead,
        notes=notes,
        picture=Markup(svg_of(draw(graph), is_inline=True)),
        edges=graph.edges[:ROWS_MAX],
        edges_total=len(graph.edges),
        nodes=nodes[:ROWS_MAX],
        nodes_total=len(nodes),
        specializations={node.id: node.specialization for node in graph.nodes},
        colours=colours_of(node.specialization for node in graph.nodes),
    )
