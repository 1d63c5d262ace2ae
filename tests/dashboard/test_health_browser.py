"""Health in a real browser, and what is seen while the server of the fleet is away."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from coordinator.clock import SystemClock
from tests.browser import opened, serious
from tests.dashboards import Served, app_of, serving
from tests.fleet import FleetUnderTest
from tests.servers import TestServer

OUTAGE = re.compile("The Redis server does not answer since")
REFUSED = re.compile(r"Failed to load resource: .* 503 \(Service Unavailable\)")
"""What Chromium says of each answer that is an error."""


def test_health_is_told_live(fleet: FleetUnderTest, served: Served, browser: Browser) -> None:
    fleet.join("AI_1")
    commits = {"commit_le_0.001": 7, "commit_count": 7}
    fleet.redis.hset(fleet.keys.metrics, mapping=commits)  # type: ignore[arg-type]
    with opened(browser, f"{served.url}/health") as watched:
        page = watched.page
        expect(page.get_by_text("coordinator-1", exact=True)).to_be_visible()
        dead = page.locator("#dead")
        expect(dead).to_have_text("0 dead letters")
        fleet.bury()
        expect(dead).to_have_text("1 dead letters")
        page.get_by_text("As a table").click()
        expect(page.get_by_role("columnheader", name="Took at most, ms")).to_be_visible()
        assert serious(page) == []
        for name in ("Dead letters", "Audit", "Members"):
            page.get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(name)
            assert serious(page) == []
        assert watched.said == []


@pytest.mark.one_server
def test_while_the_server_is_away_that_is_said_and_pages_come_back_by_themselves(
    start_server: Callable[..., TestServer], browser: Browser
) -> None:
    server = start_server("--appendonly", "yes")
    fleet = FleetUnderTest(server.client(), clock=SystemClock())
    fleet.join("AI_1")
    with (
        serving(app_of(fleet)) as served,
        opened(browser, f"{served.url}/fleet") as before,
    ):
        server.kill()
        expect(_state(before.page)).to_have_text(OUTAGE)
        expect(before.page.get_by_role("rowheader", name="AI_1")).to_be_visible()
        with opened(browser, f"{served.url}/fleet") as meanwhile:
            expect(meanwhile.page.get_by_role("heading", level=1)).to_have_text("Not at the moment")
            expect(_state(meanwhile.page)).to_have_text(OUTAGE)
            assert serious(meanwhile.page) == []
            server.restart()
            for page in (before.page, meanwhile.page):
                expect(page.get_by_role("rowheader", name="AI_1")).to_be_visible()
                expect(_state(page)).not_to_have_text(OUTAGE)
        said = before.said + meanwhile.said
        assert [text for text in said if not REFUSED.match(text)] == []


def _state(page: Page) -> Locator:
    return page.locator("#state")
