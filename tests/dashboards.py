"""The dashboard of a fleet under test: its application, and the same on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette

from coordinator.clock import SystemClock
from coordinator.waiting import comes_true
from tests.fleet import FleetUnderTest
from web.app import make_app
from web.listening import listen
from web.live.feed import Feed
from web.server import make_server
from web.settings import WebSettings

PEPPER = b"p" * 32
LIMIT_S = 20.0


@dataclass(frozen=True)
class Served:
    """The dashboard at ``url``."""

    url: str
    app: Starlette

    @property
    def feed(self) -> Feed:
        feed: Feed = self.app.state.feed
        return feed


Serve = Callable[..., Served]


def app_of(fleet: FleetUnderTest, **more: Any) -> Starlette:
    """The application for that fleet; ``more`` goes to make_app."""
    given = {"pepper": PEPPER, **more}
    return make_app(fleet.settings, WebSettings(), lambda: fleet.redis, SystemClock(), **given)


@contextmanager
def serving(app: Starlette) -> Iterator[Served]:
    """Serve ``app`` meanwhile, with its feed."""
    settings = WebSettings(listen="127.0.0.1:0")
    with closing(listen(settings)) as listening:
        server = make_server(app, listening, settings)
        thread = threading.Thread(target=server.run, args=(listening.sockets,))
        served = Served(listening.url, app)
        served.feed.start()
        thread.start()
        try:
            assert comes_true(lambda: server.started, LIMIT_S)
            assert comes_true(lambda: bool(served.feed.pulses()), LIMIT_S)
            yield served
        finally:
            served.feed.end()
            server.should_exit = True
            thread.join()
            served.feed.join()
