"""The gateway that `coord serve` runs beside its coordinator, in a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from cli.gateway import make_gateway
from coordinator.credentials import ensure_pepper
from coordinator.errors import CoordError
from coordinator.gateway import Gateway, GatewaySettings
from coordinator.settings import Settings

log = logging.getLogger("coord.gateway")

AGAIN_S = 2.0
"""The pause before a gateway that could not begin, or has ended, is begun again."""


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
    with suppress(CoordError):  # the thread says why, and tries again
        ensure_pepper(settings)  # who finds a coordinator active can enroll
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
