"""``coord gateway``: the way in for AIs that come by TCP."""

from __future__ import annotations

import asyncio
import logging

from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.options import (
    InsecureBindOption,
    ListenOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    TlsCertOption,
    TlsClientCaOption,
    TlsKeyOption,
    explained,
    load_settings,
    settings_of,
)
from coordinator.clock import RandomIds, SystemClock
from coordinator.connection import connect, connect_async, resolve_url
from coordinator.credentials import check_pepper, read_pepper
from coordinator.gateway import Gateway, GatewaySettings
from coordinator.keys import Keys
from coordinator.settings import Settings

log = logging.getLogger("coord.gateway")


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
    settings = load_settings(redis, namespace, state_dir, log_json=log_json)
    own = settings_of(
        GatewaySettings,
        listen=listen,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        insecure_bind=insecure_bind,
    )
    log_to_stderr(quiet, settings.log_json)
    made = make_gateway(own, settings, resolve_url(settings), read_pepper(settings))
    asyncio.run(_run_until_signal(made))
    log.info("stopped")


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
