"""Following a fleet in a real browser: through breaks, outages and ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from coordinator.history import read_end
from coordinator.waiting import comes_true
from tests.browser import Watched, opened
from tests.cutting import CuttingProxy
from tests.dashboards import LIMIT_S, Serve, Served
from tests.fleet import FleetUnderTest

NO_CONNECTION = "Failed to load resource: net::ERR_"
REFUSED = "Failed to load resource: the server responded with a status of 503"


class Cut:
    """A proxy in front of a dashboard, in a thread of its own; ``url`` goes through it."""

    def __init__(self, proxy: CuttingProxy, loop: asyncio.AbstractEventLoop) -> None:
        self.url = proxy.url.replace("coord://", "http://")
        self._proxy = proxy
        self._loop = loop

    def call(self, act: Callable[[CuttingProxy], Any]) -> None:
        async def acted() -> None:
            act(self._proxy)

        asyncio.run_coroutine_threadsafe(acted(), self._loop).result(LIMIT_S)


@contextmanager
def cut(served: Served) -> Iterator[Cut]:
    """Before the end of the dashboard itself, for what goes through it keeps that waiting."""
    ready, done = threading.Event(), asyncio.Event()
    made: list[Cut] = []

    async def serve() -> None:
        async with CuttingProxy(int(served.url.rpartition(":")[2])) as proxy:
            made.append(Cut(proxy, asyncio.get_running_loop()))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(LIMIT_S)
    try:
        yield made[0]
    finally:
        made[0].call(lambda _: done.set())
        thread.join()


def shared(page: Page) -> Any:
    return page.locator("#lines tbody tr td:last-child", has_text="pattern ")


def look_away(page: Page, is_away: bool) -> None:
    """As if another tab was looked at: no browser without a window has such a one."""
    page.evaluate(
        """(isAway) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => isAway });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_away,
    )


def assert_said_only(watched: Watched, *beginnings: str) -> None:
    assert [text for text in watched.said if not text.startswith(beginnings)] == []


def test_what_came_during_a_break_is_told_once(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    with (
        cut(served) as way,
        opened(browser, f"{way.url}/traffic?type=pattern_share") as watched,
    ):
        page = watched.page
        fleet.share_pattern("A", "1", "2")
        expect(shared(page)).to_have_text(["pattern 2", "pattern 1"])
        history = (fleet.redis, fleet.keys)
        for names in (["3", "4", "5"], ["6"]):
            way.call(CuttingProxy.stall)
            fleet.share_pattern("A", *names)
            assert comes_true(lambda: served.feed.last(0).cursor == read_end(*history), LIMIT_S)
            way.call(CuttingProxy.cut_all)
            expect(page.locator("#state")).to_contain_text("No connection to coord since")
            way.call(CuttingProxy.flow)
            expect(page.locator("#state")).to_be_hidden()
        fleet.share_pattern("A", "7")
        expect(shared(page)).to_have_text([f"pattern {n}" for n in range(7, 0, -1)])
        assert_said_only(watched, NO_CONNECTION)


def test_a_stopped_coordinator_is_shown_until_there_is_one_again(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    with opened(browser, f"{served.url}/fleet") as watched:
        state = watched.page.locator("#state")
        expect(state).to_be_hidden()
        fleet.redis.delete(fleet.keys.leader)
        expect(state).to_contain_text("No coordinator is active since")
        expect(state).to_contain_text("Run coord serve")
        watched.page.reload()
        expect(state).to_contain_text("No coordinator is active since")
        fleet.replace_coordinator("coordinator-2")
        expect(state).to_be_hidden()
        assert watched.said == []


def test_who_is_not_looked_at_follows_nothing_and_catches_up(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    with opened(browser, f"{served.url}/traffic?type=pattern_share") as watched:
        page = watched.page
        assert comes_true(lambda: served.feed.watchers == 1, LIMIT_S)
        look_away(page, True)
        assert comes_true(lambda: served.feed.watchers == 0, LIMIT_S)
        fleet.share_pattern("A", "1", "2")
        look_away(page, False)
        expect(shared(page)).to_have_text(["pattern 2", "pattern 1"])
        assert watched.said == []


def test_one_page_too_many_says_that_it_is_not_live_until_there_is_room(
    fleet: FleetUnderTest, serve: Serve, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_HTTP_STREAMS_MAX", "1")
    served = serve()
    fleet.join("A")
    with opened(browser, f"{served.url}/fleet") as first:
        assert comes_true(lambda: served.feed.watchers == 1, LIMIT_S)
        with opened(browser, f"{served.url}/fleet") as second:
            state = second.page.locator("#state")
            expect(state).to_contain_text("Not live since")
            first.page.goto("about:blank")
            expect(state).to_be_hidden(timeout=LIMIT_S * 1000)
            assert_said_only(second, REFUSED)
