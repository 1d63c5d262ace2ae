"""``coord traces``: what becomes of messages, as spans for OpenTelemetry."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Protocol

import redis as redis_py
import typer

from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, complain, counted, say_json
from cli.signals import Interrupted, Signals
from coordinator.connection import unusable
from coordinator.errors import CoordError
from coordinator.history import Follower
from reports.spans import Span, Teller

BLOCK_MS = 500
AWAY_S = 0.5
AT_ONCE = 500
"""Spans in one request."""
HELD_MAX = 20_000
"""So many spans wait for a collector that is away; then the oldest go."""

FromOption = Annotated[
    int | None,
    typer.Option(
        "--from", metavar="N", min=0, help="Begin at this number of the log, not at its end."
    ),
]
OnceOption = Annotated[bool, typer.Option("--once", help="Tell what there is now, and end.")]


class Collector(Protocol):
    """Who takes spans."""

    def send(self, spans: list[Span]) -> bool:
        """Whether they were taken."""


def traces(
    begin: FromOption = None,
    once: OnceOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Send what becomes of messages to an OpenTelemetry collector, as spans, until Ctrl-C.

    A session is a trace: its request, the search for partners, every attempt
    at a unit, its result. OTEL_EXPORTER_OTLP_ENDPOINT and its like say where
    the collector is. With --json they are printed instead, a line each.

    Example: coord traces --from 0
    """
    settings = load_settings(redis, namespace, state_dir)
    with open_fleet(settings) as fleet, Signals() as signals:
        follower = Follower(fleet.connection, fleet.keys)
        if begin is not None:
            follower.begin_at(begin)
        to = Printed() if json else collector({"coord.namespace": settings.namespace})
        outlet = Outlet(to)
        try:
            tell(fleet, follower, outlet, once, signals.check)
        except Interrupted:
            outlet.flush()
    if outlet.held:
        raise CoordError(f"{counted(len(outlet.held), 'span')} could not be sent to the collector")


def collector(attributes: dict[str, str]) -> Collector:
    """The real one. Raises CoordError where what it is made of is not installed."""
    try:
        module: Any = importlib.import_module("cli.otel")
    except ModuleNotFoundError as error:
        raise CoordError(
            f"traces need {error.name}, which is not here: pip install 'coord[otel]'"
        ) from None
    try:
        made: Collector = module.Collector({"service.name": "coord"} | attributes)
    except (KeyError, ValueError) as error:
        raise CoordError(f"a variable OTEL_EXPORTER_OTLP_… is wrong: {error!r}") from None
    return made


class Printed:
    """Spans for programs, a line each."""

    def send(self, spans: list[Span]) -> bool:
        for span in spans:
            say_json(span.as_json(), one_line=True)
        return True


class Outlet:
    """Holds spans until somebody takes them; says when that is over, and when it goes on."""

    def __init__(self, to: Collector) -> None:
        self.held: list[Span] = []
        self._to = to
        self._is_away = False

    def add(self, spans: list[Span]) -> None:
        self.held += spans
        if len(self.held) > HELD_MAX:
            lost = len(self.held) - HELD_MAX
            del self.held[:lost]
            complain(f"{counted(lost, 'span')} are lost: the collector was away for too long")

    def flush(self) -> None:
        while self.held:
            part = self.held[:AT_ONCE]
            if not self._to.send(part):
                if not self._is_away:
                    complain("the collector does not take spans; they are kept, and sent again")
                self._is_away = True
                return
            del self.held[: len(part)]
            if self._is_away:
                advise("the collector takes spans again")
            self._is_away = False


def tell(
    fleet: OpenFleet, follower: Follower, outlet: Outlet, once: bool, check: Callable[[], None]
) -> None:
    """All that comes, until ``check`` raises; with ``once`` until nothing more is there."""
    teller = Teller()
    for lines in _read(fleet, follower, 0 if once else BLOCK_MS):
        check()
        outlet.add([span for line in lines for span in teller.take(line)])
        outlet.flush()
        if once and not lines:
            return


def _read(fleet: OpenFleet, follower: Follower, block_ms: int) -> Iterator[Any]:
    """What is new, again and again; an outage of the server is said once and waited out, if
    it may wait at all."""
    is_away = False
    while True:
        try:
            yield follower.read(block_ms)
            is_away = False
        except (redis_py.ConnectionError, redis_py.TimeoutError) as error:
            if not block_ms:
                raise
            if not is_away:
                complain(f"{unusable(fleet.where, error).detail}; waiting for it")
            is_away = True
            time.sleep(AWAY_S)
            yield []
