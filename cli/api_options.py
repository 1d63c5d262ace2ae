"""Where the HTTP API listens, as commands are told; what starts one in another process needs no
more of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.options import fault
from web.settings import WebSettings

HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Where the HTTP API listens; a port of 0 takes a free one.",
        show_default="COORD_HTTP_LISTEN, else 127.0.0.1:8600",
    ),
]


def load_web_settings(
    http: str | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure_bind: bool = False,
    require_token: bool = False,
) -> WebSettings:
    """The options of a command, else COORD_HTTP_…, else the defaults.

    Exits with a usage error that names the option or variable that is wrong.
    """
    given: dict[str, Any] = {
        "listen": http,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "insecure_bind": insecure_bind or None,
        "require_token": require_token or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return WebSettings(**given)
    except ValidationError as error:
        raise typer.BadParameter(fault(error, given, "COORD_HTTP_")) from None
