"""Sessions and units as clients and people see them, page by page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.errors import BadMessage
from coordinator.session_reads import (
    read_open_work,
    read_progress,
    read_session,
    read_sessions,
    read_units_page,
    read_workspace,
)
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


@pytest.mark.parametrize(("is_open", "which"), [(True, [3, 2]), (False, [0, 1])])
def test_only_the_open_ones_or_only_the_others(
    fleet: FleetUnderTest, is_open: bool, which: list[int]
) -> None:
    seen, cursor = [], None
    for _ in range(2):
        page = read_sessions(fleet.redis, fleet.keys, 1, cursor=cursor, is_open=is_open)
        seen += [item["id"] for item in page.items]
        cursor = page.cursor
    assert (seen, cursor) == ([ids(fleet)[n] for n in which], None)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"9" * 5000,
        b'{"id": 7}',
        b"[" * 5000,
        {"id": "another"},
        {"created_ms": 10**30},
        {"progress": 7},
        {"units": "all"},
        {"state": "odd"},
    ],
)
def test_a_session_that_strangers_spoiled_counts_as_none(
    fleet: FleetUnderTest, stored: bytes | dict[str, Any]
) -> None:
    one, two, three, feature = ids(fleet)
    if isinstance(stored, dict):
        stored = json.dumps(fleet.session(three) | stored).encode()
    fleet.redis.hset(fleet.keys.session(three), "session", stored)
    page = read_sessions(fleet.redis, fleet.keys, 10)
    assert [item["id"] for item in page.items] == [feature, one, two]
    assert read_session(fleet.redis, fleet.keys, three) is None
    assert read_progress(fleet.redis, fleet.keys, three) is None
    assert read_units_page(fleet.redis, fleet.keys, three, 10).items == []
    assert read_open_work(fleet.redis, fleet.keys)["sessions"]["features"] == 1


def test_keys_that_are_no_hashes(fleet: FleetUnderTest) -> None:
    one, _, three, _ = ids(fleet)
    for key in (fleet.keys.session(one), fleet.keys.unit(f"{three}-2")):
        fleet.redis.delete(key)
        fleet.redis.set(key, "x")
    fleet.redis.set(fleet.keys.workspace(three), "x")
    found = read_session(fleet.redis, fleet.keys, three)
    assert found is not None
    assert [unit["id"] for unit in found["units"]] == [f"{three}-1", f"{three}-3"]
    assert found["workspace"] == {}
    assert read_workspace(fleet.redis, fleet.keys, three, None, 10).items == []
    assert one not in [item["id"] for item in read_sessions(fleet.redis, fleet.keys, 10).items]


def test_entries_of_a_workspace_that_strangers_spoiled_are_left_out(fleet: FleetUnderTest) -> None:
    three = ids(fleet)[2]
    fleet.report(f"{three}-1", workspace={"good": {"x": [1]}})
    for n, value in enumerate((b"", b"[]", b'{"value": 1}', b"\xff", b"[" * 5000)):
        fleet.redis.hset(fleet.keys.workspace(three), f"bad-{n}", value)
    odd_ms = {"value": 1, "version": 1, "by": "a", "ms": 10**30}
    fleet.redis.hset(fleet.keys.workspace(three), b"\xff", json.dumps(odd_ms))
    page = read_workspace(fleet.redis, fleet.keys, three, None, 10)
    assert [(entry["key"], entry["value"]) for entry in page.items] == [("good", {"x": [1]})]
    assert (page.cursor, page.total) == (None, 7)


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
