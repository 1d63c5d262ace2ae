"""``coord gateway``: the door for AIs that come by TCP, as a process or beside a coordinator."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.foreground import QuietOption, log_to_stderr
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
from coordinator.credentials import check_pepper, ensure_pepper, read_pepper
from coordinator.errors import CoordError
from coordinator.gateway import Gateway, GatewaySettings
from coordinator.keys import Keys
from coordinator.settings import Settings

log = logging.getLogger("coord.gateway")

AGAIN_S = 2.0
"""The pause before a gateway that could not begin, or has ended, is begun again."""

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
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run a gateway, in the foreground, until Ctrl-C or SIGTERM.

    AIs come in by TCP, with a token that `coord enroll` made. Several may serve one fleet.
    Without TLS it listens on loopback addresses alone.

    Example: coord gateway --listen 0.0.0.0:6000 --tls-cert cert.pem --tls-key key.pem
    """
    settings = load_settings(redis, namespace, state_dir)
    own = load_gateway_settings(listen, tls_cert, tls_key, tls_client_ca, insecure_bind)
    log_to_stderr(quiet)
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


@contextmanager
def gateway_beside(own: GatewaySettings, settings: Settings, url: str) -> Iterator[None]:
    """Run a gateway in a thread meanwhile.

    Nobody asked for the one at the default address: if it cannot be, a warning says why, and it is
    tried again, for what has its port may go. One that was asked for by ``listen`` raises
    CannotListen, NoPepper or ServerUnusable.
    """

    def make() -> Gateway:
        return make_gateway(own, settings, url, ensure_pepper(settings))

    first = make() if "listen" in own.model_fields_set else None
    beside = _GatewayThread(make, first)
    beside.start()
    try:
        yield
    finally:
        beside.stop()


class _GatewayThread(Thread):
    """A gateway in an event loop of its own; ``make`` makes another one when it has ended."""

    def __init__(self, make: Callable[[], Gateway], first: Gateway | None) -> None:
        super().__init__(name="coord-gateway")
        self._make = make
        self._first = first
        self._stop_event = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop_event.set)
        self.join()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        said = ""
        while not self._stop_event.is_set():
            try:
                made, self._first = self._first or self._make(), None
                said = ""
                await made.run(self._stop_event)
            except CoordError as error:
                if error.detail != said:
                    log.warning("no gateway: %s", error)
                said = error.detail
            except Exception as error:
                log.exception("the gateway has ended, and is begun again: %r", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_event.wait(), AGAIN_S)


async def _run_until_signal(made: Gateway) -> None:
    """The second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(end, number))
    await made.run(stop)
