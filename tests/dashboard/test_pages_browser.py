"""Every page in a real browser: light, dark and on a phone, with pictures of each."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect
from redis import Redis

from tests.browser import Watched, opened, serious
from tests.dashboards import Serve, enter, pages_of, token_of
from tests.fleet import CatchingUpClock, FleetUnderTest
from tests.rich_fleet import WORKED_S, RichFleet
from tests.servers import REPOSITORY

PICTURES = REPOSITORY / "build" / "screenshots"
WIDE, NARROW = 1280, 390
HEIGHT = 900
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis, clock=CatchingUpClock(WORKED_S), lease_s=600)


@pytest.mark.timeout(180)
def test_every_page_is_fit_to_be_seen(
    fleet: FleetUnderTest, serve: Serve, browser: Browser
) -> None:
    ids = RichFleet(fleet).fill()
    operator = token_of(fleet, "Alice", "operator")
    url = serve().url
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong: dict[str, list[str]] = {}
    with opened(browser, f"{url}/sign-in", WIDE) as watched:
        wrong["sign-in"] = seen(watched, "sign-in")
        enter(watched.page, operator)
        for name, path in pages_of(ids).items():
            watched.page.goto(url + path)
            expect(watched.page.locator("h1")).to_have_count(1)
            wrong[name] = seen(watched, name)
    assert wrong.pop("error") == [NOT_FOUND]
    assert {name: found for name, found in wrong.items() if found} == {}


def seen(watched: Watched, name: str) -> list[str]:
    """What is wrong with the page as it looks on a desk, in light and dark, and on a phone."""
    page = watched.page
    wrong = serious(page)
    take(page, f"{name}-light")
    page.emulate_media(color_scheme="dark")
    wrong += serious(page, "color-contrast")  # all else is as it is in light
    take(page, f"{name}-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": NARROW, "height": HEIGHT})
    if watched.scroll_width() > NARROW:
        wrong.append(f"{watched.scroll_width()} pixels wide on a phone")
    take(page, f"{name}-phone")
    page.set_viewport_size({"width": WIDE, "height": HEIGHT})
    wrong += watched.said
    watched.said.clear()
    return wrong


def take(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def test_a_page_is_gone_through_by_keyboard(
    fleet: FleetUnderTest, serve: Serve, browser: Browser
) -> None:
    fleet.join("AI_Node_1")
    with opened(browser, f"{serve().url}/fleet") as watched:
        page = watched.page
        for name in ("To the content", "coord", "Fleet", "Traffic"):
            page.keyboard.press("Tab")
            focused = page.locator(":focus-visible")
            expect(focused).to_have_text(name)
            expect(focused).to_have_css("outline-style", "solid")
            expect(focused).to_be_in_viewport()
        page.goto(page.url)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.locator("main :focus-visible")).to_have_count(1)
        assert watched.said == []
