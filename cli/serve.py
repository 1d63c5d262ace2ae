"""``coord serve`` and ``coord stop``: the coordinator as a process, and the end of its server."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Event as Flag
from typing import Annotated, cast

import redis as redis_py
import typer

from cli.options import NamespaceOption, RedisOption, StateDirOption, load_settings
from cli.output import complain, plain, say
from coordinator import embedded
from coordinator.clock import RandomIds, SystemClock, instance_id
from coordinator.connection import check_server, connect, redact, resolve_url, server_run_id
from coordinator.coordinator import Coordinator
from coordinator.keys import Keys
from coordinator.settings import Settings

log = logging.getLogger("coord")

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


class Announced(Coordinator):
    """A coordinator that says when it begins to stand by, and for whom."""

    _holder: str | None = None

    def take_over(self) -> bool:
        active = super().take_over()
        holder = None if active else holder_of(self._redis, self._keys)
        if holder and holder != self._holder:
            log.info("standing by: %s is active", holder)
        if active and self._holder:
            log.info("took over from %s", self._holder)
        self._holder = holder or (None if active else self._holder)
        return active


def holder_of(connection: redis_py.Redis, keys: Keys) -> str | None:
    """The name of the active coordinator, None if there is none."""
    token = cast("bytes | None", connection.get(keys.leader))
    return token.decode("utf-8", "replace").partition("/")[0] if token else None


def serve(
    quiet: QuietOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run the coordinator, in the foreground, until Ctrl-C or SIGTERM.

    Uses the server named by --redis or COORD_REDIS_URL, else starts an embedded one, which the
    other commands find by themselves and which runs on afterwards (`coord stop` ends it).
    A second `coord serve` stands by and takes over when the first one fails.

    Example: coord serve --redis redis://127.0.0.1:6379/0
    """
    settings = load_settings(redis, namespace, state_dir)
    _log_to_stderr(quiet)
    stop_flag = _stop_on_signals()
    url, is_embedded = _server(settings)
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
        holder = holder_of(connection, Keys(settings.namespace))
        if holder:
            complain(f"coordinator {holder} still uses it, and waits until it is back or ended")


def run_coordinator(settings: Settings, url: str, stop_flag: Flag) -> None:
    """Coordinate on the server at ``url`` until ``stop_flag`` is set.

    Raises ServerUnusable if no fleet can live there.
    """
    with connect(url, role="coordinator") as connection:
        for warning in check_server(connection, Keys(settings.namespace)):
            log.warning("%s", warning)
        coordinator = Announced(
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
    if settings.redis_url is not None or os.environ.get("RQ_REDIS_URL"):
        url = resolve_url(settings)
        log.info("server %s", redact(url))
        return url, False
    endpoint = embedded.start(settings.state_dir)
    log.info("embedded server at %s (process %d)", endpoint.url, endpoint.pid)
    return endpoint.url, True


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
