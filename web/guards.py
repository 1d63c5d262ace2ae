"""What a request goes through before it is answered, from the outside inwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path

import redis
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.errors import BadMessage
from coordinator.listening import place_of
from coordinator.server_errors import is_of_the_data
from web.access import Tokens
from web.answers import ApiError, refused
from web.reading import explained

log = logging.getLogger("coord.http")

SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Outage:
    """Says once that the server cannot be reached, and once that it is back."""

    def __init__(self) -> None:
        self._is_on = False

    def begin(self, error: Exception) -> None:
        if not self._is_on:
            log.warning("the server of the fleet cannot be reached: %s", error)
        self._is_on = True

    def end(self) -> None:
        if self._is_on:
            log.info("the server of the fleet is back")
        self._is_on = False


class Sealed:
    """Every answer has the headers that keep browsers from doing more with it than to show it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_sealed)


class Faultless:
    """Every error is answered as JSON; what nobody foresaw is logged, in a line."""

    def __init__(self, app: ASGIApp, outage: Outage) -> None:
        self._app = app
        self._outage = outage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def send_noting(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
            return
        except Exception as error:
            refusal = self._refusal(error, scope["path"])
        if not began:
            await refused(refusal)(scope, receive, send)

    def _refusal(self, error: Exception, path: str) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, BadMessage):
            return explained(error)
        if isinstance(error, HTTPException):
            return _of_http(error, path)
        if isinstance(error, redis.RedisError) and not is_of_the_data(error):
            self._outage.begin(error)
            return ApiError("no_server", "the server of the fleet cannot be reached at the moment")
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        what = f"{type(error).__name__}: {error}"
        log.error("%r could not be answered: %s (%s)", path, what, place)
        return ApiError("internal", "this could not be answered; the log of `coord api` says why")


def _of_http(error: HTTPException, path: str) -> ApiError:
    if error.status_code == 405:
        return ApiError("bad_method", "only GET and HEAD are understood: nothing is changed here")
    detail = f"there is nothing at {path!r}: /api/v1/openapi.json lists what there is"
    return ApiError("not_found", detail)


class Bounded:
    """So many requests at a time, none with a body, none that takes longer than ``request_s``."""

    def __init__(self, app: ASGIApp, in_flight_max: int, request_s: float) -> None:
        self._app = app
        self._in_flight_max = in_flight_max
        self._request_s = request_s
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _has_body(Headers(scope=scope)):
            raise ApiError("too_large", "a request has no body here: leave it out")
        if self._in_flight >= self._in_flight_max:
            raise ApiError("busy", f"{self._in_flight_max} requests are being answered; come back")
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._request_s):
                await self._app(scope, receive, send)
        except TimeoutError:
            detail = f"the answer took longer than {self._request_s:g} s; ask for less by limit"
            raise ApiError("busy", detail) from None
        finally:
            self._in_flight -= 1


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class Local:
    """On a loopback address: only who names it so. A page of somebody else's that has a name of its
    own made to lead here (DNS rebinding) does not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            name = host.rpartition(":")[0] if _has_port(host) else host
            if name.lower() not in LOOPBACK_NAMES:
                known = ", ".join(sorted(LOOPBACK_NAMES))
                raise ApiError("bad_host", f"Host must be one of {known}, with or without a port")
        await self._app(scope, receive, send)


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")


class Guarded:
    """Only with a token, but for ``open_paths``; whose it is stands in the scope as ``role``."""

    def __init__(self, app: ASGIApp, tokens: Tokens, open_paths: Collection[str]) -> None:
        self._app = app
        self._tokens = tokens
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            client = scope.get("client")
            address = place_of(client[0]) if client else ""
            authorization = Headers(scope=scope).get("authorization", "")
            scope["role"] = await self._tokens.check(authorization, address)
        await self._app(scope, receive, send)
