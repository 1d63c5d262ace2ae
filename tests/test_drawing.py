"""Pictures of graphs: complete, readable at every size, the same each time, harmless."""

from __future__ import annotations

import io
import itertools
import math
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from coordinator.messages import one_line
from reports.graph.drawing import EDGES_MAX, Links, draw, shortened
from reports.graph.graph import Graph
from reports.graph.page import graph_page
from reports.graph.png import SCALE, png_of
from reports.graph.shapes import Box, Curve, Disc, Drawing, Words
from reports.graph.svg import svg_of
from reports.palette import DARK, LIGHT, SPECIALIZATION_COLOURS, UNKNOWN_COLOUR, colours_of
from tests.pictures import HOSTILE, graph_with

SVG = "{http://www.w3.org/2000/svg}"
SIZES = ((0, 0), (1, 0), (2, 1), (3, 2), (8, 14), (12, 30), (13, 20), (30, 60), (200, 800))


def of(drawing: Drawing, kind: Any) -> list[Any]:
    return [shape for shape in drawing.shapes if isinstance(shape, kind)]


def pixels(drawing: Drawing) -> NDArray[numpy.uint8]:
    with Image.open(io.BytesIO(png_of(drawing))) as image:
        return numpy.asarray(image.convert("RGB"))


def colour_at(image: NDArray[numpy.uint8], x: float, y: float) -> tuple[int, ...]:
    return tuple(int(part) for part in image[round(y * SCALE), round(x * SCALE)])


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgb(colour))


def gap(disc: Disc, box: Box) -> float:
    """How far they are apart; below 0 if one lies on the other."""
    x, y = disc.centre
    aside, above = max(box.left - x, 0, x - box.right), max(box.top - y, 0, y - box.bottom)
    return math.hypot(aside, above) - disc.radius


@pytest.mark.parametrize(("count", "edges"), SIZES)
def test_nothing_lies_on_anything_or_leaves_the_paper(count: int, edges: int) -> None:
    drawing = draw(graph_with(count, edges), ["Title", "more"], ["a note"])
    upright = [words.box for words in of(drawing, Words) if not words.turn]
    turned = [words.box for words in of(drawing, Words) if words.turn]
    discs = of(drawing, Disc)
    assert not any(one.meets(other) for one, other in itertools.combinations(upright, 2))
    for one, other in itertools.combinations(discs, 2):
        assert math.dist(one.centre, other.centre) > one.radius + other.radius
    for disc, box in itertools.product(discs, upright):
        assert gap(disc, box) > 0
    for box in (*upright, *turned, *(disc.box for disc in discs)):
        assert 0 <= box.left < box.right <= drawing.width
        assert 0 <= box.top < box.bottom <= drawing.height


@pytest.mark.parametrize(("count", "edges"), SIZES)
def test_everybody_is_drawn_and_named_as_far_as_there_is_room(count: int, edges: int) -> None:
    graph = graph_with(count, edges)
    drawing = draw(graph)
    shown = {words.text for words in of(drawing, Words)}
    named = [node.id for node in graph.nodes if node.id in shown]
    pointed_at = [disc.title.split("\n")[0] for disc in of(drawing, Disc) if disc.title]
    assert sorted(pointed_at) == sorted(node.id for node in graph.nodes)
    assert len(named) == min(count, 60)
    assert len(of(drawing, Curve)) == min(len(graph.edges), EDGES_MAX)
    left_out = f"{len(graph.edges) - EDGES_MAX} lighter edges are left out"
    assert (left_out in shown) == (len(graph.edges) > EDGES_MAX)


def test_the_more_the_larger_and_the_wider() -> None:
    graph = graph_with(8, 20)
    drawing = draw(graph)
    radii = {disc.title.split("\n")[0]: disc.radius for disc in of(drawing, Disc) if disc.title}
    by_contribution = sorted(graph.nodes, key=lambda node: node.contribution)
    assert [radii[node.id] for node in by_contribution] == sorted(radii.values())
    widths = [curve.thick for curve in of(drawing, Curve)]
    assert widths == sorted(widths)  # the heaviest is drawn last, above the others
    assert len(set(widths)) > 3


