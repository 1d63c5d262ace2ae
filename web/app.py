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
from web.docs_page import docs_page
from web.endpoints import ENDPOINTS, MONITORING_PAGES, ROOT, Endpoint
from web.fleet_reader import FleetReader
from web.guards import (
    JsonErrors,
    LoopbackHost,
    OutageLog,
    RequestLimits,
    SecurityHeaders,
    TokenAuth,
)
from web.openapi import document
from web.parameters import parse_query
from web.settings import WebSettings

DOCS = "/api/docs"
OPENAPI = f"{ROOT}/openapi.json"
OPEN_PATHS = frozenset(
    {"/", DOCS, OPENAPI, *(page.path for page in MONITORING_PAGES if page.is_open)}
)
"""No token is needed for these."""


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
    reader = FleetReader(connect(), Keys(settings.namespace), clock)
    outage = OutageLog()
    guards = [
        Middleware(SecurityHeaders),
        Middleware(JsonErrors, outage),
        Middleware(
            RequestLimits, web_settings.in_flight_max, web_settings.request_s, always={"/healthz"}
        ),
    ]
    if is_local:
        guards.append(Middleware(LoopbackHost))
    if pepper is not None:
        guards.append(Middleware(TokenAuth, Tokens(reader, pepper), OPEN_PATHS))
    app = Starlette(
        routes=_routes(reader, outage),
        middleware=guards,
        exception_handlers={HTTPException: _raise},
    )
    app.router.redirect_slashes = False
    return app


def _routes(reader: FleetReader, outage: OutageLog) -> list[Route]:
    """Those of the tables of endpoints and pages, and of what tells people and programs of them."""
    about = document(ENDPOINTS, MONITORING_PAGES, version("coord"))
    shown = docs_page(ENDPOINTS, MONITORING_PAGES, version("coord"))
    return [
        Route("/", lambda _: RedirectResponse(DOCS)),
        Route(DOCS, lambda _: shown),
        Route(OPENAPI, lambda _: answered(about)),
        *(Route(page.path, _in_thread(page.make(reader))) for page in MONITORING_PAGES),
        *(Route(ROOT + one.path, _route(one, reader, outage)) for one in ENDPOINTS),
    ]


def _route(
    endpoint: Endpoint, reader: FleetReader, outage: OutageLog
) -> Callable[[Request], Response]:
    """What serves ``endpoint``, in a thread: connections of redis-py wait."""

    def serve(request: Request) -> Response:
        if endpoint.is_private and request.scope.get("role", "operator") != "operator":
            raise ApiError("forbidden", "this is for operators: the token is of an observer")
        in_query = request.query_params.multi_items()
        query = parse_query(endpoint.query, request.path_params, in_query)
        answer = endpoint.read(reader, query)
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
