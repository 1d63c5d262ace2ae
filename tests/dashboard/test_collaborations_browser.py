"""The pages of what the fleet does together, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser import opened, serious
from tests.dashboards import Served
from tests.fleet import FleetUnderTest

PLAN = [{"name": "design", "kind": "draw"}, {"name": "build", "kind": "draw", "needs": ["design"]}]


def test_a_session_is_seen_from_its_beginning_to_its_end(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", "AI_2", skills=["draw"])
    with opened(browser, f"{served.url}/collaborations") as watched:
        page = watched.page
        expect(page.get_by_text("AIs that work together are seen here")).to_be_visible()
        session_id = fleet.collaborate("AI_1", "AI_2", plan=PLAN)
        row = page.locator("#open").get_by_role("row", name=session_id)
        expect(row).to_contain_text("0/2 units")
        fleet.report(f"{session_id}-1", "failed", reason="the pencil broke")
        fleet.report(f"{session_id}-1")
        expect(row).to_contain_text("1/2 units")
        row.get_by_role("link", name=session_id).click()
        figure = page.locator(".timeline")
        expect(figure.get_by_role("img", name="failed, ").first).to_be_visible()
        expect(figure.locator(".bars")).to_have_count(2)
        fleet.report(f"{session_id}-2", output={"summary": {"text": "an arch"}})
        expect(page.locator("#outcome")).to_have_text("an arch")
        expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
        expect(page.locator("#events li").first).to_contain_text(f"{session_id} completed")
        assert serious(page) == []
        figure.get_by_role("link", name="design").click()
        expect(page.get_by_role("heading", name="Attempts")).to_be_visible()
        assert serious(page) == []
        assert watched.said == []


def test_filters_by_keyboard_on_a_phone(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("AI_1", "AI_2", "AI_3", skills=["draw"])
    one = fleet.collaborate("AI_1", "AI_2", plan=PLAN)
    two = fleet.collaborate("AI_2", "AI_3", plan=PLAN)
    with opened(browser, f"{served.url}/collaborations", width=390, color_scheme="dark") as watched:
        page = watched.page
        expect(page.locator("#open tbody tr")).to_have_count(2)
        page.get_by_label("AI that takes part or asked").press_sequentially("AI_3")
        page.keyboard.press("Enter")
        expect(page.locator("#open tbody tr")).to_have_count(1)
        expect(page.locator("#open")).to_contain_text(two)
        fleet.order("cancel", session_id=two)
        fleet.order("cancel", session_id=one)
        expect(page.locator("#ended tbody tr")).to_have_count(1)
        expect(page.locator("#ended")).to_contain_text(two)
        assert serious(page) == []
        for path in ("/collaborations/queues", f"/collaborations/{two}"):
            page.goto(f"{served.url}{path}")
            assert (watched.scroll_width(), serious(page)) == (390, []), path
        assert watched.said == []
