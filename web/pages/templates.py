"""Templates filled in: what AIs wrote is text on a page, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from coordinator.clock import iso, ms_of
from coordinator.errors import CoordError
from coordinator.messages import RESERVED_IDS
from coordinator.reads import Item
from reports import formats
from reports.palette import UNKNOWN_COLOUR
from web.forms import local_path
from web.live.feed import Feed
from web.pages.json_text import pretty
from web.pages.tones import tone
from web.pages.urls import page_url, path_part
from web.pages.views import MENU, View
from web.visitor import visitor_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing that stands in a page itself is run or styles it, and nothing comes from elsewhere."""


def ago(ms: float) -> str:
    """How long ago something was, given how long that is."""
    return f"{formats.duration(ms)} ago"


def sentence(error: CoordError) -> str:
    """What it says, as people write it; the name of a field stays what it is."""
    said = formats.text(error.detail)
    field = getattr(error, "field", "")
    begin = said[:1] if field and said.startswith(field) else said[:1].upper()
    return f"{begin}{said[1:]}."


class Templates:
    """Those in web/templates."""

    def __init__(self, feed: Feed, version: str) -> None:
        self._feed = feed
        self._environment = Environment(
            loader=PackageLoader("web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": ago,
            "clock": formats.clock,
            "code": lambda source: formats.code(source)[0],
            "duration": formats.duration,
            "grouped": formats.grouped,
            "iso": iso,
            "moment": formats.moment,
            "ms_of": ms_of,
            "name": formats.name,
            "path_part": path_part,
            "percent": formats.percent,
            "pretty": pretty,
            "sentence": sentence,
            "size": formats.size,
            "text": formats.text,
            "tone": tone,
        }
        self._environment.globals |= {
            "menu": MENU,
            "page_url": page_url,
            "reserved_ids": RESERVED_IDS,
            "unknown_colour": UNKNOWN_COLOUR,
            "version": version,
        }

    def answer(
        self,
        request: HTTPConnection,
        template: str,
        values: Item,
        view: View | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """The page; without a ``view`` it belongs to none of the menu, and is not read anew."""
        visitor = visitor_of(request)
        around: dict[str, Any] = {
            "visitor": visitor,
            "notice": _take_notice(request),
            "here": address_of_page(request),
            "pulse": self._feed.pulse,
            "view": view,
            "title": view.title if view else "",
        }
        text = self._environment.get_template(template).render(around | values)
        return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, **(headers or {})})


def address_of_page(request: HTTPConnection) -> str:
    """The path that leads back to it, with its parameters; that of the first page for a path that
    a browser would take for another server."""
    path, query = path_part(request.scope["path"]), request.scope["query_string"].decode("latin-1")
    return local_path(f"{path}?{query}" if query else path)


def _take_notice(request: HTTPConnection) -> str:
    """For who opened the page; when a script reads it anew, it stays for them."""
    sign_in = visitor_of(request).sign_in
    is_opened = request.headers.get("sec-fetch-dest") != "empty"
    return sign_in.take_notice() if sign_in and is_opened else ""
