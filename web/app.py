"""The application: routes made of the tables of endpoints and pages, behind what guards them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import redis
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from coordinator.clock import Clock
from coordinator.keys import Keys
from coordinator.settings import Settings
from web.access import Tokens
from web.answers import ApiError, answered, refused
from web.docs_page import docs_page
from web.endpoints import ENDPOINTS, MONITORING_PAGES, ROOT, Endpoint
from web.fleet_reader import FleetReader
from web.guards import (
    Admission,
    Errors,
    LoopbackHost,
    OutageLog,
    RequestLimits,
    SecurityHeaders,
)
from web.live.feed import Feed
from web.live.stream import stream_endpoint
from web.openapi import document
from web.pages.look import Look
from web.pages.templates import Templates, page_url
from web.pages.views import VIEWS, View
from web.parameters import parse_query
from web.settings import WebSettings
from web.sign_ins import SignIns
from web.visitor import visitor_of

DOCS = "/api/docs"
OPENAPI = f"{ROOT}/openapi.json"
STREAM = f"{ROOT}/stream"
STATIC = "/static"
SIGN_IN = "/sign-in"
OPEN_PATHS = frozenset(
    {"/", DOCS, OPENAPI, SIGN_IN, *(page.path for page in MONITORING_PAGES if page.is_open)}
)
"""No token is needed for these."""

Serve = Callable[[Request], Response]


def make_app(
    settings: Settings,
    web_settings: WebSettings,
    connect: Callable[[], redis.Redis],
    clock: Clock,
    *,
    is_local: bool = True,
    pepper: bytes | None = None,
    asks_token: bool = False,
) -> Starlette:
    """The application for the fleet of ``settings`` on the server that ``connect`` leads to; its
    ``state.feed`` is to be started and ended by whoever serves it.

    ``is_local`` says that it is reached by loopback addresses alone. With ``asks_token`` nobody
    looks without a token, which a ``pepper`` is needed for; with a pepper people can sign in.
    """
    reader = FleetReader(connect(), Keys(settings.namespace), clock)
    feed = Feed(reader.connection, reader.keys, clock)
    templates = Templates(feed, version("coord"))
    outage, sign_ins = OutageLog(), SignIns(clock)
    tokens = Tokens(reader, pepper) if pepper is not None else None
    guards = [
        Middleware(SecurityHeaders),
        Middleware(Errors, outage, partial(_refused, templates)),
        Middleware(
            RequestLimits,
            web_settings.in_flight_max,
            web_settings.request_s,
            always={"/healthz"},
            streams={STREAM},
        ),
    ]
    if is_local:
        guards.append(Middleware(LoopbackHost))
    guards.append(Middleware(Admission, tokens, sign_ins, _is_open, asks_token=asks_token))
    app = Starlette(
        routes=[
            *_api_routes(reader, outage),
            Route(STREAM, stream_endpoint(feed, web_settings.streams_max)),
            *(Route(view.path, _page(view, reader, feed, templates)) for view in VIEWS),
            Mount(STATIC, StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        middleware=guards,
        exception_handlers={HTTPException: _raise},
    )
    app.state.feed = feed
    app.router.redirect_slashes = False
    return app


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(f"{STATIC}/")


def _api_routes(reader: FleetReader, outage: OutageLog) -> list[BaseRoute]:
    """Those of the tables of endpoints, and of what tells people and programs of them."""
    about = document(ENDPOINTS, MONITORING_PAGES, version("coord"))
    shown = docs_page(ENDPOINTS, MONITORING_PAGES, version("coord"))
    return [
        Route("/", lambda _: RedirectResponse(VIEWS[0].path)),
        Route(DOCS, lambda _: shown),
        Route(OPENAPI, lambda _: answered(about)),
        *(Route(page.path, _in_thread(page.make(reader))) for page in MONITORING_PAGES),
        *(Route(ROOT + one.path, _endpoint(one, reader, outage)) for one in ENDPOINTS),
    ]


def _endpoint(
    endpoint: Endpoint, reader: FleetReader, outage: OutageLog
) -> Callable[[Request], Awaitable[Response]]:
    """What serves ``endpoint``, in a thread: connections of redis-py wait."""

    def serve(request: Request) -> Response:
        _check_private(endpoint.is_private, request)
        in_query = request.query_params.multi_items()
        query = parse_query(endpoint.query, request.path_params, in_query)
        answer = endpoint.read(reader, query)
        outage.end()
        return answered(answer)

    return _in_thread(serve)


def _page(
    view: View, reader: FleetReader, feed: Feed, templates: Templates
) -> Callable[[Request], Awaitable[Response]]:
    """What serves ``view``, likewise. A field of a form that was left empty counts as not given."""

    def serve(request: Request) -> Response:
        _check_private(view.is_private, request)
        given = [(name, value) for name, value in request.query_params.multi_items() if value]
        query = parse_query(view.query, request.path_params, given)
        values = view.read(Look(reader, feed, visitor_of(request)), query)
        return templates.answer(request, f"{view.name}.html", values, view)

    return _in_thread(serve)


def _check_private(is_private: bool, request: Request) -> None:
    if is_private and not visitor_of(request).sees_all:
        raise ApiError("forbidden", "this is for operators: the token is of an observer")


def _in_thread(serve: Serve) -> Callable[[Request], Awaitable[Response]]:
    """One that takes too long goes on by itself, while whoever asked is told so."""

    async def served(request: Request) -> Response:
        return await run_sync(partial(serve, request), abandon_on_cancel=True)

    return served


def _refused(templates: Templates, error: ApiError, request: HTTPConnection) -> Response:
    """As JSON for programs; as a page for people, who are led to where they can sign in."""
    path = request.url.path
    accepted = request.headers.get("accept", "")
    if path.startswith((f"{ROOT}/", STATIC)) or "text/html" not in accepted:
        return refused(error)
    if error.code == "no_token":
        return RedirectResponse(page_url(SIGN_IN, to=path), 303)
    answer = templates.answer(
        request, "error.html", {"error": error, "title": "Error"}, status=error.status
    )
    for name, value in refused(error).headers.items():
        if name in ("allow", "retry-after", "www-authenticate"):
            answer.headers[name] = value
    return answer


def _raise(_: Request, error: Exception) -> Response:
    """All errors are answered in one place."""
    raise error
