"""``/api/v1/stream``: what happens, as server-sent events.

``rates``    first of all, if asked for: messages a second by type over the last ten minutes
``lines``    the newest lines that pass the filters, and how many more there were
``changed``  which areas of the fleet are others now
``pulse``    every second, how the fleet is

Each has the number from which it goes on after a break: EventSource sends it as Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from coordinator.history import Cursor
from web.answers import ApiError
from web.live.areas import AREAS, Area
from web.live.feed import Feed, Tail
from web.live.pulse import rates_over_time
from web.parameters import StreamQuery, is_place, parse_place, parse_query, place_text
from web.visitor import Visitor, visitor_now, visitor_of

EVERY_S = 0.25
"""What comes within so long is told at once."""
CHANGED_EVERY_S = 1.0
ADMITTED_EVERY_S = 5.0
"""What a stream was opened by, such as a token, may be revoked while it is open."""
LINES_AT_ONCE = 100
RESUMED_MAX = 500
"""So many of the lines that somebody missed are told to who comes back."""
MEDIA_TYPE = "text/event-stream"


class Stream:
    """What one client is told. ``after`` is how far it has read, None for one that is new;
    ``is_admitted`` says from time to time whether it may still listen."""

    def __init__(
        self,
        feed: Feed,
        query: StreamQuery,
        after: Cursor | None,
        is_admitted: Callable[[], Awaitable[bool]],
    ) -> None:
        self._feed = feed
        self._query = query
        self._is_admitted = is_admitted
        self._begin = feed.last(0) if after is None else feed.since(after)
        self._seq, self._cursor = self._begin.seq, self._begin.cursor
        self._changed: set[Area] = set()
        self._pulse_ms = 0

    async def events(self) -> AsyncIterator[str]:
        """Until the feed is over, or whoever listens is gone or admitted no more."""
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        admitted_s = loop.time()
        changed_s = admitted_s - CHANGED_EVERY_S

        def wake_up() -> None:
            with suppress(RuntimeError):  # the loop has just ended, and so has who listens
                loop.call_soon_threadsafe(wake.set)

        with self._feed.watched(wake_up):
            if self._query.rates:
                yield self._event("rates", rates_over_time(self._feed.pulses()))
            for text in self._told(self._begin, RESUMED_MAX):
                yield text
            while not self._feed.is_over:
                if loop.time() - admitted_s >= ADMITTED_EVERY_S:
                    admitted_s = loop.time()
                    if not await self._is_admitted():
                        return
                wake.clear()
                for text in self._told(self._feed.after(self._seq), LINES_AT_ONCE):
                    yield text
                if self._changed and loop.time() - changed_s >= CHANGED_EVERY_S:
                    changed_s = loop.time()
                    yield self._event("changed", {"areas": sorted(self._changed)})
                    self._changed.clear()
                pulse = self._feed.pulse
                if pulse.ms != self._pulse_ms:
                    self._pulse_ms = pulse.ms
                    yield self._event("pulse", pulse.as_json())
                await wake.wait()
                await asyncio.sleep(EVERY_S)  # what else comes meanwhile goes with it

    def _told(self, tail: Tail, limit: int) -> list[str]:
        """The event that tells of these lines, if there is anything to tell."""
        self._seq, self._cursor = tail.seq, tail.cursor
        if tail.missed:
            self._changed |= AREAS
        for line in tail.lines:
            self._changed |= line.areas
        if not self._query.lines:
            return []
        found = [line for line in tail.lines if self._query.filter.passes(line)]
        shown = found[-limit:]
        if not shown and not tail.missed:
            return []
        told = {
            "lines": [line.as_json() for line in shown],
            "left_out": len(found) - len(shown),
            "missed": tail.missed,
        }
        return [self._event("lines", told)]

    def _event(self, name: str, data: Any) -> str:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        place = place_text(self._cursor)
        number = f"id: {place}\n" if is_place(place) else ""  # the epoch may be a stranger's text
        return f"event: {name}\n{number}data: {text}\n\n"


def stream_endpoint(feed: Feed, streams_max: int) -> Callable[[Request], Awaitable[Response]]:
    """What serves it."""

    async def stream(request: Request) -> Response:
        query = parse_query(StreamQuery, {}, request.query_params.multi_items())
        if not _may_follow(visitor_of(request), query):
            raise ApiError("forbidden", "lines are for operators: the token is of an observer")
        if feed.watchers >= streams_max:
            raise ApiError("busy", f"{streams_max} streams are open, which is the most; come back")
        told_before = request.headers.get("last-event-id") or query.after
        after = parse_place(told_before) if told_before else None
        if request.method == "HEAD":
            return Response(media_type=MEDIA_TYPE)
        stream = Stream(feed, query, after, partial(_is_admitted, request, query))
        return StreamingResponse(stream.events(), media_type=MEDIA_TYPE)

    return stream


async def _is_admitted(request: Request, query: StreamQuery) -> bool:
    try:
        visitor = await run_in_threadpool(visitor_now, request)
    except ApiError:
        return False
    except redis.RedisError:
        return True  # nobody can be looked up, and there is nothing to be told
    return _may_follow(visitor, query)


def _may_follow(visitor: Visitor, query: StreamQuery) -> bool:
    return visitor.sees_all or not query.lines
