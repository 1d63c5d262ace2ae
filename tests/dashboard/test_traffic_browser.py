"""The page Traffic in a real browser."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, Page, expect

from coordinator.waiting import comes_true
from tests.browser import opened, serious
from tests.dashboards import LIMIT_S, Served
from tests.fleet import FleetUnderTest

HOSTILE = "</td><script>document.title = 'run'</script>\u202e"


def shared(page: Page) -> list[str]:
    """What is shown to be shared, the newest first."""
    return (
        page.locator("#lines tbody tr", has_text="pattern_share")
        .locator("td:last-child")
        .all_text_contents()
    )


def test_lines_and_numbers_come_without_a_reload(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    with opened(browser, f"{served.url}/traffic") as watched:
        page = watched.page
        expect(page.locator("#lines")).to_contain_text("A joined")
        expect(page.locator("#chart canvas")).to_have_count(1)
        fleet.share_pattern("A", "first", "second")
        row = page.get_by_role("row", name="pattern_share", exact=False)
        expect(page.locator("#lines tbody")).to_contain_text("pattern second")
        assert shared(page) == ["pattern second", "pattern first"]
        expect(page.locator("#type-pattern_share td").last).to_have_text("2")
        expect(page.locator("#type- td").last).to_have_text("3")
        expect(page.locator("#type-pattern_share .dot")).to_have_count(1)
        expect(row.first).to_be_visible()
        page.locator("#chart .u-over").hover()
        expect(page.locator("#rate-head")).to_contain_text("at ")
        page.locator("h1").hover()
        expect(page.locator("#rate-head")).to_have_text("a second")
        assert serious(page) == []
        assert watched.said == []


def test_lines_wait_while_they_are_paused_or_read(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    fleet.share_pattern("A", *map(str, range(60)))
    assert comes_true(lambda: served.feed.last(0).cursor.events == 61, LIMIT_S)
    with opened(browser, f"{served.url}/traffic?type=pattern_share") as watched:
        page = watched.page
        button, waiting = page.locator("#pause"), page.locator("#waiting")
        first = page.locator("#lines tbody tr").first
        expect(button).to_have_text("Pause")
        page.keyboard.press("p")
        expect(button).to_have_text("Go on")
        fleet.share_pattern("A", "paused")
        expect(waiting).to_have_text("Waiting: 1 new")
        expect(first).to_contain_text("pattern 59")
        button.click()
        expect(first).to_contain_text("pattern paused")
        page.locator("#lines").evaluate("box => box.scrollTop = 200")
        expect(button).to_have_text("Go on")
        fleet.share_pattern("A", "scrolled", "twice")
        expect(waiting).to_have_text("Waiting while you read: 2 new")
        page.locator("#lines").evaluate("box => box.scrollTop = 0")
        expect(first).to_contain_text("pattern twice")
        first.get_by_role("link").first.focus()
        fleet.share_pattern("A", "focused")
        expect(waiting).to_have_text("Waiting while you read: 1 new")
        page.keyboard.press("p")
        expect(first).to_contain_text("pattern focused")
        expect(waiting).to_have_text("")
        assert shared(page)[:5] == [
            f"pattern {name}" for name in ("focused", "twice", "scrolled", "paused", "59")
        ]
        assert watched.said == []


def test_a_filter_is_of_the_server_and_stays_in_the_address(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A", "B")
    with opened(browser, f"{served.url}/traffic") as watched:
        page = watched.page
        page.get_by_role("combobox", name="lines").select_option("log lines")
        page.wait_for_url("**/traffic?*kind=event*")
        page.get_by_role("textbox", name="AI").fill("B")
        page.keyboard.press("Enter")
        page.wait_for_url("**/traffic?ai=B&kind=event*")
        fleet.say("A", "goodbye")
        fleet.say("B", "goodbye")
        fleet.run()
        types = page.locator("#lines tbody th")
        expect(types).to_have_text(["left", "joined"])
        page.reload()
        expect(types).to_have_text(["left", "joined"])
        page.get_by_role("link", name="No filter").click()
        expect(types).to_have_count(8)
        assert watched.said == []


def test_a_line_is_opened_by_the_keyboard_and_by_a_click(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    fleet.say("A", "pattern_share", {"pattern": {"id": "p", "type": "note", "more": HOSTILE}})
    fleet.run()
    with opened(browser, f"{served.url}/traffic?kind=message") as watched:
        page = watched.page
        dialog = page.locator("#entry")
        link = page.get_by_role("link", name="pattern_share")
        link.focus()
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("heading")).to_contain_text("Entry 2 of the log")
        expect(dialog.locator("pre")).to_contain_text("</td><script>")
        assert serious(page) == []
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(link).to_be_focused()
        page.locator("#lines tbody tr", has_text="hello").locator("td").last.click()
        expect(dialog.get_by_role("heading")).to_contain_text("Entry 1 of the log")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()
        assert page.title() == "Traffic · coord"
        assert watched.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_hostile_names_are_text(
    fleet: FleetUnderTest, served: Served, browser: Browser, scheme: str
) -> None:
    fleet.join("A" * 64)
    event: Any = {"kind": HOSTILE, "ai": HOSTILE, "text": HOSTILE * 9, "ms": "1", "epoch": "e"}
    url = f"{served.url}/traffic"
    with opened(browser, url, width=390, color_scheme=scheme) as watched:
        page = watched.page
        fleet.redis.xadd(fleet.keys.events, event | {"data": "{}"}, id="50-0")
        expect(page.locator("#lines tbody tr").first).to_contain_text("</td><script>")
        expect(page.locator("#type-hello td").last).to_have_text("1")
        assert watched.scroll_width() == 390
        assert page.title() == "Traffic · coord"
        assert serious(page) == []
        assert watched.said == []


def test_without_scripts_it_has_lines_and_numbers(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    fleet.join("A")
    assert comes_true(lambda: served.feed.pulse.totals == {"hello": 1}, LIMIT_S)
    assert comes_true(lambda: served.feed.last(0).cursor.events == 1, LIMIT_S)
    with opened(browser, f"{served.url}/traffic", java_script_enabled=False) as watched:
        page = watched.page
        expect(page.locator("#type-hello td").last).to_have_text("1")
        expect(page.locator("#pause")).to_be_hidden()
        page.get_by_role("link", name="joined").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Entry 1 of the events")


LONG_TASKS = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
  }).observe({ type: "longtask" });
}"""


def test_a_flood_leaves_the_page_responsive(
    fleet: FleetUnderTest, served: Served, browser: Browser
) -> None:
    """Some 1,000 messages a second, as fast as they are read; what is shown stays bounded."""
    fleet.join("A")
    entry = cast(Any, fleet.redis.xrange(fleet.keys.log))[0][1]
    end = threading.Event()

    def flood() -> None:
        for n in range(2, 100_000, 100):
            with fleet.redis.pipeline(transaction=False) as pipe:
                for more in range(100):
                    pipe.xadd(fleet.keys.log, entry, id=f"{n + more}-0")
                pipe.execute()
            if end.wait(0.1):
                return

    with opened(browser, f"{served.url}/traffic") as watched:
        page = watched.page
        page.evaluate(LONG_TASKS)
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            expect(page.locator("#lines tbody")).to_contain_text("more lines came")
            expect(page.locator("#lines tbody tr")).to_have_count(200)
            assert comes_true(lambda: served.feed.last(0).cursor.log > 3000, LIMIT_S)
            page.keyboard.press("p")
            expect(page.locator("#pause")).to_have_text("Go on")
        finally:
            end.set()
            thread.join()
        assert page.evaluate("window.longest") < 200
        assert watched.said == []
