"""The page Traffic as it comes from the server, and the page of one entry."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any, cast

import httpx
import pytest

from coordinator.waiting import comes_true
from tests.dashboards import LIMIT_S, Serve, Served, bearer, token_of
from tests.fleet import FleetUnderTest, python

HOSTILE = "<img src=x onerror=alert(1)>\u202e'\""


def page(served: Served, path: str, code: int = 200, token: str = "", **asked: Any) -> str:
    headers = {"Accept": "text/html"} | bearer(token)
    answer = httpx.get(f"{served.url}{path}", headers=headers, params=asked or None)
    assert answer.status_code == code, answer.text
    return answer.text


def rows(text: str) -> list[list[str]]:
    """Type, AI, to and what of the lines on the page, the newest first; notes have but one cell."""
    body = text.partition('id="lines"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    found = [
        re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in body.split("</tr>")[:-1]
    ]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in cells][-4:] for cells in found]


def chosen(text: str) -> list[str]:
    return re.findall(r'<option value="([^"]+)" selected>', text)


@pytest.fixture
def busy(fleet: FleetUnderTest, served: Served) -> Served:
    """Where two AIs have joined, one of which said something to the other, and shared."""
    fleet.join("A", "B")
    fleet.say("A", "message", {"text": HOSTILE}, "B")
    fleet.run()
    fleet.say("A", "code_share", {"code": python("p/1", "x = 1  # <script>")})
    fleet.run()
    assert comes_true(lambda: served.feed.last(0).cursor.log == 3, LIMIT_S)
    assert comes_true(lambda: served.feed.pulse.totals.get("code_share") == 1, LIMIT_S)
    return served


def test_it_has_the_newest_lines_and_how_many_there_were_of_each_type(busy: Served) -> None:
    text = page(busy, "/traffic")
    lines = rows(text)
    assert ["message", "A", "B"] in [line[:3] for line in lines]
    assert ["code_share", "A", "", "code p/1"] in lines
    assert lines[-1][0].startswith("epoch")
    totals = re.findall(r'id="type-(\w+)">.*?>([\d,]+)</td></tr>', text)
    assert dict(totals) == {name: f"{n}" for name, n in busy.feed.pulse.totals.items()}
    assert f'data-after="{epoch_of(busy)}:' in text


@pytest.mark.parametrize(
    ("asked", "types", "selected"),
    [
        ({"ai": "B"}, {"message", "hello", "joined"}, []),
        ({"kind": "message"}, {"message", "hello", "code_share"}, ["message"]),
        ({"type": "joined", "kind": "event"}, {"joined"}, ["event", "joined"]),
        ({"type": "joined", "kind": ""}, {"joined"}, ["joined"]),
        ({"type": "no_such", "ai": "B"}, set(), []),
    ],
)
def test_a_filter_is_in_the_address(
    busy: Served, asked: dict[str, Any], types: set[str], selected: list[str]
) -> None:
    text = page(busy, "/traffic", **asked)
    assert {line[0] for line in rows(text) if len(line) > 1} == types
    assert chosen(text) == selected
    assert ("<option selected>no_such</option>" in text) == (asked.get("type") == "no_such")
    assert f'name="ai" value="{asked.get("ai", "")}"' in text
    assert '<a href="/traffic">No filter</a>' in text


def test_an_entry_has_all_that_it_carries(busy: Served) -> None:
    text = page(busy, "/traffic/log/3", epoch=epoch_of(busy))
    assert "<h1>Entry 3 of the log</h1>" in text
    assert "&#34;code&#34;: &#34;x = 1  # &lt;script&gt;&#34;" in text
    assert '<a href="/knowledge/component/p/1">p/1</a>' in text
    links = re.findall(r'href="(/traffic/events/\d+)', page(busy, "/traffic", type="message"))
    directed = page(busy, links[0])
    assert "&lt;img src=x onerror=alert(1)&gt;\\u202e" in directed
    assert re.search(r"<dt>to</dt><dd>\s*<a href=\"/fleet/B\">B</a>", directed)


def test_an_event_leads_to_its_record(busy: Served) -> None:
    links = re.findall(r'href="(/traffic/events/\d+)', page(busy, "/traffic", type="shared"))
    text = page(busy, links[0])
    assert "<dt>log line</dt><dd>shared</dd>" in text
    assert '<a href="/knowledge/component/p/1">p/1</a>' in text


def test_an_entry_that_is_none_is_said_to_be_none(fleet: FleetUnderTest, busy: Served) -> None:
    assert "is not kept, or is still to come" in page(busy, "/traffic/log/999", 404)
    assert "the server has forgotten" in page(busy, "/traffic/log/1", 404, epoch="another.1")
    assert "not_found" in page(busy, "/traffic/inbox/1", 404)
    assert "whole number" in page(busy, "/traffic/log/none", 400)
    fleet.redis.xadd(fleet.keys.log, {"x": HOSTILE}, id="50-0")
    assert "This is no entry of coord" in page(busy, "/traffic/log/50")


def test_strange_entries_are_text(fleet: FleetUnderTest, busy: Served) -> None:
    body = json.dumps({**fleet.log()[0], "payload": [HOSTILE], "sender_id": {"a": HOSTILE}})
    entry = cast(Any, {"message": body, "ms": "1", "epoch": HOSTILE})
    fleet.redis.xadd(fleet.keys.log, entry, id="50-0")
    event = {"kind": HOSTILE, "ai": HOSTILE, "text": HOSTILE, "ms": "1", "epoch": HOSTILE}
    told = cast(Any, {**event, "data": json.dumps({"kind": ["x"], "id": HOSTILE})})
    fleet.redis.xadd(fleet.keys.events, told, id="50-0")
    assert comes_true(lambda: busy.feed.last(0).cursor[1:] == (50, 50), LIMIT_S)
    links = re.findall(r'href="(/traffic/\w+/50[^"]*)', page(busy, "/traffic"))
    assert len(links) == 2
    for path in ("/traffic", *map(unescape, links)):
        text = page(busy, path)
        assert "&lt;img src=x" in text
        assert "<img" not in text
        assert "\u202e" not in text


def test_lines_are_for_operators(fleet: FleetUnderTest, serve: Serve, operator: str) -> None:
    served = serve(asks_token=True)
    observer = token_of(fleet, "Bob", "observer")
    fleet.join("A")
    text = page(served, "/traffic", token=observer)
    assert "are for operators" in text
    assert 'id="types"' in text
    assert 'id="lines"' not in text
    assert "observer" in page(served, "/traffic/log/1", 403, observer)
    whole = page(served, "/traffic", token=operator)
    assert 'id="lines"' in whole


def epoch_of(served: Served) -> str:
    return served.feed.last(0).cursor.epoch
