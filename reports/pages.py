"""Pages made of ``templates/``: each needs nothing but itself, and what AIs wrote is text on it."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coordinator.clock import iso
from reports import formats
from reports.graph.svg import STYLE
from reports.palette import DARK, LIGHT

_TEMPLATES = Environment(
    loader=PackageLoader("reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "iso": iso,
    "name": formats.name,
    "text": formats.text,
    "percent": formats.percent,
    "points": formats.points,
    "duration": formats.duration,
    "clock": formats.clock,
    "moment": formats.moment,
}
_TEMPLATES.globals |= {"light": LIGHT, "dark": DARK, "drawing_style": Markup(STYLE)}


def page_of(template: str, **values: object) -> str:
    """The page as HTML."""
    return _TEMPLATES.get_template(template).render(**values)
