"""The application: routes made of the tables of endpoints and pages, behind what guards them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import redis
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from coordinator.clock import Clock, RandomIds
from coordinator.keys import Keys
from coordinator.settings import Settings
from reports.graph.svg import STYLE
from web.access import Tokens
from web.admission import Admission
from web.answers import NO_SERVER, ApiError, answered
from web.docs_page import docs_page
from web.endpoints import ENDPOINTS, MONITORING_PAGES, ROOT, STREAM, Endpoint, MonitoringPage
from web.fleet_reader import FleetReader
from web.forms import Form, parse_form
from web.guards import Bodies, Errors, LoopbackHost, RequestLimits, SecurityHeaders
from web.live.churn import Churn
from web.live.feed import Feed
from web.live.stream import stream_endpoint
from web.live.tallies import Tallies
from web.openapi import document
from web.outage import OutageLog
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
ALWAYS = frozenset({"/healthz"})
"""Answered however much there is to do."""
ACTIONS_AT_ONCE = 8
"""Each waits for the coordinator, in one of the threads that all share."""

Asked = TypeVar("Asked")
Serve = Callable[[Request], Response]
Served = Callable[[Request], Awaitable[Response]]


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
    bounds = _bounds(web_settings, outage, partial(answer_refusal, templates), is_local=is_local)
    app = Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse(VIEWS[0].path)),
            *_api_routes(reader, outage),
            Route(DOCS, _in_thread(docs_page(templates, ENDPOINTS, MONITORING_PAGES))),
            Route(STREAM, stream_endpoint(feed, web_settings.streams_max)),
            *(Route(view.path, _page(view, look, templates, outage)) for view in VIEWS),
            *_form_routes(
                SignInPage(tokens, sign_ins, templates), ActingPage(reader, RandomIds(), templates)
            ),
            *_static_routes(),
        ],
        middleware=[
            *bounds,
            Middleware(Admission, tokens, sign_ins, _is_open, asks_token=asks_token),
        ],
        exception_handlers={HTTPException: _raise},
    )
    app.state.feed = feed
    app.router.redirect_slashes = False
    return app


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(f"{STATIC}/")


def _bounds(
    web_settings: WebSettings,
    outage: OutageLog,
    refused: Callable[[ApiError, HTTPConnection], Response],
    *,
    is_local: bool,
) -> list[Middleware]:
    """What bounds every request, from the outside inwards."""
    request_s = web_settings.request_s
    bounds = [
        Middleware(SecurityHeaders),
        Middleware(Errors, outage, refused),
        Middleware(Bodies, request_s),
        Middleware(
            RequestLimits,
            web_settings.in_flight_max,
            request_s,
            always=ALWAYS,
            streams={STREAM},
        ),
    ]
    return [*bounds, Middleware(LoopbackHost)] if is_local else bounds


def _static_routes() -> list[BaseRoute]:
    """What everybody may have. The style of drawings is no file: reports, which are one file each,
    have it in them."""
    return [
        Route(f"{STATIC}/drawing.css", lambda _: Response(STYLE, media_type="text/css")),
        Mount(STATIC, StaticFiles(directory=Path(__file__).parent / "static")),
    ]


def _api_routes(reader: FleetReader, outage: OutageLog) -> list[BaseRoute]:
    """Those of the tables of endpoints, and of what tells programs of them."""
    about = document(ENDPOINTS, MONITORING_PAGES, version("coord"))
    return [
        Route(OPENAPI, lambda _: answered(about)),
        *(Route(page.path, _monitoring(page, reader)) for page in MONITORING_PAGES),
        *(Route(ROOT + one.path, _endpoint(one, reader, outage)) for one in ENDPOINTS),
    ]


def _monitoring(page: MonitoringPage, reader: FleetReader) -> Served:
    """What serves ``page``: what is always answered waits for no thread."""
    serve = page.make(reader)

    async def serve_at_once(request: Request) -> Response:
        return serve(request)

    return serve_at_once if page.path in ALWAYS else _in_thread(serve)


def _endpoint(endpoint: Endpoint, reader: FleetReader, outage: OutageLog) -> Served:
    """What serves ``endpoint``."""

    def serve(request: Request) -> Response:
        if endpoint.is_private:
            visitor_of(request).check_sees_all()
        in_query = request.query_params.multi_items()
        query = parse_query(endpoint.query, request.path_params, in_query)
        answer = endpoint.read(reader, query)
        outage.end()
        return answered(answer)

    return _in_thread(serve)


def _page(view: View, look: Look, templates: Templates, outage: OutageLog) -> Served:
    """What serves ``view``. A field of a form that was left empty counts as not given."""

    def serve(request: Request) -> Response:
        visitor = visitor_of(request)
        if view.is_private:
            visitor.check_sees_all()
        given = [(name, value) for name, value in request.query_params.multi_items() if value]
        query = parse_query(view.query, request.path_params, given)
        if look.feed.outage:  # known already: nobody waits for it
            raise ApiError("no_server", NO_SERVER)
        values = view.read(look._replace(visitor=visitor), query)
        outage.end()
        return templates.answer(request, f"{view.name}.html", values, view)

    return _in_thread(serve)


def _form_routes(sign_in: SignInPage, acting: ActingPage) -> list[BaseRoute]:
    """What people fill in and send, all that changes anything."""
    both = ["GET", "POST"]
    return [
        Route(SIGN_IN, _form(sign_in.sign_in, sign_in.show), methods=both),
        Route(SIGN_OUT, _form(sign_in.sign_out), methods=["POST"]),
        Route(ACTION, _form(acting.act, acting.show, ACTIONS_AT_ONCE), methods=both),
    ]


def _form(
    take: Callable[[Form], Response], show: Serve | None = None, at_once: int | None = None
) -> Served:
    """What takes a form that is sent, ``at_once`` so many, and else shows it."""
    limiter = CapacityLimiter(at_once) if at_once else None

    async def served(request: Request) -> Response:
        if request.method != "POST" and show:
            return await _in_thread(show)(request)
        return await _in_thread(take, limiter)(parse_form(request, await request.body()))

    return served


def _in_thread(
    serve: Callable[[Asked], Response], limiter: CapacityLimiter | None = None
) -> Callable[[Asked], Awaitable[Response]]:
    """For connections of redis-py wait. One that takes too long goes on by itself, while whoever
    asked is told so."""

    async def served(asked: Asked) -> Response:
        return await run_sync(partial(serve, asked), abandon_on_cancel=True, limiter=limiter)

    return served


def _raise(_: Request, error: Exception) -> Response:
    """All errors are answered in one place."""
    raise error
