"""Sessions and units as clients and people see them, page by page."""

from __future__ import annotations

import pytest
from redis import Redis

from coordinator.errors import BadMessage
from coordinator.session_reads import read_session, read_sessions, read_units_page
from tests.fleet import FleetUnderTest, Pushes

PLAN = [{"name": f"u{n}", "kind": "k"} for n in range(3)]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """Three sessions, of which the second and then the first ended, and a feature request."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", "b", skills=["k"])
    for plan in ([PLAN[0]], [PLAN[0]], PLAN):
        fleet.collaborate("a", plan=plan)
    for n in (2, 1):
        fleet.clock.advance(1)
        fleet.say("operator", "cancel", {"session_id": ids(fleet)[n - 1]})
        fleet.run()
    fleet.request_feature("b", "f")
    return fleet


def ids(fleet: FleetUnderTest) -> list[str]:
    """In the order of their beginning."""
    events = fleet.events()
    return [e["data"]["session_id"] for e in events if e["kind"] == "session_opened"]


def test_the_open_ones_come_first_then_who_ended_last(fleet: FleetUnderTest) -> None:
    one, two, three, feature = ids(fleet)
    page = read_sessions(fleet.redis, fleet.keys, 10)
    assert [item["id"] for item in page.items] == [feature, three, one, two]
    assert (page.cursor, page.total) == (None, 4)
    assert not {"plan", "workspace"} & page.items[0].keys()


def test_pages_follow_each_other(fleet: FleetUnderTest) -> None:
    seen, cursor = [], None
    for _ in range(4):
        page = read_sessions(fleet.redis, fleet.keys, 1, cursor=cursor)
        seen += [item["id"] for item in page.items]
        cursor = page.cursor
    assert (sorted(seen), cursor) == (sorted(ids(fleet)), None)


@pytest.mark.parametrize(
    ("wanted", "which"),
    [
        ({"state": "cancelled"}, [0, 1]),
        ({"type": "feature_request"}, [3]),
        ({"ai": "b"}, [3]),
        ({"ai": "a", "state": "active"}, [2]),
        ({"state": "none"}, []),
    ],
)
def test_what_is_asked_for(fleet: FleetUnderTest, wanted: dict[str, str], which: list[int]) -> None:
    page = read_sessions(fleet.redis, fleet.keys, 10, wanted)
    assert [item["id"] for item in page.items] == [ids(fleet)[n] for n in which]


def test_a_cursor_that_is_gone(fleet: FleetUnderTest) -> None:
    with pytest.raises(BadMessage) as caught:
        read_sessions(fleet.redis, fleet.keys, 10, cursor="none")
    assert caught.value.field == "payload.cursor"


def test_one_session_with_all_that_belongs_to_it(fleet: FleetUnderTest) -> None:
    s = ids(fleet)[2]
    fleet.report(f"{s}-1", output={"x": 1}, workspace={"k": [1]})
    found = read_session(fleet.redis, fleet.keys, s)
    assert found is not None
    assert [unit["state"] for unit in found["units"]] == ["completed", "queued", "queued"]
    assert (found["units"][0]["output"], found["units"][1]["output"]) == ({"x": 1}, None)
    assert found["workspace"]["k"]["value"] == [1]
    assert read_session(fleet.redis, fleet.keys, "none") is None


def test_units_in_pages(fleet: FleetUnderTest) -> None:
    s = ids(fleet)[2]
    first = read_units_page(fleet.redis, fleet.keys, s, 2)
    assert ([u["name"] for u in first.items], first.total) == (["u0", "u1"], 3)
    rest = read_units_page(fleet.redis, fleet.keys, s, 2, first.cursor)
    assert ([u["name"] for u in rest.items], rest.cursor) == (["u2"], None)


@pytest.mark.parametrize(
    ("query", "total"),
    [({"what": "sessions"}, 4), ({"what": "units", "filter": {"session_id": "none"}}, 0)],
)
def test_a_query(fleet: FleetUnderTest, query: dict[str, object], total: int) -> None:
    pushes = Pushes(fleet.redis, fleet.keys)
    fleet.say("a", "query", query)
    fleet.run()
    ((_, push),) = pushes.all()
    pushes.close()
    assert push["message"]["payload"]["total"] == total
