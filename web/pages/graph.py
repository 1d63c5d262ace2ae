"""Who works with whom lately: the picture of that, and what two of them did with each other."""

from __future__ import annotations

from functools import partial
from typing import Any

from markupsafe import Markup
from pydantic import Field

from coordinator.credit import read_contributions
from coordinator.inboxes import LOOKED_AT, read_messages_between
from coordinator.keys import RecordKey
from coordinator.reads import Item
from coordinator.stored import read_hashes, replies_of, text_of
from reports.graph.drawing import Links, draw
from reports.graph.graph import Graph
from reports.graph.svg import svg_of
from reports.graph.tally import pair_of
from reports.palette import colours_of
from web.answers import ApiError
from web.live.tallies import AIS_SHOWN, WINDOWS, Lately, Window
from web.pages.look import Look
from web.pages.urls import page_url, path_part
from web.parameters import AiId, Query

ROWS_MAX = 50
MESSAGES_MAX = 20
CLOCK_MS = 12 * 60 * 60 * 1000
"""What is longer ago than that is told with its day."""
NAMES: dict[Window, str] = {"1": "1 min", "5": "5 min", "15": "15 min", "60": "1 h", "all": "all"}


class WindowQuery(Query):
    """Of which time."""

    window: Window = Field("15", description="The last so many minutes, or all that is known.")


class GraphQuery(WindowQuery):
    """Of which time, and whom."""

    ai: AiId | None = Field(None, description="Only this AI and those it worked with.")


class EdgeQuery(WindowQuery):
    """Of which time, and whom."""

    a: AiId = Field(description="An AI.")
    b: AiId = Field(description="Another AI.")


def read_graph(look: Look, query: GraphQuery) -> Item:
    lately = look.tallies.lately(query.window)
    pairs = lately.pairs
    if query.ai is None:
        shown = lately.shown
        pairs_total, ais_total = len(pairs.weights), len(pairs.ais)
        others = _read_live(look)
    else:
        of_ai = pairs.of(query.ai)
        shown, pairs_total, ais_total = of_ai[: AIS_SHOWN - 1], len(of_ai), len(of_ai) + 1
        others = [query.ai]
    ais = {ai for pair in shown for ai in pair}
    if len(ais.union(others)) <= AIS_SHOWN:
        ais.update(others)
    graph = _known(look, pairs.graph(shown, ais))
    links = Links(lambda ai: f"/fleet/{path_part(ai)}", partial(_edge_url, query.window))
    return {
        "query": query,
        "windows": _tabs(query.window, "/graph", ai=query.ai),
        **_times(look, lately),
        "picture": Markup(svg_of(draw(graph, links=links), is_inline=True)),
        "edges": graph.edges[:ROWS_MAX],
        "pairs_total": pairs_total,
        "pairs_shown": len(graph.edges),
        "ais_total": max(ais_total, len(ais)),
        "ais_shown": len(ais),
        "edge_url": partial(_edge_url, query.window),
    }


def read_edge(look: Look, query: EdgeQuery) -> Item:
    pair = pair_of(query.a, query.b)
    if query.a == query.b:
        raise ApiError("not_found", f"b must be another AI than {query.a}", "b")
    lately = look.tallies.lately(query.window)
    pairs, reader = lately.pairs, look.reader
    (edge,) = pairs.graph([pair], ()).edges
    sessions = sorted(
        pairs.sessions(pair).items(), key=lambda told: (-told[1].units_of(*pair), told[0])
    )
    derivations = sorted(pairs.derivations(pair))
    graph = _known(look, pairs.graph((), pair))
    values: Item = {
        "title": f"{pair[0]} and {pair[1]}",
        "query": query,
        "edge": edge,
        "nodes": graph.nodes,
        "colours": colours_of(node.specialization for node in graph.nodes),
        "windows": _tabs(query.window, _edge_path(*pair)),
        **_times(look, lately),
        "sessions": sessions[:ROWS_MAX],
        "sessions_total": len(sessions),
        "derivations": [tuple(map(RecordKey.from_name, one)) for one in derivations[:ROWS_MAX]],
        "derivations_total": len(derivations),
        "messages": None,
        "looked_at": LOOKED_AT,
    }
    if look.visitor.sees_all:
        messages = read_messages_between(reader.connection, reader.keys, *pair)
        values["messages"] = messages[:MESSAGES_MAX]
    return values


def _times(look: Look, lately: Lately) -> Item:
    """From when on it is told, and completely."""
    return {
        "since_ms": lately.since_ms,
        "complete_ms": lately.complete_ms,
        "is_long_ago": look.reader.clock.now_ms() - lately.since_ms > CLOCK_MS,
    }


def _tabs(here: Window, path: str, **query: Any) -> list[tuple[str, str, bool]]:
    return [
        (NAMES[window], page_url(path, window=window, **query), window == here)
        for window in WINDOWS
    ]


def _edge_path(a: str, b: str) -> str:
    return f"/graph/{path_part(a)}/{path_part(b)}"


def _edge_url(window: Window, a: str, b: str) -> str:
    return page_url(_edge_path(a, b), window=window)


def _read_live(look: Look) -> list[str]:
    """All live AIs, if they are few."""
    keys = look.reader.keys
    with look.reader.connection.pipeline(transaction=False) as pipe:
        pipe.zcard(keys.leases)
        pipe.zrange(keys.leases, 0, AIS_SHOWN - 1)
        count, names = replies_of(pipe)
    return [text_of(name) for name in names or ()] if (count or 0) <= AIS_SHOWN else []


def _known(look: Look, graph: Graph) -> Graph:
    """With what the fleet knows of these AIs now."""
    connection, keys = look.reader.connection, look.reader.keys
    ais = [node.id for node in graph.nodes]
    live = zip(ais, read_hashes(connection, map(keys.ai, ais)), strict=True)
    specializations = {
        ai: text_of(fields[b"specialization"]) for ai, fields in live if b"specialization" in fields
    }
    contributions = dict(zip(ais, read_contributions(connection, keys, ais), strict=True))
    return graph.known(contributions, specializations)
