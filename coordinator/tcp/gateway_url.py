"""Where a gateway is: its URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from coordinator.connection import redact
from coordinator.errors import ServerUnusable

SCHEMES = ("coord", "coords")
PORT = 6000

_URL_FORM = "coord://host[:6000], or coords://host[:6000] with TLS"


class Address(NamedTuple):
    """Where a gateway listens."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def is_gateway_url(url: str) -> bool:
    return url.partition("://")[0].lower() in SCHEMES


def parse_address(url: str) -> Address:
    """The address in a coord URL. Raises ServerUnusable, which names the part that is wrong."""
    if fault := _fault_in(url):
        raise ServerUnusable(f"the gateway URL {redact(url)!r} is wrong in its {fault}")
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or PORT, parts.scheme == "coords")


def _fault_in(url: str) -> str:
    """What is wrong with ``url`` as "field: rule and fix", or ""."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"host or port: write {_URL_FORM}"
    if "@" in parts.netloc:
        return (
            "login: it has none; give the token by COORD_TOKEN, or by the name of a file that holds"
            " it in COORD_TOKEN_FILE"
        )
    if not parts.hostname:
        return f"host: it must be named, as in {_URL_FORM}"
    if port == 0:
        return f"port: it must be 1 to 65535, as in {_URL_FORM}"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return f"path: nothing comes after the port, as in {_URL_FORM}"
    return ""
