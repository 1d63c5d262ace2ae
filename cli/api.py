"""``coord api``: what a fleet says of itself over HTTP, for programs."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Annotated

import redis as redis_py
import typer

from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.options import (
    HttpOption,
    InsecureBindOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    TlsCertOption,
    TlsKeyOption,
    load_settings,
    settings_of,
)
from coordinator.clock import SystemClock
from coordinator.connection import connect, resolve_url
from coordinator.credentials import check_pepper_is_the_fleets, read_pepper
from coordinator.keys import Keys
from coordinator.settings import Settings
from web.app import DOCS, make_app
from web.listening import Listening, listen, listen_on
from web.seldom import Seldom
from web.server import make_server
from web.settings import WebSettings

log = logging.getLogger("coord.http")

READ_TIMEOUT_S = 5.0
"""A server that does not answer for so long is away."""

CAUSED_BY_ANYBODY = ("coord.http.tokens", "uvicorn.error")
"""Who logs what anybody who can connect may cause."""

RequireTokenOption = Annotated[
    bool,
    typer.Option("--require-token", help="Ask for a token on loopback addresses too."),
]
DescriptorOption = Annotated[
    list[int] | None, typer.Option("--fd", hidden=True, help="A socket that listens already.")
]


def api(
    http: HttpOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    insecure_bind: InsecureBindOption = False,
    require_token: RequireTokenOption = False,
    descriptors: DescriptorOption = None,
    quiet: QuietOption = False,
    log_json: LogJsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Answer over HTTP what the fleet knows, as JSON, in the foreground, until Ctrl-C or SIGTERM.

    Nothing can be changed by it. On a loopback address no token is needed; elsewhere that of an
    observer or operator is, and TLS. /api/docs shows what can be asked, /metrics is for Prometheus,
    /healthz and /readyz are for those who look after it. `coord serve` runs one, too.

    Example: coord api --http 0.0.0.0:8600 --tls-cert cert.pem --tls-key key.pem
    """
    settings = load_settings(redis, namespace, state_dir, log_json=log_json)
    own = settings_of(
        WebSettings,
        listen=http,
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure_bind=insecure_bind,
        require_token=require_token,
    )
    log_to_stderr(quiet, settings.log_json)
    listening = listen_on(own, descriptors) if descriptors else listen(own)
    with closing(listening):
        url = resolve_url(settings)
        if not descriptors:
            log.info("the API is at %s%s", listening.url, DOCS)
        run_api(own, settings, url, listening)
    log.info("the API has ended")


def run_api(own: WebSettings, settings: Settings, url: str, listening: Listening) -> None:
    """Answer until a signal comes. Raises NoPepper if tokens are needed and cannot be checked."""
    pepper = None
    if own.require_token or not listening.is_local:
        pepper = read_pepper(settings)
        _check_pepper(settings, url, pepper)
    app = make_app(
        settings,
        own,
        lambda: connect(url, client_name="coord-api", socket_timeout_s=READ_TIMEOUT_S),
        SystemClock(),
        is_local=listening.is_local,
        pepper=pepper,
    )
    server = make_server(app, listening, own)
    for name in CAUSED_BY_ANYBODY:
        logging.getLogger(name).addFilter(Seldom(SystemClock()))

    def stop() -> None:
        server.should_exit = True

    stop_on_signals(stop)
    server.run(listening.sockets)


def _check_pepper(settings: Settings, url: str, pepper: bytes) -> None:
    """As far as the server answers now; without the right one no token ever fits."""
    try:
        with connect(url, socket_timeout_s=READ_TIMEOUT_S) as connection:
            check_pepper_is_the_fleets(connection, Keys(settings.namespace), pepper)
    except redis_py.RedisError as error:
        log.warning("whether the pepper is the fleet's could not be checked: %s", error)
