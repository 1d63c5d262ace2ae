"""Addresses of pages."""

from __future__ import annotations

from urllib.parse import quote, urlencode

SIGN_IN = "/sign-in"


def page_url(path: str, **query: object) -> str:
    """A path with those parameters that are given."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def path_part(name: object) -> str:
    """A name as a part of a path. Slashes stay, for ids have some; but none beside a dot, where a
    browser would see a way up."""
    return quote(str(name), safe="/").replace("/.", "%2F.").replace("./", ".%2F")
