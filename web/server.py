"""The application as a service: uvicorn, which ends when it is told, and waits for nobody long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.listening import Listening
from web.settings import WebSettings

HEAD_MAX_BYTES = 16 * 1024
"""Of the first line and the headers together."""
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
        http=_timed(settings.head_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.connections_max,
        h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    config.ssl = listening.tls
    return Server(config)


def _timed(head_s: float) -> type[asyncio.Protocol]:
    """HTTP by h11 for clients that send the whole head of a request within ``head_s``; others are
    cut off, else a few slow ones would keep all connections."""

    class Timed(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._since: asyncio.TimerHandle | None = None
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_waiting()
            elif self._since is None:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._since = self.loop.call_later(head_s, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._since is not None:
                self._since.cancel()
            self._since = None

    return Timed
