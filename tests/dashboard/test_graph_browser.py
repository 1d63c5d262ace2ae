"""The pages of the graph in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser import opened, serious
from tests.dashboards import Served
from tests.fleet import FleetUnderTest


def test_who_begins_to_work_together_is_joined_and_a_key_opens_what_they_do(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", specialization="audio")
    fleet.join("AI_2", specialization="security")
    with opened(browser, f"{served.url}/graph") as watched:
        page = watched.page
        edge = page.get_by_role("link", name="AI_1 and AI_2").first
        expect(page.get_by_role("link", name="AI_2, security")).to_be_visible()
        expect(edge).to_have_count(0)
        fleet.say("AI_1", "pattern_share", {"pattern": {"id": "p"}}, "AI_2")
        fleet.run()
        expect(edge).to_have_attribute("aria-label", "AI_1 and AI_2: 1 message, message: 1")
        edge.focus()
        fleet.say("AI_2", "pattern_share", {"pattern": {"id": "q"}}, "AI_1")
        fleet.run()
        expect(edge).to_have_attribute("aria-label", "AI_1 and AI_2: 2 messages, message: 2")
        expect(edge).to_be_focused()
        assert serious(page) == []
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("AI_1 and AI_2")
        page.get_by_text("AI_1: pattern_share").click()
        expect(page.get_by_role("region", name="What the message carries")).to_contain_text('"p"')
        assert serious(page) == []
        page.get_by_role("link", name="all it works with").first.click()
        expect(page.get_by_label("Around the AI")).to_have_value("AI_1")
        page.get_by_role("link", name="AI_2, security").click()
        expect(page).to_have_url(f"{served.url}/fleet/AI_2")
        assert watched.said == []


def test_on_a_phone_the_picture_scrolls_in_its_box(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join(*(f"AI_with_a_name_of_some_length_{n}" for n in range(14)), specialization="audio")
    with opened(browser, f"{served.url}/graph", width=390, color_scheme="dark") as watched:
        expect(watched.page.locator("a.node")).to_have_count(14)
        box = watched.page.locator("#picture")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert watched.scroll_width() == 390
        assert serious(watched.page) == []
        assert watched.said == []
