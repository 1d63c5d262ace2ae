"""The pages of the fleet and of one AI in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.browser import opened, serious
from tests.dashboards import Served
from tests.fleet import FleetUnderTest


def test_who_joins_and_leaves_is_seen_without_a_reload(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", specialization="audio")
    with opened(browser, f"{served.url}/fleet") as watched:
        page = watched.page
        row = page.get_by_role("table").get_by_role("row", name="AI_2")
        changes = page.get_by_role("region", name="Joined and left lately").get_by_role("listitem")
        expect(row).to_have_count(0)
        fleet.join("AI_2", specialization="security")
        expect(row).to_contain_text("security")
        expect(changes).to_have_text(
            [re.compile("joined AI_2 .* security"), re.compile("joined AI_1 .* audio")]
        )
        fleet.say("AI_2", "goodbye", {"reason": "enough"})
        fleet.run()
        expect(row).to_have_count(0)
        expect(changes.first).to_have_text(re.compile("left AI_2 .* enough"))
        expect(page.locator("#live")).to_have_text("1 AI is there")
        assert serious(page) == []
        assert watched.said == []


def test_filters_lead_to_an_ai_by_the_keyboard_alone(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", "AI_2", specialization="audio")
    fleet.join("Other", specialization="own")
    with opened(browser, f"{served.url}/fleet") as watched:
        page, keyboard = watched.page, watched.page.keyboard
        page.get_by_label("Part of the name").focus()
        keyboard.type("ai_")
        keyboard.press("Tab")
        keyboard.type("audio")
        keyboard.press("Enter")
        names = page.get_by_role("table").get_by_role("rowheader")
        expect(names).to_have_text(["AI_1", "AI_2"])
        expect(page.get_by_label("Part of the name")).to_have_value("ai_")
        page.get_by_role("link", name="AI_2").first.focus()
        keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("AI_2")
        assert serious(page) == []
        assert watched.said == []


def test_an_ai_that_leaves_is_said_to_be_away(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", specialization="audio")
    with opened(browser, f"{served.url}/fleet/AI_1") as watched:
        heading = watched.page.get_by_role("heading", level=1)
        expect(heading).to_contain_text("new")
        fleet.say("AI_1", "pattern_share", {"pattern": {"id": "a pattern"}})
        fleet.run()
        expect(watched.page.get_by_role("link", name="a pattern", exact=True)).to_be_visible()
        fleet.say("AI_1", "goodbye", {"reason": "enough"})
        fleet.run()
        expect(heading).to_have_text(re.compile("AI_1 away"))
        expect(watched.page.get_by_text("(enough)")).to_be_visible()
        assert watched.said == []
