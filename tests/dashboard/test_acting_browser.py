"""Signing in and acting in a real browser, as people do it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import opened, serious
from tests.dashboards import Serve, enter
from tests.fleet import FleetUnderTest


@pytest.fixture
def session_id(fleet: FleetUnderTest) -> str:
    fleet.join("AI_1", "AI_2", skills=["echo"])
    plan = [{"name": "echo", "kind": "echo", "participant": 1}]
    return fleet.collaborate("AI_1", "AI_2", plan=plan)


def test_a_session_is_cancelled_with_a_reason(
    operator: str, session_id: str, running: FleetUnderTest, serve: Serve, browser: Browser
) -> None:
    path = f"/collaborations/{session_id}"
    with opened(browser, serve(asks_token=True).url + path) as watched:
        page = watched.page
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("none that is in force")
        watched.said.clear()  # the browser tells of the status 401
        enter(page, operator)
        assert page.url.endswith(path)
        page.get_by_role("link", name="Cancel").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(session_id)
        page.get_by_label("Reason").fill("found <b>what</b> we looked for")
        page.get_by_role("button", name="Cancel the session").dblclick()
        expect(page.locator(".notice")).to_have_text(f"You cancelled {session_id}.")
        assert page.url.endswith(path)
        expect(page.locator("main")).to_contain_text("found <b>what</b> we looked for")
        expect(page.get_by_role("link", name="Cancel")).to_have_count(0)
        assert serious(page) == []
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert watched.said == []
    cancelled = [event for event in running.events() if event["kind"] == "session_cancelled"]
    assert len(cancelled) == 1
