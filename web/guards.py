"""What bounds a request before it is answered, from the outside inwards."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import redis
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.errors import BadMessage
from coordinator.server_errors import is_of_the_data
from web.answers import NO_SERVER, ApiError
from web.handlers import explained
from web.outage import OutageLog

log = logging.getLogger("coord.http")

SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
HEAD_MAX_BYTES = 16 * 1024
"""Of the first line and the headers together."""
FORM_MAX_BYTES = 16 * 1024
PART_BYTES = 64 * 1024
SURPLUS = "is_surplus"
"""In the state of a request: it came by one connection too many."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


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


class Errors(Guard):
    """Every error is answered, as ``refused`` does it; what nobody foresaw is logged, in a line."""

    def __init__(
        self,
        app: ASGIApp,
        outage: OutageLog,
        refused: Callable[[ApiError, HTTPConnection], Response],
    ) -> None:
        super().__init__(app)
        self._outage = outage
        self._refused = refused

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
            await self._refused(refusal, HTTPConnection(scope))(scope, receive, send)

    def _refusal(self, error: Exception, path: str) -> ApiError:
        if isinstance(error, ApiError):
            return error
        if isinstance(error, BadMessage):
            return explained(error)
        if isinstance(error, HTTPException):
            return _of_http(error, path)
        if isinstance(error, redis.RedisError) and not is_of_the_data(error):
            self._outage.begin(error)
            return ApiError("no_server", NO_SERVER)
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        what = f"{type(error).__name__}: {error}"
        log.error("%r could not be answered: %s (%s)", path, what, place)
        return ApiError(
            "internal", "this could not be answered; the log of `coord dashboard` says why"
        )


def _of_http(error: HTTPException, path: str) -> ApiError:
    if error.status_code == 405:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        return ApiError("bad_method", f"{path!r} does not take that method", allowed=allowed)
    more = ": /api/v1/openapi.json lists what there is" if path.startswith("/api/") else ""
    return ApiError("not_found", f"there is nothing at {path!r}{more}")


class Bodies(Guard):
    """Forms alone have a body, a short one, which is there within ``request_s``: who sends it byte
    by byte keeps up nobody, for until then the request does not count."""

    def __init__(self, app: ASGIApp, request_s: float) -> None:
        super().__init__(app)
        self._request_s = request_s

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _body_bytes(Headers(scope=scope), scope["method"]) == 0:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._request_s):
                body = await _read_body(receive)
        except TimeoutError:
            raise ApiError("busy", f"the form took longer than {self._request_s:g} s") from None
        if body is None:
            return

        async def receive_again() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, receive_again, send)


def _body_bytes(headers: Headers, method: str) -> int:
    """How long the body is, which is told before it comes."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or (length != "0" and method != "POST"):
        raise ApiError("too_large", "a request has no body here: leave it out")
    if not length.isdecimal() or len(length) > 9 or int(length) > FORM_MAX_BYTES:
        raise ApiError("too_large", f"a form has {FORM_MAX_BYTES} bytes at most")
    return int(length)


async def _read_body(receive: Receive) -> bytes | None:
    """None if whoever sends it has gone."""
    body = bytearray()
    while (message := await receive())["type"] != "http.disconnect":
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
    return None


class RequestLimits(Guard):
    """So many requests at a time, no long head, no answer that takes longer than ``request_s`` to
    begin. Streams go on and count in no number here, and what is ``always`` answered is so beyond
    the most connections, too."""

    def __init__(
        self,
        app: ASGIApp,
        in_flight_max: int,
        request_s: float,
        *,
        always: Collection[str] = (),
        streams: Collection[str] = (),
    ) -> None:
        super().__init__(app)
        self._in_flight_max = in_flight_max
        self._request_s = request_s
        self._always = always
        self._streams = streams
        self._in_flight = 0

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _head_bytes(scope) > HEAD_MAX_BYTES:
            raise ApiError("too_large", f"the head of a request has {HEAD_MAX_BYTES} bytes at most")
        if scope["path"] in self._always:
            await self._answer(scope, receive, send)
            return
        if scope.get("state", {}).get(SURPLUS):
            raise ApiError("busy", "there are too many connections; come back later")
        if scope["path"] in self._streams:
            await self._answer(scope, receive, send)
            return
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
