"""Drawings as SVG, which follows the viewer's theme, light or dark."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from reports.graph.shapes import ROUNDING, Curve, Disc, Drawing, Plate, Shape, Words
from reports.palette import DARK, LIGHT

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
GRASP = 10.0
"""A thin line can be pointed at within so many pixels."""


def _variables(theme: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


STYLE = f"""
.coord-drawing {{ {_variables(LIGHT)} font-family: {FONTS}; }}
@media screen and (prefers-color-scheme: dark) {{ .coord-drawing {{ {_variables(DARK)} }} }}
.coord-drawing.inline {{ display: block; max-width: 100%; height: auto; }}
.coord-drawing .paper {{ fill: var(--paper); }}
.coord-drawing .plate {{ fill: var(--paper); fill-opacity: 0.9; pointer-events: none; }}
.coord-drawing text {{ dominant-baseline: central; unicode-bidi: isolate; white-space: pre; }}
.coord-drawing .ink {{ fill: var(--ink); }}
.coord-drawing .muted {{ fill: var(--muted); }}
.coord-drawing .edge path {{ fill: none; stroke: var(--line); stroke-linecap: round; }}
.coord-drawing .edge .grasp {{ stroke: transparent; }}
.coord-drawing .edge:hover .seen {{ stroke: var(--ink); stroke-opacity: 1; }}
.coord-drawing circle {{ stroke: var(--paper); stroke-width: 2px; }}
.coord-drawing .rim {{ fill: none; stroke: var(--ink); stroke-width: 1px; stroke-opacity: 0.45; }}
.coord-drawing .node:hover .rim {{ stroke-opacity: 1; stroke-width: 2px; }}
.coord-drawing a:hover text {{ text-decoration: underline; }}
.coord-drawing a:focus-visible {{ outline: none; }}
.coord-drawing .edge:focus-visible .grasp {{ stroke: var(--ink); stroke-opacity: 0.3; }}
.coord-drawing .edge:focus-visible .seen {{ stroke: var(--ink); stroke-opacity: 1; }}
.coord-drawing .node:focus-visible .rim {{ stroke-opacity: 1; stroke-width: 4px; }}
"""
"""Of the document; a page has it once for all drawings in it."""


def svg_of(drawing: Drawing, *, is_inline: bool = False) -> str:
    """The drawing as a document of its own; or as an element to be put into a page that has STYLE,
    no wider than there is room and on its background."""
    width, height = f"{drawing.width:.0f}", f"{drawing.height:.0f}"
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "coord-drawing inline" if is_inline else "coord-drawing",
            "viewBox": f"0 0 {width} {height}",
            "width": width,
            "height": height,
            "role": "group" if any(map(_href_of, drawing.shapes)) else "img",
            "aria-label": f"{drawing.title}. {drawing.about}",
        },
    )
    if not is_inline:
        SubElement(root, "style").text = STYLE
        SubElement(root, "rect", {"class": "paper", "width": width, "height": height})
    for shape in drawing.shapes:
        match shape:
            case Curve():
                _add_curve(root, shape)
            case Disc():
                _add_disc(root, shape)
            case Plate():
                _add_plate(root, shape)
            case Words():
                _add_words(root, shape)
    return ElementTree.tostring(root, encoding="unicode")


def _href_of(shape: Shape) -> str:
    return "" if isinstance(shape, Plate) else shape.href


def _add_curve(root: Element, curve: Curve) -> None:
    group = _group(root, "edge", curve)
    (x0, y0), (x1, y1), (x2, y2) = curve[:3]
    way = f"M{x0:.1f} {y0:.1f}Q{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}"
    if curve.thick < GRASP:
        grasp = {"class": "grasp", "d": way, "stroke-width": f"{GRASP:g}"}
        SubElement(group, "path", grasp)
    width, opacity = f"{curve.thick:.2f}", f"{curve.opacity:.2f}"
    seen = {"class": "seen", "d": way, "stroke-width": width, "stroke-opacity": opacity}
    SubElement(group, "path", seen)


def _add_disc(root: Element, disc: Disc) -> None:
    group = _group(root, "node", disc)
    place = {"cx": f"{disc.centre.x:.1f}", "cy": f"{disc.centre.y:.1f}"}
    SubElement(group, "circle", {**place, "r": f"{disc.radius + 1:.1f}", "fill": disc.colour})
    SubElement(group, "circle", {"class": "rim", **place, "r": f"{disc.radius:.1f}"})


def _add_plate(root: Element, plate: Plate) -> None:
    left, top, right, bottom = plate.box
    place = {"x": f"{left:.1f}", "y": f"{top:.1f}"}
    size = {"width": f"{right - left:.1f}", "height": f"{bottom - top:.1f}"}
    SubElement(root, "rect", {"class": "plate", **place, **size, "rx": f"{ROUNDING:g}"})


def _add_words(root: Element, words: Words) -> None:
    x, y = f"{words.at.x:.1f}", f"{words.at.y:.1f}"
    look = {
        "class": words.tone,
        "x": x,
        "y": y,
        "font-size": f"{words.size:g}",
        "text-anchor": words.anchor,
    }
    if words.is_bold:
        look["font-weight"] = "600"
    if words.turn:
        look["transform"] = f"rotate({words.turn:.2f} {x} {y})"
    parent = root
    if words.title or words.href:
        parent = _group(root, "words", words)
    SubElement(parent, "text", look).text = words.text


def _group(root: Element, kind: str, shape: Curve | Disc | Words) -> Element:
    """What its parts are put into: a link if it leads anywhere, by which it has its id, too. Words
    lead where the disc beside them does: the keyboard comes to that alone."""
    if not shape.href:
        group = SubElement(root, "g", {"class": kind})
    elif isinstance(shape, Words):
        hidden = {"tabindex": "-1", "aria-hidden": "true"}
        group = SubElement(root, "a", {"class": kind, "href": shape.href, **hidden})
    else:
        told = {"id": shape.href, "aria-label": shape.title.replace("\n", ", ")}
        group = SubElement(root, "a", {"class": kind, "href": shape.href, **told})
    if shape.title:
        SubElement(group, "title").text = shape.title
    return group
