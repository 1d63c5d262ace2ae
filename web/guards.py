"""What a request goes through before it is answered, from the outside inwards."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
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
from web.handlers import explained

log = logging.getLogger("coord.http")

SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
HEAD_MAX_BYTES = 16 * 1024
"""Of the first line and the headers together."""
PART_BYTES = 64 * 1024
SURPLUS = "is_surplus"
"""In the state of a request: it came by one connection too many."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class OutageLog:
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


class Guard(ABC):
    """One step of a request; what is none (the service begins, or ends) goes past it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        step = self._request if scope["type"] == "http" else self._app
        await step(scope, receive, send)

    @abstractmethod
    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class SecurityHeaders(Guard):
    """Every answer has the headers that keep browsers from doing more with it than to show it."""

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_sealed)


class JsonErrors(Guard):
    """Every error is answered as JSON; what nobody foresaw is logged, in a line."""

    def __init__(self, app: ASGIApp, outage: OutageLog) -> None:
        super().__init__(app)
        self._outage = outage

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
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


class RequestLimits(Guard):
    """So many requests at a time, none with a body or a long head, no answer that takes longer than
    ``request_s`` to begin. What is ``always`` answered counts in no number."""

    def __init__(
        self, app: ASGIApp, in_flight_max: int, request_s: float, always: Collection[str] = ()
    ) -> None:
        super().__init__(app)
        self._in_flight_max = in_flight_max
        self._request_s = request_s
        self._always = always
        self._in_flight = 0

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _has_body(Headers(scope=scope)):
            raise ApiError("too_large", "a request has no body here: leave it out")
        if _head_bytes(scope) > HEAD_MAX_BYTES:
            raise ApiError("too_large", f"the head of a request has {HEAD_MAX_BYTES} bytes at most")
        if scope["path"] in self._always:
            await self._answer(scope, receive, send)
            return
        if scope.get("state", {}).get(SURPLUS):
            raise ApiError("busy", "there are too many connections; come back later")
        if self._in_flight >= self._in_flight_max:
            raise ApiError("busy", f"{self._in_flight_max} requests are being answered; come back")
        self._in_flight += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._request_s) as limit:

                async def send_in_parts(message: Message) -> None:
                    limit.reschedule(None)  # how fast it must be taken is the server's affair
                    for part in _parts(message):
                        await send(part)

                await self._app(scope, receive, send_in_parts)
        except TimeoutError:
            detail = f"the answer took longer than {self._request_s:g} s; ask for less by limit"
            raise ApiError("busy", detail) from None


def _parts(message: Message) -> Iterator[Message]:
    """A long body in parts, so that no more of it than one is waiting to be taken."""
    body = message.get("body", b"")
    while len(body) > PART_BYTES:
        yield {"type": message["type"], "body": body[:PART_BYTES], "more_body": True}
        body = body[PART_BYTES:]
    yield {**message, "body": body} if "body" in message else message


def _head_bytes(scope: Scope) -> int:
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    return fields + len(scope.get("raw_path") or b"") + len(scope["query_string"])


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class LoopbackHost(Guard):
    """On a loopback address: only who names it so. A page of somebody else's that has a name of its
    own made to lead here (DNS rebinding) does not."""

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "")
        name = host.rpartition(":")[0] if _has_port(host) else host
        if name.lower() not in LOOPBACK_NAMES:
            known = ", ".join(sorted(LOOPBACK_NAMES))
            raise ApiError("bad_host", f"Host must be one of {known}, with or without a port")
        await self._app(scope, receive, send)


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")


class TokenAuth(Guard):
    """Only with a token, but for ``open_paths``; whose it is stands in the scope as ``role``."""

    def __init__(self, app: ASGIApp, tokens: Tokens, open_paths: Collection[str]) -> None:
        super().__init__(app)
        self._tokens = tokens
        self._open_paths = open_paths

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._open_paths:
            client = scope.get("client")
            address = place_of(client[0]) if client else ""
            authorization = Headers(scope=scope).get("authorization", "")
            scope["role"] = await self._tokens.check(authorization, address)
        await self._app(scope, receive, send)
