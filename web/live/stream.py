"""``/api/v1/stream``: what happens, as server-sent events.

``lines``    the newest lines that pass the filters, and how many more there were
``changed``  which areas of the fleet are others now
``pulse``    every second, how the fleet is

Each has the number from which it goes on after a break: EventSource sends it as Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from coordinator.history import Cursor
from web.answers import ApiError
from web.live.areas import AREAS, Area
from web.live.feed import Feed, Tail
from web.parameters import StreamQuery, parse_place, parse_query
from web.visitor import visitor_of

EVERY_S = 0.25
"""What comes within so long is told at once."""
CHANGED_EVERY_S = 1.0
LINES_AT_ONCE = 100
RESUMED_MAX = 500
"""So many of the lines that somebody missed are told to who comes back."""


class Stream:
    """What one client is told. ``after`` is how far it has read, None for one that is new."""

    def __init__(self, feed: Feed, query: StreamQuery, after: Cursor | None) -> None:
        self._feed = feed
        self._query = query
        newest = feed.last(1)
        self._seq = newest[0].seq if newest else 0
        self._cursor = newest[0].cursor if newest else Cursor()
        self._resumed = feed.since(after) if after is not None else None
        self._changed: set[Area] = set()
        self._pulse_ms = 0

    async def events(self) -> AsyncIterator[str]:
        """Until the feed is over, or whoever listens is gone."""
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        changed_s = loop.time() - CHANGED_EVERY_S

        def wake_up() -> None:
            loop.call_soon_threadsafe(wake.set)

        with self._feed.watched(wake_up):
            if self._resumed is not None:
                for text in self._told(self._resumed, RESUMED_MAX):
                    yield text
            while not self._feed.is_over:
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
        if tail.missed:
            self._changed |= AREAS
        for line in tail.lines:
            self._changed |= line.areas
        if tail.lines:
            self._seq, self._cursor = tail.lines[-1].seq, tail.lines[-1].cursor
        if not self._query.lines:
            return []
        found = [one for one in tail.lines if one.concerns(self._query.ai, self._query.type)]
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
        place = ":".join(map(str, self._cursor))
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        return f"event: {name}\nid: {place}\ndata: {text}\n\n"


def stream_endpoint(feed: Feed, streams_max: int) -> Any:
    """What serves it."""

    async def stream(request: Request) -> Response:
        query = parse_query(StreamQuery, {}, request.query_params.multi_items())
        if query.lines and not visitor_of(request).sees_all:
            raise ApiError("forbidden", "lines are for operators: the token is of an observer")
        if feed.watchers >= streams_max:
            raise ApiError("busy", f"{streams_max} streams are open, which is the most; come back")
        told_before = request.headers.get("last-event-id") or query.after
        after = parse_place(told_before) if told_before else None
        events = Stream(feed, query, after).events()
        return StreamingResponse(events, media_type="text/event-stream")

    return stream
