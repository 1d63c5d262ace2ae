"""The picture of a graph: discs for AIs, curves for what they did with each other, words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from coordinator.messages import one_line
from reports.graph.graph import Edge, Graph
from reports.graph.ring import FEW, MANY, Place, Ring, curve_of, ring_of
from reports.graph.shapes import (
    Anchor,
    Box,
    Curve,
    Disc,
    Drawing,
    Plate,
    Point,
    Shape,
    Tone,
    Words,
    width_of,
)
from reports.palette import colours_of

EDGES_MAX = 400
"""So many edges are drawn, the heaviest: of more nobody makes anything out."""
LABELS_MAX = ((FEW, 9), (MANY, 5))
"""In pictures of up to so many AIs so many edges are labelled; in larger ones none is."""
LONGEST_NAME = 26
LONGEST_LABEL = 30
LONGEST_TITLE = 500
MARGIN = 28.0
NARROWEST = 440.0
TITLE, SMALL = 17.0, 12.0
LINE = 19.0
"""From a line of text to the next."""
TRIED = (0.5, 0.44, 0.56, 0.38, 0.62, 0.32, 0.68, 0.27, 0.73)
"""Along an edge, where its label may stand."""
SAMPLES = tuple(n / 24 for n in range(1, 24))
ABOUT = "A ring of AIs, joined by what they did with each other"


class Links(NamedTuple):
    """Where an AI leads to, and where two of them do; "" for nowhere."""

    of_ai: Callable[[str], str]
    of_pair: Callable[[str, str], str]


NO_LINKS = Links(lambda ai: "", lambda a, b: "")


def draw(
    graph: Graph,
    heading: Sequence[str] = (),
    notes: Sequence[str] = (),
    links: Links = NO_LINKS,
) -> Drawing:
    """The lines of the ``heading`` stand above, the first of them bold, ``notes`` below. Names and
    labels are cut, and are whole in what is shown of a shape that is pointed at."""
    ring = ring_of(graph.nodes)
    colours = colours_of(node.specialization for node in graph.nodes)
    edges = graph.edges[:EDGES_MAX]
    curves = [_curve(edge, ring, edges[0].weight, links) for edge in edges]
    discs = [_disc(place, colours, links) for place in ring.places.values()]
    names = [_name(ring.places[ai], ring, links) for ai in _named(graph)]
    taken = [*(disc.box for disc in discs), *(name.box for name in names)]
    most = next((most for count, most in LABELS_MAX if len(graph.nodes) <= count), 0)
    labels = _labels(edges[:most], curves, taken)
    middle: list[Shape] = [*reversed(curves), *discs, *names, *labels, *_absence(graph)]
    left_out = len(graph.edges) - len(edges)
    below = [*_scales(graph), *notes]
    if left_out:
        below.append(f"{left_out} lighter edges are left out")
    return _framed(middle, heading, _legend(graph, colours), below)


def _curve(edge: Edge, ring: Ring, heaviest: int, links: Links) -> Curve:
    counts = {
        "message": (edge.messages, ""),
        "record": (edge.shared, " begun from the other's"),
        "unit": (edge.units, ""),
    }
    told = ", ".join(
        f"{count} {what}{'s' * (count != 1)}{more}"
        for what, (count, more) in counts.items()
        if count
    )
    works = [f"{one_line(label.text)}: {label.count}" for label in edge.labels]
    title = "\n".join([f"{one_line(edge.a)} and {one_line(edge.b)}: {told}", *works])
    href = links.of_pair(edge.a, edge.b)
    return curve_of(edge, ring, heaviest)._replace(title=title, href=href)


def _disc(place: Place, colours: Mapping[str, str], links: Links) -> Disc:
    node = place.node
    told = (
        f"{one_line(node.id)}\n{one_line(node.specialization) or 'specialization unknown'}\n"
        f"contribution {node.contribution:.2f}, sent {node.sent}, received {node.received}"
    )
    colour = colours[node.specialization]
    return Disc(place.centre, place.radius, colour, told, links.of_ai(node.id))


def _named(graph: Graph) -> list[str]:
    """Whose names are shown: where there are too many, of those who did most."""
    if len(graph.nodes) <= MANY:
        return [node.id for node in graph.nodes]
    weights: Counter[str] = Counter()
    for edge in graph.edges:
        weights[edge.a] += edge.weight
        weights[edge.b] += edge.weight
    ranked = sorted(graph.nodes, key=lambda node: (-weights[node.id], -node.contribution, node.id))
    return [node.id for node in ranked[:MANY]]


def _name(place: Place, ring: Ring, links: Links) -> Words:
    """Beside the disc; where many are, turned, so that all point to the middle."""
    text = shortened(place.node.id, LONGEST_NAME)
    title = one_line(place.node.id) if text != place.node.id else ""
    words = Words(
        place.centre, text, ring.sizes.letter, title=title, href=links.of_ai(place.node.id)
    )
    across, down = math.cos(place.turn), math.sin(place.turn)
    side: Anchor = "end" if across < -1e-9 else "start"
    if len(ring.places) > FEW:
        turn = math.degrees(place.turn) % 360 - 180 * (side == "end")
        return words._replace(at=place.out(ring.sizes.disc + 6), anchor=side, turn=turn)
    at = place.out(place.radius + 8 + abs(down) * words.size * 0.4)
    if abs(across) < 0.2:
        above = Point(at.x, at.y + math.copysign(words.size * 0.6, down))
        return words._replace(at=above, anchor="middle")
    return words._replace(at=at, anchor=side)


def _labels(edges: Sequence[Edge], curves: Sequence[Curve], taken: list[Box]) -> list[Shape]:
    """What the work of an edge mostly was, where it covers nothing but lines, and few of these."""
    points = [(n, curve.at(part)) for n, curve in enumerate(curves) for part in SAMPLES]
    shown: list[Shape] = []
    for n, edge in enumerate(edges):
        others = [at for m, at in points if m != n]
        lines = _label_lines(edge)
        fitting = [
            (sum(box.holds(at) for at in others), place, box, words)
            for place, part in enumerate(TRIED)
            for words in [_stacked(curves[n].at(part), lines)]
            for box in [_around(words)]
            if not any(box.meets(other) for other in taken)
        ]
        if fitting:
            _, _, box, words = min(fitting)
            taken.append(box)
            shown += [*(Plate(one.box) for one in words), *words]
    return shown


def _label_lines(edge: Edge) -> list[str]:
    label = edge.labels[0]
    is_all = label.count == edge.weight
    count = f"({label.count})" if is_all else f"({label.count} of {edge.weight})"
    kind = shortened(label.type, LONGEST_LABEL)
    if not label.feature:
        return [f"{kind} {count}"]
    return [kind, f"{shortened(label.feature, LONGEST_LABEL)} {count}"]


def _stacked(middle: Point, lines: Sequence[str]) -> list[Words]:
    top = middle.y - (len(lines) - 1) * SMALL * 0.6
    return [
        Words(
            Point(middle.x, top + n * SMALL * 1.2),
            text,
            SMALL - 1,
            "middle",
            "ink" if n == 0 else "muted",
        )
        for n, text in enumerate(lines)
    ]


def _around(words: Sequence[Words]) -> Box:
    boxes = [one.box for one in words]
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def _absence(graph: Graph) -> list[Words]:
    """What is said in the middle where there is nothing to be drawn."""
    if not graph.nodes:
        return [Words(Point(0, 0), "No AI was there", 15, "middle", "muted")]
    if not graph.edges and len(graph.nodes) > 1:
        return [Words(Point(0, 0), "nobody worked with anybody", 15, "middle", "muted")]
    return []


def _legend(graph: Graph, colours: Mapping[str, str]) -> list[tuple[str, str]]:
    """Colours and what they stand for, with how many there are of it."""
    counts = Counter(node.specialization for node in graph.nodes)
    return [
        (colour, f"{shortened(name, LONGEST_NAME) or 'unknown'} ({counts[name]})")
        for name, colour in colours.items()
    ]


def _scales(graph: Graph) -> list[str]:
    most = max((node.contribution for node in graph.nodes), default=0.0)
    told = [f"size: contribution score, up to {most:.2f}"] if most > 0 else []
    if graph.edges:
        told.append(f"width: messages + records + units, up to {graph.edges[0].weight}")
    return [" · ".join(told)] if told else []


def _framed(
    middle: Sequence[Shape],
    heading: Sequence[str],
    legend: Sequence[tuple[str, str]],
    notes: Sequence[str],
) -> Drawing:
    """All of it with room around: the heading, the middle, the legend, the notes."""
    box = _extent(middle)
    width = max(NARROWEST, box.right - box.left + 2 * MARGIN)
    shapes: list[Shape] = []
    y = MARGIN
    for n, part in enumerate(heading):
        size = SMALL if n else TITLE
        for line in _wrapped(part, width - 2 * MARGIN, size, n == 0):
            y += size * 0.8
            tone: Tone = "muted" if n else "ink"
            shapes.append(Words(Point(MARGIN, y), line, size, tone=tone, is_bold=n == 0))
            y += size * 0.8
    y += MARGIN if heading else 0
    across = (width - box.right - box.left) / 2
    shapes += [shape.moved(across, y - box.top) for shape in middle]
    y += box.bottom - box.top + MARGIN
    for row in _rows(legend, width - 2 * MARGIN):
        y += LINE + 2
        shapes += [shape.moved(MARGIN, y) for shape in row]
    y += LINE / 2 if legend and notes else 0
    for note in notes:
        for line in _wrapped(note, width - 2 * MARGIN, SMALL):
            y += LINE
            shapes.append(Words(Point(MARGIN, y), line, SMALL, tone="muted"))
    return Drawing(
        width, y + MARGIN, tuple(shapes), ". ".join(map(one_line, heading)) or ABOUT, ABOUT
    )


def _extent(shapes: Sequence[Shape]) -> Box:
    boxes = [shape.box for shape in shapes if not isinstance(shape, Curve)]
    left, right = min(box.left for box in boxes), max(box.right for box in boxes)
    return Box(left, min(box.top for box in boxes), right, max(box.bottom for box in boxes))


def _rows(legend: Sequence[tuple[str, str]], room: float) -> Iterator[list[Shape]]:
    row: list[Shape] = []
    x = 0.0
    for colour, text in legend:
        need = 20 + width_of(text, SMALL)
        if row and x + need > room:
            yield row
            row, x = [], 0.0
        row += [Disc(Point(x + 6, 0), 6, colour, ""), Words(Point(x + 18, 0), text, SMALL)]
        x += need + 14
    if row:
        yield row


def _wrapped(text: str, room: float, size: float, is_bold: bool = False) -> Iterator[str]:
    line = ""
    for word in one_line(text, LONGEST_TITLE).split():
        longer = f"{line} {word}".strip()
        if line and width_of(longer, size, is_bold) > room:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def shortened(text: str, limit: int) -> str:
    """On one line; of a long one both ends, for names often differ at the end."""
    text = one_line(text)
    head = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:head]}…{text[head + 1 - limit :]}"
