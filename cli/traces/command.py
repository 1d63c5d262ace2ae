"""``coord traces``: what becomes of messages, as spans for OpenTelemetry."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import redis as redis_py

from cli.options import (
    FromOption,
    JsonOption,
    NamespaceOption,
    OnceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, complain, counted, say_json
from cli.signals import Interrupted, Signals
from cli.traces.spans import Span, Teller
from coordinator.connection import unusable
from coordinator.errors import CoordError
from coordinator.following import follow_lines
from coordinator.history import Follower

AT_ONCE = 500
"""Spans in one request."""
HELD_MAX = 20_000
"""So many spans wait for a collector that is away; then the oldest go."""


class Collector(Protocol):
    """Who takes spans."""

    def send(self, spans: list[Span]) -> str:
        """Why they were not taken; "" if they were."""


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
    the collector is, if not at http://localhost:4318. With --json they are
    printed instead, a line each.

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
            if once:
                tell_all(follower, outlet)
            else:
                tell_on(fleet.where, follower, outlet, signals.check)
        except Interrupted:
            if not outlet.is_away:
                outlet.flush()
    if outlet.held:
        raise CoordError(
            f"{counted(len(outlet.held), 'span')} could not be sent to the collector"
            f" ({outlet.reason}): OTEL_EXPORTER_OTLP_ENDPOINT says where it is, --json prints them"
        )


def collector(attributes: dict[str, str]) -> Collector:
    """The real one. Raises CoordError where what it is made of is not installed."""
    try:
        module: Any = importlib.import_module("cli.traces.otel")
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

    def send(self, spans: list[Span]) -> str:
        for span in spans:
            say_json(span.as_json(), one_line=True)
        return ""


class Outlet:
    """Holds spans until somebody takes them. ``reason`` is why they are not taken, "" if they
    are."""

    def __init__(self, to: Collector) -> None:
        self.held: list[Span] = []
        self.reason = ""
        self._to = to

    @property
    def is_away(self) -> bool:
        return self.reason != ""

    def add(self, spans: list[Span]) -> None:
        self.held += spans
        if len(self.held) > HELD_MAX:
            lost = len(self.held) - HELD_MAX
            del self.held[:lost]
            complain(f"{counted(lost, 'span')} are lost: the collector was away for too long")

    def flush(self) -> None:
        while self.held:
            part = self.held[:AT_ONCE]
            self.reason = self._to.send(part)
            if self.is_away:
                return
            del self.held[: len(part)]


def tell_all(follower: Follower, outlet: Outlet) -> None:
    """What there is now, unless the collector takes nothing."""
    teller = Teller()
    while not outlet.is_away and (lines := follower.read(0)):
        outlet.add([span for line in lines for span in teller.take(line)])
        outlet.flush()


def tell_on(where: str, follower: Follower, outlet: Outlet, check: Callable[[], None]) -> None:
    """All that comes, through outages of the server ``where`` and of the collector, which are said;
    until ``check`` raises."""
    teller = Teller()
    for lines in follow_lines(follower, time.sleep, partial(_say_outage, where)):
        check()
        outlet.add([span for line in lines for span in teller.take(line)])
        was_away = outlet.is_away
        outlet.flush()
        if outlet.is_away and not was_away:
            complain(
                f"the collector does not take spans ({outlet.reason}); they are kept, and sent"
                " again"
            )
        elif was_away and not outlet.is_away:
            advise("the collector takes spans again")


def _say_outage(where: str, error: redis_py.RedisError | None) -> None:
    if error is not None:
        complain(f"{unusable(where, error).detail}; waiting for it")
