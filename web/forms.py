"""What a browser sends by a form, and how it is known that a page of this server asked for it."""

from __future__ import annotations

import hmac
import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from pydantic import Field
from starlette.requests import Request

from web.answers import ApiError
from web.parameters import Query
from web.sign_ins import SignIn

FORM_TYPE = "application/x-www-form-urlencoded"
FIELDS_MAX = 20
HOME = "/"
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f]{0,2047}")

Fields = list[tuple[str, str]]


class Form(NamedTuple):
    """A request, and the fields of its body that were filled in."""

    request: Request
    fields: Fields


class ReturnQuery(Query):
    """``to`` is the page that it goes on with from there."""

    to: str = HOME


class SignedForm(Query):
    """What every form of who has signed in brings back."""

    form_key: str = Field("", max_length=128, repr=False)


def parse_form(request: Request, body: bytes) -> Form:
    """Raises ApiError ``forbidden`` if another site's page sent it, ``bad_request`` if it is no
    form."""
    _check_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise ApiError("bad_request", f"a form is sent as {FORM_TYPE}", "content-type")
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        detail = f"the form is not written as {FORM_TYPE} of UTF-8, of {FIELDS_MAX} fields at most"
        raise ApiError("bad_request", detail) from None
    return Form(request, fields)


def check_form_key(sign_in: SignIn, given: str) -> None:
    """Raises ApiError ``forbidden`` unless the form is one that ``sign_in`` was shown."""
    if not hmac.compare_digest(sign_in.form_key.encode(), given.encode()):
        raise ApiError(
            "forbidden", "the form is of an earlier sign-in: open the page again", "form_key"
        )


def local_path(to: str) -> str:
    """``to`` if it leads to a page of this server, else HOME."""
    return to if _LOCAL_PATH.fullmatch(to) else HOME


def _check_origin(request: Request) -> None:
    """Cookies go along from every port of this host: host and port must be our own."""
    origin = request.headers.get("origin", "")
    host = origin.partition("://")[2]
    site = request.headers.get("sec-fetch-site", "same-origin")
    if not host or host != request.headers.get("host") or site != "same-origin":
        raise ApiError("forbidden", "a form is sent by a page of this server alone", "origin")
