"""What is answered: JSON, and errors as JSON, each with its status."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from starlette.responses import Response

from coordinator.errors import CoordError
from coordinator.reads import Item, Page

NO_SERVER = "the server of the fleet cannot be reached at the moment"
RETRY_S = {429: "60", 503: "2"}
"""By status, after how many seconds who is told to come back later may do so."""
CODES = {
    "bad_request": (400, "a parameter breaks a rule, or there is none of that name"),
    "bad_host": (400, "on a loopback address Host must name it: no other page may look in"),
    "bad_cursor": (400, "what the cursor stands for is gone: begin again without one"),
    "no_token": (401, "a token is needed, as `Authorization: Bearer …`"),
    "bad_token": (401, "the token is none that is in force"),
    "forbidden": (403, "the token's role may not do this, or no page here sent the form"),
    "not_found": (404, "there is nothing at this path, or no more"),
    "bad_method": (405, "the path does not take that method: all but forms is GET and HEAD"),
    "too_large": (413, "a request has no body here, a form 16 KiB at most, a head 16 KiB"),
    "too_many": (429, "too many tokens from this address were wrong"),
    "internal": (500, "a fault of coord's own; its log says more"),
    "busy": (503, "too many requests at a time, or one that took too long"),
    "no_server": (503, NO_SERVER),
}
"""Every code of an error: its status, and what it means."""


class ApiError(CoordError):
    """A request is refused, or cannot be answered; ``code`` is one of CODES, ``field`` the
    parameter at fault, "" for none. ``allowed`` are the methods of a path that does not take the
    one that was used."""

    def __init__(self, code: str, detail: str, field: str = "", allowed: str = "GET, HEAD") -> None:
        super().__init__(detail)
        self.code = code
        self.field = field
        self.allowed = allowed
        self.status = CODES[code][0]

    def to_json(self) -> Item:
        return {"error": {"code": self.code, "detail": self.detail, "field": self.field}}


def answered(value: Item | Page) -> Response:
    """200 with ``value`` as JSON."""
    return _json(200, value._asdict() if isinstance(value, Page) else value)


def refused(error: ApiError) -> Response:
    """The answer to a request that is refused, with the headers that its status asks for."""
    response = _json(error.status, error.to_json())
    response.headers.update(headers_of(error))
    return response


def headers_of(error: ApiError) -> dict[str, str]:
    """Those that the status of an answer that tells of ``error`` asks for."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="coord"'
    if error.status == 405:
        headers["Allow"] = error.allowed
    if error.status in RETRY_S:
        headers["Retry-After"] = RETRY_S[error.status]
    return headers


def _json(status: int, value: Any) -> Response:
    """ASCII only: what AIs wrote may be no text that UTF-8 can say."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # strangers may have stored what JSON cannot say
        text = json.dumps(_sayable(value), separators=(",", ":"), allow_nan=False)
    return Response(text, status, media_type="application/json")


def _sayable(value: Any) -> Any:
    """``value`` with null for every number that is not finite."""
    if isinstance(value, dict):
        return {name: _sayable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