def test_edges_are_labelled_with_what_the_work_was() -> None:
    drawing = draw(graph_with(2, 1))
    texts = [words.text for words in of(drawing, Words)]
    assert "feature" in texts
    assert re.fullmatch(r"AI_Node_0 \(\d+ of \d+\)", texts[texts.index("feature") + 1])
    (curve,) = of(drawing, Curve)
    first, *works = curve.title.split("\n")
    assert re.fullmatch(
        r"AI_Node_0 and AI_Node_1: \d+ messages, \d+ records begun from the other's, \d+ units",
        first,
    )
    assert [work.split(":")[0] for work in works] == ["feature AI_Node_0", "message"]


@pytest.mark.parametrize(
    ("graph", "said"),
    [(Graph((), ()), "No AI was there"), (graph_with(3, 0), "nobody worked with anybody")],
)
def test_a_fleet_without_work_is_said_to_be_one(graph: Graph, said: str) -> None:
    assert said in {words.text for words in of(draw(graph), Words)}
    assert pixels(draw(graph)).min() < 255


@pytest.mark.parametrize(("count", "edges"), [(2, 1), (8, 14), (30, 60)])
def test_the_png_shows_each_ai_in_its_colour(count: int, edges: int) -> None:
    graph = graph_with(count, edges)
    drawing = draw(graph, ["Title"])
    image = pixels(drawing)
    assert image.shape == (int(drawing.height * SCALE), int(drawing.width * SCALE), 3)
    colours = colours_of(node.specialization for node in graph.nodes)
    wanted = {node.id: colours[node.specialization] for node in graph.nodes}
    for disc in of(drawing, Disc):
        if disc.title:
            assert disc.colour == wanted[disc.title.split("\n")[0]]
        assert colour_at(image, *disc.centre) == rgb(disc.colour)
    assert colour_at(image, 2, 2) == rgb(LIGHT["paper"])


def test_the_same_graph_gives_the_same_bytes() -> None:
    first, second = (draw(graph_with(30, 60), ["Title"]) for _ in range(2))
    assert svg_of(first) == svg_of(second)
    assert png_of(first) == png_of(second)


def test_an_ai_stays_where_it_is_whatever_it_does() -> None:
    one, other = graph_with(8, 5), graph_with(8, 20)
    places = [
        [disc.centre for disc in of(draw(Graph(one.nodes, edges)), Disc)]
        for edges in (one.edges, other.edges)
    ]
    assert places[0] == places[1]


@pytest.mark.parametrize("is_inline", [True, False])
def test_hostile_names_are_text_in_an_svg(is_inline: bool) -> None:
    drawing = draw(graph_with(list(HOSTILE), 20), HOSTILE, HOSTILE)
    root = ElementTree.fromstring(svg_of(drawing, is_inline=is_inline))
    shapes = {"svg", "g", "title", "rect", "path", "circle", "text"}
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == (shapes if is_inline else shapes | {"style"})
    assert not any("style" in element.attrib for element in root.iter())
    titles = {(title.text or "").split("\n")[0] for title in root.iter(f"{SVG}title")}
    texts = {text.text for text in root.iter(f"{SVG}text")}
    for name in HOSTILE:
        assert one_line(name) in titles
        assert shortened(name, 26) in texts


