"""What is answered to a request that is refused: a page for people, JSON for programs."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from web.answers import ApiError, headers_of, refused
from web.forms import local_path
from web.pages.templates import Templates, address_of_page
from web.pages.urls import SIGN_IN, page_url

HEADINGS = {
    400: "That cannot be asked",
    403: "That is not allowed",
    404: "There is nothing here",
    405: "That cannot be done here",
    413: "That is too much",
    429: "Too many wrong tokens",
    500: "Something went wrong",
    503: "Not at the moment",
}
PROGRAMS = ("/api/", "/static/")
"""Nobody looks at what is below."""


def answer_refusal(templates: Templates, error: ApiError, request: HTTPConnection) -> Response:
    """People without a token are led to where they can sign in."""
    accepted = request.headers.get("accept", "")
    if request.scope["path"].startswith(PROGRAMS) or "text/html" not in accepted:
        return refused(error)
    if error.status == 401:
        return RedirectResponse(page_url(SIGN_IN, to=address_of_page(request)), 303)
    heading = HEADINGS[error.status]
    values = {
        "title": heading,
        "error": error,
        "may_repeat": request.scope["method"] == "GET",
        "again": local_path(address_of_page(request)),
    }
    return templates.answer(
        request, "error.html", values, status=error.status, headers=headers_of(error)
    )
