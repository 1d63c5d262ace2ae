"""The application: routes made of the table of endpoints, behind what guards them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import redis
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from coordinator.clock import Clock
from coordinator.keys import Keys
from coordinator.settings import Settings
from web.access import Tokens
from web.answers import ApiError, answered
from web.asked import parse_asked
from web.docs_page import docs_page
from web.endpoints import ROOT, Endpoint, endpoints, pages
from web.enrolled import Enrolled
from web.guards import Bounded, Faultless, Guarded, Local, Outage, Sealed
from web.openapi import document
from web.settings import WebSettings
from web.source import Source

DOCS = "/api/docs"
OPENAPI = f"{ROOT}/openapi.json"


def make_app(
    settings: Settings,
    web_settings: WebSettings,
    connect: Callable[[], redis.Redis],
    clock: Clock,
    *,
    is_local: bool = True,
    pepper: bytes | None = None,
) -> Starlette:
    """The application for the fleet of ``settings`` on the server that ``connect`` leads to.

    ``is_local`` says that it is reached by loopback addresses alone. With a ``pepper`` it asks for
    tokens, without one it asks for none.
    """
    source = Source(connect(), Keys(settings.namespace), clock)
    enrolled = Enrolled(source)
    outage = Outage()
    table, monitoring = endpoints(enrolled), pages(source)
    about = document(table, monitoring, version("coord"))
    shown = docs_page(table, monitoring, version("coord"))
    open_paths = {"/", DOCS, OPENAPI, *(page.path for page in monitoring if page.is_open)}
    routes = [
        Route("/", lambda _: RedirectResponse(DOCS)),
        Route(DOCS, lambda _: shown),
        Route(OPENAPI, lambda _: answered(about)),
        *(Route(page.path, _in_thread(page.serve)) for page in monitoring),
        *(Route(ROOT + one.path, _route(one, source, outage)) for one in table),
    ]
    guards = [
        Middleware(Sealed),
        Middleware(Faultless, outage),
        Middleware(Bounded, web_settings.in_flight_max, web_settings.request_s),
    ]
    if is_local:
        guards.append(Middleware(Local))
    if pepper is not None:
        guards.append(Middleware(Guarded, Tokens(source, enrolled, pepper), open_paths))
    app = Starlette(routes=routes, middleware=guards, exception_handlers={HTTPException: _raise})
    app.router.redirect_slashes = False
    return app


def _route(endpoint: Endpoint, source: Source, outage: Outage) -> Callable[[Request], Response]:
    """What serves ``endpoint``, in a thread: connections of redis-py wait."""

    def serve(request: Request) -> Response:
        if endpoint.is_private and request.scope.get("role", "operator") != "operator":
            raise ApiError("forbidden", "this is for operators: the token is of an observer")
        in_query = request.query_params.multi_items()
        asked = parse_asked(endpoint.asked, request.path_params, in_query)
        answer = endpoint.read(source, asked)
        outage.end()
        return answered(answer)

    return _in_thread(serve)


def _in_thread(serve: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """One that takes too long goes on by itself, while whoever asked is told so."""

    async def served(request: Request) -> Response:
        return await run_sync(partial(serve, request), abandon_on_cancel=True)

    return served  # type: ignore[return-value]


def _raise(_: Request, error: Exception) -> Response:
    """All errors are answered in one place."""
    raise error
