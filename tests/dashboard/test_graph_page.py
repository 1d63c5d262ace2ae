"""The pages of the graph, as who looks gets them."""

from __future__ import annotations

import re

import httpx
import pytest

from coordinator.waiting import comes_true
from tests.dashboards import LIMIT_S, Serve, Served, bearer, client_of, token_of
from tests.fleet import FleetUnderTest
from tests.pictures import HOSTILE

HEADERS = {"Accept": "text/html"}


@pytest.fixture
def busy(fleet: FleetUnderTest) -> FleetUnderTest:
    """``a`` and ``b`` did all that AIs can do with each other, ``c`` nothing."""
    fleet.join("a", "b", specialization="file_system", skills=["k"])
    fleet.join("c", specialization="audio")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "b")
    fleet.run()
    fleet.say("b", "pattern_share", {"pattern": {"id": "q/é", "derived_from": "p"}})
    fleet.run()
    plan = [{"name": name, "kind": "k", "participant": n} for n, name in enumerate(("x", "y"))]
    session_id = fleet.collaborate("a", "b", plan=plan, requirements={"feature": HOSTILE[0]})
    for unit_id in fleet.session(session_id)["units"]:
        fleet.report(unit_id)
    return fleet


def page_with(served: Served, path: str, text: str) -> str:
    """The page once it has that text: the feed reads the history beside it."""
    pages = [""]

    def has_it() -> bool:
        answer = httpx.get(f"{served.url}{path}", headers=HEADERS)
        assert answer.status_code == 200
        pages.append(answer.text)
        return text in answer.text

    assert comes_true(has_it, LIMIT_S), pages[-1]
    return pages[-1]


def main_of(page: str) -> str:
    return page[page.index("<main") : page.index("</main>")]


def test_the_picture_leads_to_ais_and_to_what_two_did(busy: FleetUnderTest, served: Served) -> None:
    page = main_of(page_with(served, "/graph?window=all", "a and b"))
    links = set(re.findall(r'<a class="(\w+)" href="([^"]+)" id="([^"]+)"', page))
    nodes = {("node", f"/fleet/{ai}", f"/fleet/{ai}") for ai in "abc"}
    edge = "/graph/a/b?window=all"
    assert links == {*nodes, ("edge", edge, edge)}
    row = page[page.index('<tr id="row-a~b"') :]
    assert re.findall(r'<td class="number">(\d+)</td>', row) == ["1", "1", "2"]
    assert "1 pair of AIs did something" in page
    assert "style=" not in page
    assert "<style" not in page


def test_around_one_ai_are_those_it_worked_with(busy: FleetUnderTest, served: Served) -> None:
    page = main_of(page_with(served, "/graph?ai=a", "a and b"))
    assert re.findall(r'class="node" href="/fleet/(\w+)"', page) == ["a", "b"]
    page = main_of(page_with(served, "/graph?ai=c", "c did nothing"))
    assert re.findall(r'class="node" href="/fleet/(\w+)"', page) == ["c"]


def test_what_two_did_with_each_other(busy: FleetUnderTest, served: Served) -> None:
    page_with(served, "/graph", "a and b")
    page = main_of(page_with(served, "/graph/b/a", "Sessions"))
    (session_id,) = re.findall(r'<tr id="session-([\w.-]+)"', page)
    assert f'href="/collaborations/{session_id}"' in page
    assert 'href="/knowledge/pattern/q/%C3%A9"' in page
    assert page.count("<details>") == 2
    assert page.count("a: pattern_share") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_two_who_did_nothing(busy: FleetUnderTest, served: Served) -> None:
    page_with(served, "/graph", "a and b")
    page = main_of(page_with(served, "/graph/a/c", "They did nothing"))
    assert "There are none among the last 100" in page


def test_an_observer_does_not_read_messages(busy: FleetUnderTest, serve: Serve) -> None:
    served = serve(asks_token=True)
    token = token_of(busy, "Bob", "observer")
    headers = HEADERS | bearer(token)
    page = httpx.get(f"{served.url}/graph/a/b", headers=headers).text
    assert "Messages are for operators to read." in page
    assert "<details>" not in main_of(page)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/graph?window=7", 400, "indow should be"),
        ("/graph?ai=%3Cb%3E", 400, "ai"),
        ("/graph/a/a", 404, "must be another AI than a"),
        ("/graph/a/%3Cb%3E", 404, "b"),
    ],
)
def test_what_cannot_be_asked(busy: FleetUnderTest, path: str, status: int, detail: str) -> None:
    answer = client_of(busy).get(path)
    assert answer.status_code == status
    assert detail in answer.text


def test_a_fleet_without_anybody(served: Served) -> None:
    page = main_of(page_with(served, "/graph", "Nobody worked with anybody"))
    assert "No AI was there" in page
