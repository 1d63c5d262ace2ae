"""The dashboard of a fleet under test: its application, and the same on a port of its own."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.testclient import TestClient

from coordinator.clock import Clock
from coordinator.credentials import digest, new_token
from coordinator.waiting import comes_true
from tests.fleet import FleetUnderTest
from web.actions import ACTIONS
from web.app import make_app
from web.listening import listen
from web.live.feed import Feed
from web.pages.urls import page_url, path_part
from web.pages.views import VIEWS
from web.server import make_server
from web.settings import WebSettings

PEPPER = b"p" * 32
LIMIT_S = 20.0


@dataclass(frozen=True)
class Served:
    """The dashboard at ``url``."""

    url: str
    app: Starlette

    @property
    def feed(self) -> Feed:
        feed: Feed = self.app.state.feed
        return feed


Serve = Callable[..., Served]


def app_of(fleet: FleetUnderTest, clock: Clock | None = None, **more: Any) -> Starlette:
    """The application for that fleet, by its clock; ``more`` goes to make_app."""
    given = {"pepper": PEPPER, **more}
    own = WebSettings()
    return make_app(fleet.settings, own, lambda: fleet.redis, clock or fleet.clock, **given)


def client_of(fleet: FleetUnderTest, place: str = "http://localhost", **more: Any) -> TestClient:
    """A browser of somebody who opens ``place``; ``more`` goes to app_of."""
    headers = {"Accept": "text/html", "Origin": place}
    return TestClient(app_of(fleet, **more), place, headers=headers, client=("192.0.2.1", 1))


@contextmanager
def serving(app: Starlette) -> Iterator[Served]:
    """Serve ``app`` meanwhile, with its feed."""
    settings = WebSettings(listen="127.0.0.1:0")
    with closing(listen(settings)) as listening:
        server = make_server(app, listening, settings)
        thread = threading.Thread(target=server.run, args=(listening.sockets,))
        served = Served(listening.url, app)
        served.feed.start()
        thread.start()
        try:
            assert comes_true(lambda: server.started, LIMIT_S)
            assert comes_true(lambda: bool(served.feed.pulses()), LIMIT_S)
            yield served
        finally:
            served.feed.end()
            server.should_exit = True
            thread.join()
            served.feed.join()


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the last form of a page that has such, by their names."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


def sign_in(client: TestClient, token: str, to: str = "/") -> httpx.Response:
    """What is answered to who signs in; ``client`` keeps the cookie."""
    given = {"token": token, "to": to}
    return client.post("/sign-in", data=given, follow_redirects=False)


def token_of(fleet: FleetUnderTest, ai: str, role: str, **more: Any) -> str:
    """Have the operator let ``ai`` in; its token."""
    token = new_token()
    given = {"key_id": token.key_id, "digest": digest(PEPPER, token.text), **more}
    fleet.order("enroll", ai=ai, role=role, **given)
    return token.text


def bearer(token: str) -> dict[str, str]:
    """The header by which a program says who it is; none without a ``token``."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def shown(page: str, element_id: str) -> str:
    """What an element of a page says, its words alone; "" if it is not there."""
    match = re.search(
        rf'<(\w+)[^>]*\bid="{re.escape(element_id)}"[^>]*>(.*?)</\1>', page, re.DOTALL
    )
    return words_of(match[2]) if match else ""


def words_of(html: str) -> str:
    """What is written on a page, with one space between words."""
    words = " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
    return re.sub(r" ([,.:])(?= |$)", r"\1", words)


def enter(page: Page, token: str) -> None:
    """Sign in by the form that ``page`` shows."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def pages_of(ids: Mapping[str, str]) -> dict[str, str]:
    """A path of every page, by its name; ``ids`` fill in what stands in paths. Forms of actions and
    an error are among them."""

    def filled(match: re.Match[str]) -> str:
        return path_part(ids[match[1]])

    views = {view.name: re.sub(r"\{(\w+)(?::\w+)?\}", filled, view.path) for view in VIEWS}
    subjects = {"ai": "ai_id", "session_id": "session_id", "unit_id": "unit_id", "id": "letter_id"}
    actions = {
        f"action-{one.name}": page_url(
            f"/actions/{one.name}", **{one.field: ids[subjects[one.field]]}
        )
        for one in ACTIONS.values()
    }
    return {**views, **actions, "error": "/none"}
