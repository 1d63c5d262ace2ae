"""Knowledge in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect
from redis import Redis

from coordinator.clock import SystemClock
from tests.browser import opened, serious
from tests.dashboards import Served
from tests.fleet import FleetUnderTest, python

HOSTILE = "<img src=x onerror=alert(1)>/../%2f?a=b#\"'"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, clock=SystemClock())
    fleet.enroll("V", role="validator")
    fleet.join("AI_1", specialization="audio")
    fleet.join("AI_2", specialization="file_system")
    fleet.join("V")
    return fleet


def test_what_is_shared_and_measured_is_seen_without_a_reload_and_a_filter_filters(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.share_pattern("AI_1", "first")
    with opened(browser, f"{served.url}/knowledge") as watched:
        page = watched.page
        expect(page.get_by_role("row", name="first")).to_contain_text("audio")
        fleet.share_pattern("AI_2", "second")
        expect(page.get_by_role("row", name="second")).to_contain_text("file_system")
        fleet.say("AI_2", "code_share", {"code": python("cache")})
        fleet.run()
        fleet.judge("V", "cache", verdict="passed", problem="buffer_cache", score=0.75)
        card = page.get_by_role("listitem").filter(has_text="buffer_cache")
        expect(card.first).to_contain_text("75.0\u202f%")
        page.get_by_label("Part of the id").fill("FIR")
        page.keyboard.press("Enter")
        expect(page).to_have_url(
            f"{served.url}/knowledge?kind=pattern&search=FIR&specialization=&contributor="
        )
        expect(page.locator("tbody tr")).to_have_count(1)
        assert serious(page) == []
        assert watched.said == []


def test_a_record_leads_to_who_built_on_it_by_keyboard_alone(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.share_pattern("AI_1", HOSTILE, name=HOSTILE, data={HOSTILE: [HOSTILE]})
    fleet.say("AI_2", "code_share", {"code": python("built", code=HOSTILE, derived_from=HOSTILE)})
    fleet.run()
    with opened(browser, f"{served.url}/knowledge") as watched:
        page = watched.page
        page.get_by_role("link", name=HOSTILE).press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        assert serious(page) == []
        page.get_by_role("link", name="component built of AI_2: waiting").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("built")
        expect(page.locator("pre.code")).to_have_text(HOSTILE)
        page.locator("summary").press("Enter")
        expect(page.get_by_role("cell", name="it began from this")).to_be_visible()
        fleet.share_pattern("AI_1", "later", derived_from="built")
        expect(page.get_by_role("cell", name="this began from it")).to_be_visible()
        assert serious(page) == []
        assert watched.said == []
