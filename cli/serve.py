"""``coord serve`` and ``coord stop``: the coordinator as a process, and the end of its server."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Annotated

import redis as redis_py
import typer

from cli.api_options import HttpOption, load_web_settings
from cli.companions import api_beside, archive_beside
from cli.foreground import LogJsonOption, QuietOption, log_to_stderr, stop_on_signals
from cli.gateway import (
    InsecureBindOption,
    ListenOption,
    TlsCertOption,
    TlsClientCaOption,
    TlsKeyOption,
    load_gateway_settings,
)
from cli.gateway_thread import gateway_beside
from cli.options import NamespaceOption, RedisOption, StateDirOption, load_settings
from cli.output import complain, plain, say
from coordinator import embedded
from coordinator.archive.archive import Archive
from coordinator.clock import RandomIds, SystemClock, instance_id
from coordinator.connection import COORDINATOR, connect, named_url, redact, server_run_id
from coordinator.coordinator import Coordinator
from coordinator.credentials import ensure_pepper
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.server_check import check_server
from coordinator.settings import Settings
from coordinator.status import read_holder

log = logging.getLogger("coord")

LOOK_EVERY_S = 0.5
REVIVE_AGAIN_S = 10.0
"""The pause after an embedded server that died did not start again."""
_NOTHING = nullcontext()


NoGatewayOption = Annotated[
    bool, typer.Option("--no-gateway", help="No way in for AIs that come by TCP.")
]


NoHttpOption = Annotated[bool, typer.Option("--no-http", help="No HTTP API.")]
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive", metavar="FILE", help="Keep all that happens in this archive (`coord archive`)."
    ),
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
    archive: ArchiveOption = None,
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

    AIs that come by TCP find the gateway at 127.0.0.1:6000, programs the HTTP API at
    127.0.0.1:8600. Where one is taken there is none until it is free; an address that is named by
    --listen or --http must be free. COORD_HTTP_TLS_CERT and its like are those of `coord api`.

    Example: coord serve --redis redis://127.0.0.1:6379/0
    """
    settings = load_settings(redis, namespace, state_dir, log_json=log_json or None)
    own = load_gateway_settings(listen, tls_cert, tls_key, tls_client_ca, insecure_bind)
    of_api = load_web_settings(http)
    log_to_stderr(quiet, settings.log_json)
    stop_flag = Flag()
    stop_on_signals(stop_flag.set)
    url, is_embedded = _server(settings)
    flags = ["--quiet"] if quiet else []
    others: list[AbstractContextManager[None]] = []
    if no_gateway:
        _make_pepper(settings)
    else:
        others.append(gateway_beside(own, settings, url))
    if not no_http:
        others.append(api_beside(of_api, settings, url, flags, SystemClock()))
    if archive is not None:
        with Archive.open(archive, create=True):  # one that cannot be used is said at once
            others.append(archive_beside(archive, settings, url, flags, SystemClock()))
    with _revived(settings.state_dir) if is_embedded else nullcontext():
        run_coordinator(settings, url, stop_flag, _all_of(others))
    log.info("stopped")
    if is_embedded and embedded.find(settings.state_dir):
        log.info("the embedded server runs on; `coord stop` ends it")


@contextmanager
def _all_of(contexts: Sequence[AbstractContextManager[None]]) -> Iterator[None]:
    """In all of them, one inside the other."""
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
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
