"""The page that shows people the endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from web.answers import CODES
from web.endpoints import ROOT, STREAM, Endpoint, MonitoringPage
from web.openapi import parameters, parameters_of, plain_path
from web.pages.templates import Templates
from web.parameters import StreamQuery

EXAMPLES = {
    "ai_id": "AI_Node_1",
    "id": "buffer_cache.AI_Node_1.3",
    "session_id": "3f9a0c1b2d4e",
    "name": "buffer_cache",
}
"""What stands for a parameter of a path where an example is shown."""


def docs_page(
    templates: Templates, endpoints: Sequence[Endpoint], pages: Sequence[MonitoringPage]
) -> Callable[[Request], Response]:
    """What serves it."""
    shown = [
        {
            "name": one.name,
            "path": ROOT + plain_path(one.path),
            "summary": one.summary,
            "is_private": one.is_private,
            "is_list": one.is_list,
            "parameters": parameters(one),
            "about": one.schema.__doc__ or "",
            "fields": _fields(one),
            "example": example_of(one),
        }
        for one in endpoints
    ]
    values = {
        "title": "HTTP API",
        "endpoints": shown,
        "stream": {"path": STREAM, "parameters": parameters_of(StreamQuery, STREAM)},
        "pages": pages,
        "codes": CODES,
    }
    return lambda request: templates.answer(request, "docs.html", values)


def example_of(endpoint: Endpoint) -> str:
    """A path that can be asked for."""
    path = re.sub(r"\{(\w+)\}", lambda found: EXAMPLES[found[1]], plain_path(endpoint.path))
    return f"{ROOT}{path}{endpoint.example}"


def _fields(endpoint: Endpoint) -> list[tuple[str, str]]:
    fields = endpoint.schema.model_fields
    return [(name, field.description or "") for name, field in fields.items()]
