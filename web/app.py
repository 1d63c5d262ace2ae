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
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from coordinator.clock import Clock, RandomIds
from coordinator.keys import Keys
from coordinator.settings import Settings
from reports.graph.svg import STYLE
from web.access import Tokens
from web.answers import ApiError, answered
from web.docs_page import docs_page
from web.endpoints import ENDPOINTS, MONITORING_PAGES, ROOT, STREAM, Endpoint
from web.fleet_reader import FleetReader
from web.forms import Form, parse_form
from web.guards import (
    Admission,
    Bodies,
    Errors,
    LoopbackHost,
    OutageLog,
    RequestLimits,
    SecurityHeaders,
)
from web.live.churn import Churn
from web.live.feed import Feed
from web.live.stream import stream_endpoint
from web.live.tallies import Tallies
from web.openapi import document
from web.pages.acting import ActingPage
from web.pages.look import Look
from web.pages.refusals import answer_refusal
from web.pages.sign_in import SignInPage
from web.pages.templates import Templates
from web.pages.urls import SIGN_IN
from web.pages.views import VIEWS, View
from web.parameters import parse_query
from web.settings import WebSettings
from web.sign_ins import SignIns
from web.static_files import StaticFiles
from web.visitor import visitor_of

DOCS = "/api/docs"
OPENAPI = f"{ROOT}/openapi.json"
STATIC = "/static"
SIGN_OUT = "/sign-out"
ACTION = "/actions/{name}"
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
    churn, tallies = Churn(), Tallies(clock)
    feed = Feed(reader.connection, reader.keys, clock, [churn.take, tallies.take])
    look = Look(reader, feed, churn, tallies)
    templates = Templates(feed, version("coord"))
    outage, sign_ins = OutageLog(), SignIns(clock)
    tokens = Tokens(reader, pepper) if pepper is not None else None
    guards = [
        Middleware(SecurityHeaders),
        Middleware(Errors, outage, partial(answer_refusal, templates)),
        Middleware(Bodies, web_settings.request_s),
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
            *(Route(view.path, _page(view, look, templates, outage)) for view in VIEWS),
            *_form_routes(
                SignInPage(tokens, sign_ins, templates), ActingPage(reader, RandomIds(), templates)
            ),
            Route(f"{STATIC}/drawing.css", lambda _: Response(STYLE, media_type="text/css")),
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
    view: View, look: Look, templates: Templates, outage: OutageLog
) -> Callable[[Request], Awaitable[Response]]:
    """What serves ``view``, likewise. A field of a form that was left empty counts as not given."""

    def serve(request: Request) -> Response:
        _check_private(view.is_private, request)
        given = [(name, value) for name, value in request.query_params.multi_items() if value]
        query = parse_query(view.query, request.path_params, given)
        values = view.read(look._replace(visitor=visitor_of(request)), query)
        outage.end()
        return templates.answer(request, f"{view.name}.html", values, view)

    return _in_thread(serve)


def _form_routes(sign_in: SignInPage, acting: ActingPage) -> list[BaseRoute]:
    """What people fill in and send, all that changes anything."""
    both = ["GET", "POST"]
    return [
        Route(SIGN_IN, _form(sign_in.sign_in, sign_in.show), methods=both),
        Route(SIGN_OUT, _form(sign_in.sign_out), methods=["POST"]),
        Route(ACTION, _form(acting.act, acting.show), methods=both),
    ]


def _form(
    take: Callable[[Form], Response], show: Serve | None = None
) -> Callable[[Request], Awaitable[Response]]:
    """What takes a form that is sent, and else shows it."""

    async def served(request: Request) -> Response:
        if request.method != "POST" and show:
            return await run_sync(partial(show, request), abandon_on_cancel=True)
        form = parse_form(request, await request.body())
        return await run_sync(partial(take, form), abandon_on_cancel=True)

    return served


def _check_private(is_private: bool, request: Request) -> None:
    if is_private and not visitor_of(request).sees_all:
        raise ApiError("forbidden", "this is for operators: the token is of an observer")


def _in_thread(serve: Serve) -> Callable[[Request], Awaitable[Response]]:
    """One that takes too long goes on by itself, while whoever asked is told so."""

    async def served(request: Request) -> Response:
        return await run_sync(partial(serve, request), abandon_on_cancel=True)

    return served


def _raise(_: Request, error: Exception) -> Response:
    """All errors are answered in one place."""
    raise error
