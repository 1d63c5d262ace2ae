"""Whatever was written to a fleet is text on its pages: nothing of it is run, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser import Watched, opened
from tests.dashboards import Serve, enter, pages_of, token_of
from tests.fleet import FleetUnderTest
from tests.hostile_fleet import AI_ID, EVIL, RECORD_ID, SCRIPT, HostileFleet
from web.pages.urls import page_url, path_part

PROTOCOLS = "all => all.map((one) => new URL(one.getAttribute('href'), location).protocol)"
REFUSED = "Failed to load resource: the server responded with a status of"


def test_nothing_that_was_written_is_run(
    fleet: FleetUnderTest, serve: Serve, browser: Browser
) -> None:
    ids = HostileFleet(fleet).fill()
    operator = token_of(fleet, "Alice", "operator")
    url = serve().url
    paths = pages_of(ids) | {
        "stranger": f"/fleet/{path_part(AI_ID)}",
        "pattern": f"/knowledge/pattern/{path_part('javascript:window.owned=1//' + SCRIPT)}",
        "searched": page_url("/knowledge", search=SCRIPT),
        "no such AI": f"/fleet/{path_part(SCRIPT)}",
        "no such action": f"/actions/{path_part(SCRIPT)}",
        "no such filter": page_url("/fleet", specialization=EVIL, **{SCRIPT: EVIL}),
        "sign in": page_url("/sign-in", to=SCRIPT),
        "record": f"/knowledge/component/{path_part(RECORD_ID)}",
    }
    refused = {
        "error": 404,
        "stranger": 404,
        "no such AI": 404,
        "no such action": 404,
        "no such filter": 400,
    }
    wrong: dict[str, list[str]] = {}
    with opened(browser, f"{url}/sign-in") as watched:
        dialogs: list[str] = []
        watched.page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
        enter(watched.page, operator)
        for name, path in paths.items():
            answer = watched.page.goto(url + path)
            wrong[name] = harm_of(watched)
            if answer is None or answer.status != refused.get(name, 200):
                wrong[name].append(f"is answered by {answer and answer.status}")
        assert [asked for asked in watched.asked if not asked.startswith(f"{url}/")] == []
        assert dialogs == []
    assert {name: found for name, found in wrong.items() if found} == {}


def harm_of(watched: Watched) -> list[str]:
    """What the page did that it was not to do, unfolded as far as it goes."""
    page = watched.page
    unfold(page)
    elements = page.locator("main :is(script, iframe, object, embed, img, link, base)")
    harm = [
        f"has {elements.nth(n).evaluate('one => one.outerHTML')}" for n in range(elements.count())
    ]
    links = page.locator("a").evaluate_all(PROTOCOLS)
    harm += [f"links to {protocol}" for protocol in links if protocol != "http:"]
    if page.evaluate("window.owned ?? ({}).owned") is not None:
        harm.append("is owned")
    if not page.title().endswith("· coord"):
        harm.append(f"is called {page.title()}")
    harm += [said for said in watched.said if not said.startswith(REFUSED)]
    watched.said.clear()
    return harm


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.mouse.move(400, 400)
    page.mouse.wheel(0, 2000)


def test_what_comes_while_somebody_looks_is_text_too(
    fleet: FleetUnderTest, serve: Serve, browser: Browser
) -> None:
    fleet.join("AI_1", "AI_2")
    with opened(browser, f"{serve().url}/traffic") as watched:
        fleet.say("AI_1", "message", {"text": EVIL, EVIL: "what came"}, "AI_2")
        fleet.say("AI_2", "goodbye", {"reason": EVIL})
        fleet.run()
        page = watched.page
        expect(page.get_by_text(SCRIPT).first).to_be_visible()
        assert harm_of(watched) == []
        page.get_by_role("link", name="message", exact=True).click()
        expect(page.get_by_text("what came")).to_be_visible()
        assert harm_of(watched) == []
