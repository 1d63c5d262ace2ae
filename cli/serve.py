"""``coord serve`` and ``coord stop``: the coordinator as a process, and the end of its server."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Annotated

import redis as redis_py
import typer

from cli.options import NamespaceOption, RedisOption, StateDirOption, load_settings
from cli.output import complain, plain, say
from coordinator import embedded
from coordinator.clock import RandomIds, SystemClock, instance_id
from coordinator.connection import connect, named_url, redact, server_run_id
from coordinator.coordinator import Coordinator
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.server_check import check_server
from coordinator.settings import Settings
from coordinator.status import read_holder

log = logging.getLogger("coord")

LOOK_EVERY_S = 0.5
REVIVE_AGAIN_S = 10.0
"""The pause after an embedded server that died did not start again."""

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]


class OneLine(logging.Formatter):
    """A record is one line, whatever is in it: what AIs wrote can forge no second one."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{when} {level}{plain(record.getMessage())}"
        trace = record.exc_info[2] if record.exc_info else None
        if trace:
            while trace.tb_next:
                trace = trace.tb_next
            text += f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        return text


def serve(
    quiet: QuietOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run the coordinator, in the foreground, until Ctrl-C or SIGTERM.

    Uses the server named by --redis or COORD_REDIS_URL (RQ_REDIS_URL counts too), else starts an
    embedded one, which the other commands find by themselves, which is started again if it dies,
    and which runs on afterwards (`coord stop` ends it).
    A second `coord serve` stands by and takes over when the first one fails.

    Example: coord serve --redis redis://127.0.0.1:6379/0
    """
    settings = load_settings(redis, namespace, state_dir)
    _log_to_stderr(quiet)
    stop_flag = _stop_on_signals()
    url, is_embedded = _server(settings)
    with _revived(settings.state_dir) if is_embedded else nullcontext():
        run_coordinator(settings, url, stop_flag)
    log.info("stopped")
    if is_embedded:
        log.info("the embedded server runs on; `coord stop` ends it")


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


def run_coordinator(settings: Settings, url: str, stop_flag: Flag) -> None:
    """Coordinate on the server at ``url`` until ``stop_flag`` is set.

    Raises ServerUnusable if no fleet can live there.
    """
    with connect(url, role="coordinator") as connection:
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
        coordinator.run(stop_flag)


def _server(settings: Settings) -> tuple[str, bool]:
    """The server's URL, and whether it is the embedded one, which is started if need be."""
    url = named_url(settings)
    if url is not None:
        log.info("server %s", redact(url))
        return url, False
    endpoint = embedded.start(settings.state_dir)
    log.info("embedded server at %s (process %d)", endpoint.url, endpoint.pid)
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


def _stop_on_signals() -> Flag:
    """A flag that SIGTERM and SIGINT set; the second signal ends the process at once."""
    stop_flag = Flag()

    def note(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if stop_flag.is_set():
            os.kill(os.getpid(), number)
        stop_flag.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return stop_flag


def _log_to_stderr(quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)
