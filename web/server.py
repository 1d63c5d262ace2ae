"""The application as a service: uvicorn, which ends when it is told, and waits for nobody long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.guards import HEAD_MAX_BYTES, SURPLUS
from web.listening import Listening
from web.settings import WebSettings

KEEP_ALIVE_S = 15
GRACE_S = 3


class Server(uvicorn.Server):
    """Ends once ``should_exit`` is set; signals are the affair of whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: ASGIApp, listening: Listening, settings: WebSettings) -> Server:
    """A server that is still to be ``run`` on the sockets of ``listening``."""
    config = uvicorn.Config(
        app,
        http=_protocol_of(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    config.ssl = listening.tls
    return Server(config)


def _protocol_of(settings: WebSettings) -> type[asyncio.Protocol]:
    """HTTP by h11 that no client can hold up for long.

    Who does not send the whole head of a request within ``head_s``, or take within ``send_s`` what
    was written, is cut off: else a few of them would keep all connections. Beyond
    ``connections_max`` requests are told to be surplus, beyond twice as many nobody gets in.
    """

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head_limit = Limit(self.loop, settings.head_s, transport.abort)
            self._send_limit = Limit(self.loop, settings.send_s, transport.abort)
            if len(self.connections) > 2 * settings.connections_max:
                transport.abort()
                return
            if len(self.connections) > settings.connections_max:
                self.app_state = {**self.app_state, SURPLUS: True}
            transport.set_write_buffer_limits(1)  # what the system does not take is waited for
            self._head_limit.begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._head_limit.end()
            else:
                self._head_limit.begin()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._send_limit.begin()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._send_limit.end()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_limit.end()
            self._send_limit.end()
            super().connection_lost(exc)

    return Bounded


class Limit:
    """Calls ``act`` if what has begun does not end within ``limit_s``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, act: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """It goes on counting if that was said before."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit_s, self._act)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
