"""``coord dashboard``: the fleet in a browser, and over HTTP for programs."""

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
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.settings import Settings
from web.app import make_app
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


def dashboard(
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
    """Serve the dashboard and the HTTP API, in the foreground, until Ctrl-C or SIGTERM.

    On a loopback address everybody may look; elsewhere the token of an observer or operator is
    needed, and TLS. Who wants to act signs in as an operator. /api/docs shows what programs can
    ask, /metrics is for Prometheus, /healthz and /readyz are for those who look after it.
    `coord serve` runs one, too.

    Example: coord dashboard --http 0.0.0.0:8600 --tls-cert cert.pem --tls-key key.pem
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
            log.info("the dashboard is at %s", listening.url)
        run_dashboard(own, settings, url, listening)
    log.info("the dashboard has ended")


def run_dashboard(own: WebSettings, settings: Settings, url: str, listening: Listening) -> None:
    """Answer until a signal comes. Raises NoPepper if tokens are needed and cannot be checked."""
    asks_token = own.require_token or not listening.is_local
    pepper = None
    try:
        pepper = _pepper(settings, url)
    except CoordError as error:
        if asks_token:
            raise
        log.warning("nobody can sign in: %s", error)
    app = make_app(
        settings,
        own,
        lambda: connect(url, client_name="coord-dashboard", socket_timeout_s=READ_TIMEOUT_S),
        SystemClock(),
        is_local=listening.is_local,
        pepper=pepper,
        asks_token=asks_token,
    )
    server = make_server(app, listening, own)
    for name in CAUSED_BY_ANYBODY:
        logging.getLogger(name).addFilter(Seldom(SystemClock()))

    def stop() -> None:
        server.should_exit = True
        app.state.feed.end()

    stop_on_signals(stop)
    app.state.feed.start()
    server.run(listening.sockets)
    app.state.feed.join()


def _pepper(settings: Settings, url: str) -> bytes:
    """The fleet's, as far as the server answers now: by another one no token ever fits."""
    pepper = read_pepper(settings)
    try:
        with connect(url, socket_timeout_s=READ_TIMEOUT_S) as connection:
            check_pepper_is_the_fleets(connection, Keys(settings.namespace), pepper)
    except redis_py.RedisError as error:
        log.warning("whether the pepper is the fleet's could not be checked: %s", error)
    return pepper
