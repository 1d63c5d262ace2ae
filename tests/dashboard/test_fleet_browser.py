"""The page Fleet in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser import opened
from tests.dashboards import Served
from tests.fleet import FleetUnderTest


def test_who_joins_and_leaves_is_seen_without_a_reload(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", specialization="audio")
    with opened(browser, f"{served.url}/fleet") as watched:
        row = watched.page.get_by_role("row", name="AI_2")
        expect(row).to_have_count(0)
        fleet.join("AI_2", specialization="security")
        expect(row).to_contain_text("security")
        fleet.say("AI_2", "goodbye")
        fleet.run()
        expect(row).to_have_count(0)
        assert watched.said == []
