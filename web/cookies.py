"""The cookie by which a browser that has signed in is known."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from web.sign_ins import LASTS_S


def read_key(request: HTTPConnection) -> str:
    """The key of a sign-in; "" if there is none."""
    return request.cookies.get(_name(request), "")


def keep_key(response: Response, request: HTTPConnection, key: str) -> None:
    response.set_cookie(_name(request), key, max_age=LASTS_S, **_bounds(request))


def forget_key(response: Response, request: HTTPConnection) -> None:
    response.delete_cookie(_name(request), **_bounds(request))


def _name(request: HTTPConnection) -> str:
    """Browsers share cookies among the ports of a host: each server has one of its own. With TLS
    the prefix keeps others from setting it."""
    port = request.headers.get("host", "").rpartition(":")[2]
    prefix = "__Host-" if _is_secure(request) else ""
    return f"{prefix}coord-{port if port.isdecimal() else 0}"


def _bounds(request: HTTPConnection) -> dict[str, Any]:
    """No script reads it, and no other site's page makes a browser send it."""
    return {"secure": _is_secure(request), "httponly": True, "samesite": "strict"}


def _is_secure(request: HTTPConnection) -> bool:
    return bool(request.scope["scheme"] == "https")
