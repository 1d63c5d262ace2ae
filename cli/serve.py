"""``coord serve`` and ``coord stop``: the coordinator as a process, and the end of its server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Annotated

import redis as redis_py
import typer

from cli.companions import archive_beside, dashboard_beside
from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.gateway_thread import gateway_beside
from cli.options import (
    HttpOption,
    InsecureBindOption,
    KeepInOption,
    ListenOption,
    NamespaceOption,
    NoHttpOption,
    RedisOption,
    StateDirOption,
    TlsCertOption,
    TlsClientCaOption,
    TlsKeyOption,
    load_settings,
    settings_of,
)
from cli.output import complain, plain, say
from coordinator import embedded
from coordinator.archive.archive import Archive
from coordinator.clock import RandomIds, SystemClock, instance_id
from coordinator.connection import COORDINATOR, connect, named_url, redact, server_run_id
from coordinator.coordinator import Coordinator
from coordinator.credentials import ensure_pepper
from coordinator.errors import CoordError
from coordinator.gateway import GatewaySettings
from coordinator.keys import Keys
from coordinator.listening import parse_listen
from coordinator.server_check import check_server
from coordinator.settings import Settings
from coordinator.status import read_holder
from web.settings import WebSettings

log = logging.getLogger("coord")

LOOK_EVERY_S = 0.5
REVIVE_AGAIN_S = 10.0
"""The pause after an embedded server that died did not start again."""
_NOTHING = nullcontext()


NoGatewayOption = Annotated[
    bool, typer.Option("--no-gateway", help="No way in for AIs that come by TCP.")
]


def serve(
    listen: ListenOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_client_ca: TlsClientCaOption = None,
    insecure_bind: InsecureBindOption = False,
    no_gateway: NoGatewayOption = False,
    http: HttpOption = None,
    no_http: NoHttpOption = False,
    archive: KeepInOption = None,
    quiet: QuietOption = False,
    log_json: LogJsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run the coordinator and a gateway, in the foreground, until Ctrl-C or SIGTERM.

    Uses the server named by --redis or COORD_REDIS_URL (RQ_REDIS_URL counts too), else starts an
    embedded one, which the other commands find by themselves, which is started again if it dies,
    and which runs on afterwards (`coord stop` ends it).
    A second `coord serve` stands by and takes over when the first one fails.

    AIs that come by TCP find the gateway at 127.0.0.1:6000, people the dashboard and programs the
    HTTP API at 127.0.0.1:8600. Where one is taken there is none until it is free; an address that
    is named by --listen or --http must be free. COORD_HTTP_TLS_CERT and its like are those of
    `coord dashboard`.

    Example: coord serve --redis redis://127.0.0.1:6379/0
    """
    settings = load_settings(redis, namespace, state_dir, log_json=log_json)
    of_gateway = settings_of(
        GatewaySettings,
        listen=listen,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        insecure_bind=insecure_bind,
    )
    of_dashboard = settings_of(WebSettings, listen=http)
    log_to_stderr(quiet, settings.log_json)
    stop_flag = Flag()
    stop_on_signals(stop_flag.set)
    parse_listen(of_gateway.listen)
    url, is_embedded = _server(settings)
    companions = Companions(
        gateway=None if no_gateway else of_gateway,
        dashboard=None if no_http else of_dashboard,
        archive=archive,
    )
    with _revived(settings.state_dir) if is_embedded else nullcontext():
        run_coordinator(settings, url, stop_flag, _beside(companions, settings, url, quiet))
    log.info("stopped")
    if is_embedded and embedded.find(settings.state_dir):
        log.info("the embedded server runs on; `coord stop` ends it")


@dataclass(frozen=True)
class Companions:
    """What runs beside the coordinator; None for what shall not."""

    gateway: GatewaySettings | None
    dashboard: WebSettings | None
    archive: Path | None


@contextmanager
def _beside(companions: Companions, settings: Settings, url: str, quiet: bool) -> Iterator[None]:
    """Run them meanwhile. Raises CannotListen or BadArchive for what cannot be as asked for."""
    flags = ["--quiet"] if quiet else []
    clock = SystemClock()
    if companions.archive is not None:
        Archive.open(companions.archive, create=True).close()
    with ExitStack() as stack:
        if companions.gateway is not None:
            stack.enter_context(gateway_beside(companions.gateway, settings, url))
        else:
            _make_pepper(settings)
        if companions.dashboard is not None:
            stack.enter_context(dashboard_beside(companions.dashboard, settings, url, flags, clock))
        if companions.archive is not None:
            stack.enter_context(archive_beside(companions.archive, settings, url, flags, clock))
        yield


def stop(state_dir: StateDirOption = None) -> None:
    """End the embedded server. Its data is kept, and the next `coord serve` goes on with it.

    Example: coord stop
    """
    settings = load_settings(None, None, state_dir)
    _warn_of_a_coordinator(settings)
    if embedded.stop(settings.state_dir):
        say(f"the embedded server in {plain(settings.state_dir)} has ended; its data is kept")
    else:
        say(f"no embedded server was running in {plain(settings.state_dir)}")


def _warn_of_a_coordinator(settings: Settings) -> None:
    endpoint = embedded.find(settings.state_dir)
    if endpoint is None:
        return
    with suppress(redis_py.RedisError), connect(endpoint.url) as connection:
        holder = read_holder(connection, Keys(settings.namespace))
        if holder:
            complain(f"coordinator {holder} still uses it, and waits until it is back or ended")


def run_coordinator(
    settings: Settings,
    url: str,
    stop_flag: Flag,
    beside: AbstractContextManager[None] = _NOTHING,
) -> None:
    """Coordinate on the server at ``url`` until ``stop_flag`` is set, in the context ``beside``.

    Raises ServerUnusable if no fleet can live there.
    """
    with connect(url, client_name=COORDINATOR) as connection:
        for warning in check_server(connection, Keys(settings.namespace)):
            log.warning("%s", warning)
        coordinator = Coordinator(
            connection,
            settings,
            SystemClock(),
            RandomIds(),
            name=instance_id(),
            run_id=lambda: server_run_id(connection),
        )
        with beside:
            coordinator.run(stop_flag)


def _make_pepper(settings: Settings) -> None:
    """For the gateways that other processes run. Where it cannot be there may be one elsewhere."""
    try:
        ensure_pepper(settings)
    except CoordError as error:
        log.warning("no pepper: %s", error)


def _server(settings: Settings) -> tuple[str, bool]:
    """The server's URL, and whether it is the embedded one, which is started if need be."""
    url = named_url(settings)
    if url is not None:
        log.info("server %s", redact(url))
        return url, False
    endpoint = embedded.start(settings.state_dir)
    log.info("embedded server at %s (process %d)", redact(endpoint.url), endpoint.pid)
    return endpoint.url, True


@contextmanager
def _revived(state_dir: Path) -> Iterator[None]:
    """Start the embedded server again whenever it dies; not when `coord stop` ended it."""
    done = Flag()
    # A daemon, for a server that is starting keeps nobody from leaving: the next one adopts it.
    Thread(target=_revive, args=(state_dir, done), name="coord-revive", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _revive(state_dir: Path, done: Flag) -> None:
    wait_s = LOOK_EVERY_S
    while not done.wait(wait_s):
        wait_s = LOOK_EVERY_S
        try:
            endpoint = embedded.revive(state_dir)
        except (CoordError, OSError) as error:
            log.error("the embedded server has died and does not start again: %s", error)
            wait_s = REVIVE_AGAIN_S
            continue
        if endpoint:
            log.warning("the embedded server had died: started again as process %d", endpoint.pid)
