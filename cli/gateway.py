"""``coord gateway``: the way in for AIs that come by TCP."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.options import (
    NamespaceOption,
    RedisOption,
    StateDirOption,
    explained,
    fault,
    load_settings,
)
from coordinator.clock import RandomIds, SystemClock
from coordinator.connection import connect, connect_async, resolve_url
from coordinator.credentials import check_pepper, read_pepper
from coordinator.gateway import Gateway, GatewaySettings
from coordinator.keys import Keys
from coordinator.settings import Settings

log = logging.getLogger("coord.gateway")

ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where AIs come in; a port of 0 takes a free one.",
        show_default="COORD_GATEWAY_LISTEN, else 127.0.0.1:6000",
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM): TLS 1.2 or newer."),
]
TlsKeyOption = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")
]
TlsClientCaOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-ca",
        metavar="FILE",
        help="Only clients with a certificate of this authority (PEM) get in.",
    ),
]
InsecureBindOption = Annotated[
    bool,
    typer.Option("--insecure-bind", help="Any address without TLS: tokens can be read on the way."),
]


def gateway(
    listen: ListenOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_client_ca: TlsClientCaOption = None,
    insecure_bind: InsecureBindOption = False,
    quiet: QuietOption = False,
    log_json: LogJsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run a gateway, in the foreground, until Ctrl-C or SIGTERM.

    AIs come in by TCP, with a token that `coord enroll` made. Several may serve one fleet.
    Without TLS it listens on loopback addresses alone.

    Example: coord gateway --listen 0.0.0.0:6000 --tls-cert cert.pem --tls-key key.pem
    """
    settings = load_settings(redis, namespace, state_dir, log_json=log_json or None)
    own = load_gateway_settings(listen, tls_cert, tls_key, tls_client_ca, insecure_bind)
    log_to_stderr(quiet, settings.log_json)
    made = make_gateway(own, settings, resolve_url(settings), read_pepper(settings))
    asyncio.run(_run_until_signal(made))
    log.info("stopped")


def load_gateway_settings(
    listen: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    insecure_bind: bool,
) -> GatewaySettings:
    """The options of a command, else COORD_GATEWAY_…, else the defaults.

    Exits with a usage error that names the option or variable that is wrong.
    """
    given: dict[str, Any] = {
        "listen": listen,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "insecure_bind": insecure_bind or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return GatewaySettings(**given)
    except ValidationError as error:
        raise typer.BadParameter(fault(error, given, "COORD_GATEWAY_")) from None


def make_gateway(own: GatewaySettings, settings: Settings, url: str, pepper: bytes) -> Gateway:
    """A gateway that listens already. Raises CannotListen, NoPepper, ServerUnusable."""
    with connect(url) as connection, explained(url):
        check_pepper(connection, Keys(settings.namespace), pepper)
    made = Gateway(
        own,
        settings,
        lambda name: connect_async(url, client_name=name),
        SystemClock(),
        RandomIds(),
        pepper,
    )
    made.bind()
    return made


async def _run_until_signal(made: Gateway) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stop_on_signals(lambda: loop.call_soon_threadsafe(stop.set))
    await made.run(stop)
