"""Templates filled in: what AIs wrote is text on a page, whatever it is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from coordinator.clock import iso
from coordinator.reads import Item
from reports import formats
from web.live.feed import Feed
from web.pages.views import MENU, View
from web.visitor import visitor_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing that stands in a page itself is run or styles it, and nothing comes from elsewhere."""


def page_url(path: str, **query: object) -> str:
    """A path with those parameters that are given."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def path_part(name: object) -> str:
    """A name as a part of a path; slashes stay, for ids have some."""
    return quote(str(name), safe="/")


def ago(ms: float) -> str:
    """How long ago something was, given how long that is."""
    return f"{formats.duration(ms)} ago"


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
            "duration": formats.duration,
            "iso": iso,
            "moment": formats.moment,
            "name": formats.name,
            "path_part": path_part,
            "percent": formats.percent,
            "text": formats.text,
        }
        self._environment.globals |= {"menu": MENU, "version": version, "page_url": page_url}

    def answer(
        self,
        request: HTTPConnection,
        template: str,
        values: Item,
        view: View | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """The page; without a ``view`` it belongs to none of the menu, and is not read anew."""
        visitor = visitor_of(request)
        around: dict[str, Any] = {
            "visitor": visitor,
            "notice": visitor.sign_in.take_notice() if visitor.sign_in else "",
            "here": str(request.url.path),
            "pulse": self._feed.pulse,
            "view": view,
            "title": view.title if view else "",
        }
        text = self._environment.get_template(template).render(around | values)
        return HTMLResponse(text, status, headers={"Content-Security-Policy": POLICY})
