"""Which records are found: those of a contributor, those whose id contains a text; page by page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from coordinator import record_search
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.reads import Page, read_records
from coordinator.record_search import (
    EVERY_RECORD,
    RecordIds,
    Wanted,
    containing,
    read_record_ids,
)
from tests.fleet import FleetUnderTest

STRANGE = ["a*b?c", "[x-z]", "back\\slash", "%", "ÜBER straße", "Ⅷ 名前"]
FindPage = Callable[..., Page]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", specialization="audio")
    fleet.join("b", specialization="graphics")
    return fleet


@pytest.fixture
def share(fleet: FleetUnderTest) -> Callable[..., None]:
    """Have an AI share patterns, each a second after the one before."""

    def share(ai: str, *ids: str, **more: str) -> None:
        for record_id in ids:
            fleet.clock.advance(1)
            fleet.say(ai, "pattern_share", {"pattern": {"id": record_id, **more}})
            fleet.run()

    return share


@pytest.fixture
def find(redis: Redis) -> FindPage:
    def find(text: str, limit: int = 10, cursor: str | None = None, **more: str) -> Page:
        wanted = Wanted(search=text, **more)
        return read_records(redis, Keys(), "pattern", limit, wanted, cursor)

    return find


def ids_of(page: Page) -> list[str]:
    return [item["id"] for item in page.items]


# -- of a contributor ------------------------------------------------------------------------------


def test_what_an_ai_shared_is_read_page_by_page(redis: Redis, share: Callable[..., None]) -> None:
    share("a", "a1", "a2", "a3")
    share("b", "b1")
    first = read_records(redis, Keys(), "pattern", 2, Wanted(contributor="a"))
    rest = read_records(redis, Keys(), "pattern", 2, Wanted(contributor="a"), first.cursor)
    assert (ids_of(first), first.cursor, first.total) == (["a3", "a2"], "a2", 3)
    assert (ids_of(rest), rest.cursor, rest.total) == (["a1"], None, 3)


def test_a_page_of_a_contributor_has_those_of_the_specialization(
    redis: Redis, share: Callable[..., None]
) -> None:
    share("a", "a1", "a2")
    share("a", "a3", specialization="graphics")
    share("b", "b1")
    page = read_records(redis, Keys(), "pattern", 10, Wanted("graphics", "a"))
    assert (ids_of(page), page.cursor) == (["a3"], None)


def test_a_specialization_called_of_is_no_contributor(
    redis: Redis, share: Callable[..., None]
) -> None:
    share("a", "p", specialization="of")
    assert ids_of(read_records(redis, Keys(), "pattern", 10, Wanted("of"))) == ["p"]
    assert ids_of(read_records(redis, Keys(), "pattern", 10, Wanted(contributor="of"))) == []


# -- by a part of the id ---------------------------------------------------------------------------


def test_the_newest_come_first_whatever_the_case_of_letters(
    share: Callable[..., None], find: FindPage
) -> None:
    share("a", "Cache-1", "disk-1", "my cache", "CACHE")
    page = find("cAcHe")
    assert (ids_of(page), page.cursor, page.total) == (["CACHE", "my cache", "Cache-1"], None, 4)


@pytest.mark.parametrize("text", [*STRANGE, "*", "?", "[", "]", "\\", "%", "über", "STRASSE", "名"])
def test_a_text_is_literal_whatever_characters_it_has(
    share: Callable[..., None], find: FindPage, text: str
) -> None:
    share("a", *STRANGE)
    expected = [one for one in STRANGE if text.casefold() in one.casefold()]
    assert sorted(ids_of(find(text))) == sorted(expected)
    assert expected


@pytest.mark.parametrize("text", ["nothing", "1\np", "\x00", "a" * 128])
def test_a_text_that_no_id_contains_finds_none(
    share: Callable[..., None], find: FindPage, text: str
) -> None:
    share("a", "p1", "p2")
    assert find(text) == Page([], None, 2)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"contributor": "a"}, ["x3", "x1"]),
        ({"specialization": "graphics"}, ["x3", "x2"]),
        ({"contributor": "a", "specialization": "graphics"}, ["x3"]),
    ],
)
def test_a_search_is_narrowed_by_contributor_and_specialization(
    share: Callable[..., None], find: FindPage, wanted: dict[str, str], expected: list[str]
) -> None:
    share("a", "x1", "y1")
    share("b", "x2")
    share("a", "x3", specialization="graphics")
    assert ids_of(find("x", **wanted)) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
def test_pages_follow_each_other_and_end(
    share: Callable[..., None], find: FindPage, limit: int
) -> None:
    share("a", *(f"x{n}" for n in range(5)), "y")
    found: list[str] = []
    cursors: list[str | None] = [None]
    while len(cursors) == 1 or cursors[-1] is not None:
        page = find("x", limit, cursors[-1])
        found += ids_of(page)
        cursors.append(page.cursor)
    assert found == ["x4", "x3", "x2", "x1", "x0"]
    assert len(cursors) - 1 == -(-5 // limit)


@pytest.mark.parametrize(("wanted", "count"), [(EVERY_RECORD, 3), (Wanted(search="x"), 5)])
def test_no_more_ids_are_read_than_are_needed(
    redis: Redis,
    share: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    wanted: Wanted,
    count: int,
) -> None:
    share("a", *(f"x{n}" for n in range(5)))
    looked_at: list[str] = []

    def looked_through(search: str, ids: list[str]) -> list[str]:
        looked_at.extend(ids)
        return containing(search, ids)

    monkeypatch.setattr(record_search, "containing", looked_through)
    found = read_record_ids(redis, Keys(), "pattern", wanted, 2)
    assert found == RecordIds(["x4", "x3"], "x3", 5)
    assert len(looked_at) == count


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_page_ends_after_so_many_ids_were_looked_at(
    share: Callable[..., None],
    find: FindPage,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(record_search, "AT_ONCE", at_once)
    monkeypatch.setattr(record_search, "LOOK_MAX", 6)
    share("a", "x1", *(f"y{n}" for n in range(7)))
    first = find("x")
    second = find("x", cursor=str(first.cursor))
    assert (ids_of(first), first.cursor) == ([], "y1")
    assert (ids_of(second), second.cursor) == (["x1"], None)


def test_a_page_ends_when_it_has_its_bytes(redis: Redis, share: Callable[..., None]) -> None:
    share("a", *(f"x{n:02}" for n in range(12)), text="t" * 100)
    page = read_records(redis, Keys(), "pattern", 12, Wanted(search="x"), max_bytes=500)
    assert (len(page.items), page.cursor) == (10, "x02")


def test_a_cursor_that_is_gone_is_said(find: FindPage) -> None:
    with pytest.raises(BadMessage, match="no longer there"):
        find("x", cursor="x1")


def test_what_strangers_wrote_into_an_index_is_left_out(
    redis: Redis, share: Callable[..., None], find: FindPage
) -> None:
    share("a", "x1")
    redis.zadd(Keys().records("pattern"), {b"x\xff": 1.0, b"x\n2": 2.0, b"x gone": 3.0})
    redis.set(Keys().records_of("pattern", "b"), "x")
    assert ids_of(find("x")) == ["x1"]
    assert ids_of(read_records(redis, Keys(), "pattern", 10)) == ["x1"]
    assert find("x", contributor="b") == Page([], None, 0)
