"""The page that shows people the endpoints: made once, without scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from web.answers import CODES
from web.endpoints import ROOT, STREAM, Endpoint, MonitoringPage
from web.openapi import parameters, parameters_of, plain_path
from web.parameters import StreamQuery

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = {
    "ai_id": "AI_Node_1",
    "id": "buffer_cache.AI_Node_1.3",
    "session_id": "3f9a0c1b2d4e",
    "name": "buffer_cache",
}
"""What stands for a parameter of a path where an example is shown."""


def docs_page(
    endpoints: Sequence[Endpoint], pages: Sequence[MonitoringPage], version: str
) -> Response:
    """The page as it is answered; its one style is named by its hash in the policy."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "docs.css").read_text()
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
    text = environment.get_template("docs.html").render(
        endpoints=shown,
        stream={"path": STREAM, "parameters": parameters_of(StreamQuery, STREAM)},
        pages=pages,
        codes=CODES,
        version=version,
        style=style,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def example_of(endpoint: Endpoint) -> str:
    """A path that can be asked for."""
    path = re.sub(r"\{(\w+)\}", lambda found: EXAMPLES[found[1]], plain_path(endpoint.path))
    return f"{ROOT}{path}{endpoint.example}"


def _fields(endpoint: Endpoint) -> list[tuple[str, str]]:
    fields = endpoint.schema.model_fields
    return [(name, field.description or "") for name, field in fields.items()]