def test_ais_and_edges_lead_somewhere_by_mouse_and_keyboard() -> None:
    graph = graph_with(list(HOSTILE), 20)
    links = Links(lambda ai: f"/ai/{ai!r}", lambda a, b: f"/pair/{a!r}/{b!r}")
    root = ElementTree.fromstring(svg_of(draw(graph, links=links), is_inline=True))
    by_mouse, by_key = [], []
    for link in root.iter(f"{SVG}a"):
        (by_mouse if link.get("tabindex") == "-1" else by_key).append(link)
    ais = {links.of_ai(node.id) for node in graph.nodes}
    pairs = {links.of_pair(edge.a, edge.b) for edge in graph.edges}
    assert sorted(link.attrib["href"] for link in by_key) == sorted(ais | pairs)
    assert {link.attrib["href"] for link in by_mouse} == ais
    assert len({link.attrib["id"] for link in by_key}) == len(by_key)
    assert all(link.get("aria-hidden") == "true" for link in by_mouse)
    labels = {link.attrib["aria-label"] for link in by_key}
    assert any(label.startswith("{{ 7 * 7 }}, ") for label in labels)
    assert root.get("role") == "group"


def test_hostile_names_are_text_in_a_png() -> None:
    names = [name for name in HOSTILE if "\ud800" not in name]
    pixels(draw(graph_with(names, 10), names, names))


class Elements(HTMLParser):
    """The elements of a page, and what would be fetched or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.alive: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.alive += [n for n, _ in attrs if n.startswith("on") or n in ("src", "href")]


def test_a_page_holds_all_in_text_and_runs_nothing() -> None:
    graph = graph_with(list(HOSTILE), 20)
    page = graph_page(graph, HOSTILE, HOSTILE)
    elements = Elements(page)
    assert not elements.found & {"script", "link", "img", "iframe", "object"}
    assert elements.alive == []
    assert "default-src 'none'" in page
    assert page.count("<tr ") == len(graph.edges) + len(graph.nodes) + 2
    assert "49" not in re.findall(r"[^\w]49[^\w]", page)
    page.encode()


def test_a_page_of_a_large_fleet_is_bounded() -> None:
    page = graph_page(graph_with(400, 3000), ["Who"], [])
    assert re.search(r"The heaviest 300 of [\d,]+ pairs", page)
    assert "300 of 400 AIs" in page
    assert len(page) < 1_000_000


@pytest.mark.parametrize(
    ("graph", "said"), [(Graph((), ()), "No AI was there"), (graph_with(2, 0), "Nobody sent")]
)
def test_a_page_without_work_says_so(graph: Graph, said: str) -> None:
    assert said in graph_page(graph, ["Who"], [])


# -- colours ---------------------------------------------------------------------------------------

BLINDNESS = {
    "none": numpy.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What each makes of linear red, green and blue (Machado and others, 2009)."""
TO_XYZ = numpy.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = numpy.array([0.9505, 1.0, 1.089])


def linear(colour: str) -> NDArray[numpy.float64]:
    parts = numpy.array(to_rgb(colour))
    return numpy.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: str, blindness: str) -> NDArray[numpy.float64]:
    """The colour as it is seen, in CIELAB, where distances are about as large as they look."""
    seen = numpy.clip(numpy.array(BLINDNESS[blindness]) @ linear(colour), 0, 1)
    x, y, z = numpy.cbrt(TO_XYZ @ seen / WHITE)
    return numpy.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_can_be_told_apart(blindness: str) -> None:
    seen = {name: lab(colour, blindness) for name, colour in SPECIALIZATION_COLOURS.items()}
    for one, other in itertools.combinations(seen, 2):
        assert numpy.linalg.norm(seen[one] - seen[other]) > 19, (one, other)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_and_lines_can_be_read_on_their_paper(theme: dict[str, str]) -> None:
    light = {name: float(TO_XYZ[1] @ linear(colour)) for name, colour in theme.items()}
    for name in ("ink", "muted", "line"):
        high, low = sorted((light[name], light["paper"]), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_own_specializations_have_colours_of_their_own() -> None:
    found = colours_of(["zeta", "audio", "", "alpha"])
    assert list(found) == ["audio", "alpha", "zeta", ""]
    assert len(set(found.values())) == 4
    assert (found["audio"], found[""]) == (SPECIALIZATION_COLOURS["audio"], UNKNOWN_COLOUR)
