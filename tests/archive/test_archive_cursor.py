"""An archive goes on where it was, whatever became of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakeredis
import pytest

from coordinator.archive.archive import Archive
from coordinator.archive.failures import BadArchive
from coordinator.history import Line
from coordinator.keys import Keys
from tests.archives import (
    archive_all,
    contents,
    knowledge_in,
    share,
    story,
    take_all,
)
from tests.fleet import BEGINNING_MS, FleetUnderTest, python

KEYS = Keys()
WITH_SURROGATE = (
    b'{"message_id":"\xed\xa0\x80","sender_id":"a","message_type":"t","timestamp":"","payload":{},'
    b'"target_ai":null}'
)


def test_it_goes_on_where_it_was(fleet: FleetUnderTest, path: Path, tmp_path: Path) -> None:
    for _ in story(fleet):
        fleet.clock.advance(1)
        archive_all(fleet.redis, path)
    archive_all(fleet.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")


def test_however_much_is_read_at_a_time(fleet: FleetUnderTest, path: Path, tmp_path: Path) -> None:
    for _ in story(fleet):
        fleet.clock.advance(0.001)
    archive_all(fleet.redis, tmp_path / "at once.db")
    archive_all(fleet.redis, path, at_once=2)
    assert contents(path) == contents(tmp_path / "at once.db")


def test_what_was_cut_is_a_gap(fleet: FleetUnderTest, archive: Archive) -> None:
    share(fleet, "a", "pattern", {"id": "p1"})
    take_all(fleet.redis, archive)
    before = archive.cursor
    for n in range(2, 5):
        share(fleet, "a", "pattern", {"id": f"p{n}"})
    fleet.redis.xtrim(KEYS.log, maxlen=1, approximate=False)
    fleet.redis.xtrim(KEYS.events, maxlen=1, approximate=False)
    take_all(fleet.redis, archive)
    gaps = [(row["source"], row["first_n"], row["last_n"]) for row in archive.rows("gaps")]
    assert sorted(gaps) == [
        ("events", before.events + 1, before.events + 2),
        ("log", before.log + 1, before.log + 2),
    ]
    assert archive.counts()["missing"] == 4
    assert archive.cursor == (before.epoch, before.log + 3, before.events + 3)
    assert [row["pattern_id"] for row in archive.records("pattern")] == ["p1", "p4"]
    assert [line.kind for line in archive.lines()].count("gap") == 2


@pytest.mark.parametrize(
    "spoiled",
    [
        {"log": {"message": "{"}},
        {"log": {"message": "[]"}},
        {"log": {"message": '{"message_id": "m"}'}},
        {"log": {"message": '{"message_id":"\\ud800"}'}},
        {"log": {"message": WITH_SURROGATE}},
        {"events": {"kind": "joined", "ai": "a", "text": "t", "data": b'{"x":"\xed\xa0\x80"}'}},
        {"events": {"kind": "joined", "ai": b"\xed\xa0\x80", "text": "t", "data": "{}"}},
        {"log": {"no": "message"}},
        {"events": {"kind": "joined", "ai": "a", "text": "t", "data": "[1"}},
        {"events": {"kind": b"\xff", "ai": "a", "text": "t", "data": "{}"}},
        {"events": {"kind": "joined"}},
    ],
    ids=str,
)
def test_what_strangers_wrote_is_a_gap_too(
    fleet: FleetUnderTest, archive: Archive, spoiled: dict[Any, Any]
) -> None:
    ((source, fields),) = spoiled.items()
    take_all(fleet.redis, archive)
    n = archive.cursor.log + 1 if source == "log" else archive.cursor.events + 1
    key = KEYS.log if source == "log" else KEYS.events
    common = {"epoch": archive.cursor.epoch, "ms": BEGINNING_MS, "bytes": 1}
    fleet.redis.xadd(key, {**fields, **common}, id=f"{n}-0")
    take_all(fleet.redis, archive)
    (gap,) = archive.rows("gaps")
    assert (gap["source"], gap["first_n"], gap["last_n"]) == (source, n, n)


INJECTED = "components WHERE 1 OR ?1 --"


@pytest.mark.parametrize(
    "kind", ["shared", "validated", "retracted", "session_active", "unit_lost", "joined", "message"]
)
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "pattern", "id": 1, "session": [], "unit": {"attempts": 3}},
        {"kind": "x"},
        {"id": "k", "kinds": [INJECTED]},
        {"kind": INJECTED, "component_id": "k", "contributors": ["a"], "verdict": "failed"},
        {"message": '{"message_id":"\\ud800","sender_id":"a","payload":{}}'},
    ],
    ids=str,
)
def test_an_event_that_says_nothing_of_use_is_kept_as_it_is(
    fleet: FleetUnderTest, archive: Archive, kind: str, data: dict[str, Any]
) -> None:
    share(fleet, "a", "component", python("k"))
    take_all(fleet.redis, archive)
    before = knowledge_in(archive)
    n, epoch = archive.cursor.events + 1, archive.cursor.epoch
    told = {"event": kind, "ai": "a", "text": "t", "data": data}
    archive.take([Line("event", "events", n, n, BEGINNING_MS, epoch, told)])
    assert knowledge_in(archive) == before
    assert list(archive.rows("events"))[-1]["kind"] == kind


def test_what_the_server_forgot_is_kept_and_told(fleet: FleetUnderTest, archive: Archive) -> None:
    """It is restored from what it was two messages ago, and goes on in another epoch."""
    take_all(fleet.redis, archive)
    old = archive.cursor
    saved = {key: fleet.redis.dump(key) for key in fleet.redis.keys("*")}
    share(fleet, "a", "pattern", {"id": "forgotten"})
    share(fleet, "a", "pattern", {"id": "too"})
    take_all(fleet.redis, archive)
    fleet.redis.flushall()
    for key, value in saved.items():
        fleet.redis.restore(key, 0, value)
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    share(fleet, "b", "pattern", {"id": "new"})
    take_all(fleet.redis, archive)
    first, second = archive.rows("epochs")
    assert (first["epoch"], first["log_n"], first["forgot"]) == (old.epoch, 0, 0)
    assert (second["log_n"], second["events_n"], second["forgot"]) == (old.log, old.events, 2)
    assert archive.cursor[1:] == (old.log + 1, old.events + 1)
    ids = {row["pattern_id"] for row in archive.records("pattern")}
    assert ids == {"forgotten", "too", "new"}
    assert archive.counts()["gaps"] == 0


def test_a_server_that_goes_back_by_two_epochs_is_followed(
    fleet: FleetUnderTest, archive: Archive
) -> None:
    """Of three epochs that were archived it knows the first, and half of the second."""
    share(fleet, "a", "pattern", {"id": "p1"})
    take_all(fleet.redis, archive)
    begin_epoch(fleet, 2)
    share(fleet, "a", "pattern", {"id": "p2"})
    take_all(fleet.redis, archive)
    saved = {key: fleet.redis.dump(key) for key in fleet.redis.keys("*")}
    share(fleet, "a", "pattern", {"id": "p3"})
    take_all(fleet.redis, archive)
    begin_epoch(fleet, 3)
    share(fleet, "a", "pattern", {"id": "p4"})
    take_all(fleet.redis, archive)
    fleet.redis.flushall()
    for key, value in saved.items():
        fleet.redis.restore(key, 0, value)
    begin_epoch(fleet, 4)
    share(fleet, "a", "pattern", {"id": "p5"})
    take_all(fleet.redis, archive)
    assert {row["pattern_id"] for row in archive.records("pattern")} == {
        *("p1", "p2", "p3", "p4", "p5")
    }
    assert [row["forgot"] for row in archive.rows("epochs")] == [0, 0, 0, 2]
    assert archive.counts()["gaps"] == 0
    assert [line.data["data"]["id"] for line in archive.lines() if is_share(line)] == [
        *("p1", "p2", "p3", "p4", "p5")
    ]


def begin_epoch(fleet: FleetUnderTest, n: int) -> None:
    fleet.clock.advance(1)
    fleet.run_id = f"run-{n}"
    fleet.replace_coordinator(f"coordinator-{n}")


def is_share(line: Line) -> bool:
    return line.kind == "event" and line.data["event"] == "shared"


def test_an_entry_of_a_stranger_hinders_no_new_epoch(
    fleet: FleetUnderTest, archive: Archive
) -> None:
    take_all(fleet.redis, archive)
    n = archive.cursor.events
    fleet.redis.xadd(KEYS.events, {"foo": "bar"}, id=f"{n}-1")
    begin_epoch(fleet, 2)
    share(fleet, "a", "pattern", {"id": "p"})
    take_all(fleet.redis, archive)
    assert [row["pattern_id"] for row in archive.records("pattern")] == ["p"]
    assert archive.counts()["missing"] == 0


def test_another_fleet_is_refused(fleet: FleetUnderTest, archive: Archive) -> None:
    take_all(fleet.redis, archive)
    before = archive.cursor
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as other:
        stranger = FleetUnderTest(other)
        stranger.ids.made = 50
        stranger.join("a")
        with pytest.raises(BadArchive, match="of another fleet"):
            take_all(other, archive)
    assert archive.cursor == before


def test_an_empty_server_is_waited_for(fleet: FleetUnderTest, archive: Archive) -> None:
    take_all(fleet.redis, archive)
    before = archive.cursor
    fleet.redis.flushall()
    assert take_all(fleet.redis, archive) == []
    assert archive.cursor == before


def test_a_batch_is_taken_whole_or_not_at_all(fleet: FleetUnderTest, archive: Archive) -> None:
    lines = take_all(fleet.redis, archive)
    before, cursor = archive.counts(), archive.cursor
    last = lines[-1]
    new = Line("event", "events", last.n + 1, last.n + 1, last.ms, last.epoch, last.data)
    with pytest.raises(BadArchive, match="UNIQUE"):
        archive.take([new, last])
    assert (archive.counts(), archive.cursor) == (before, cursor)
    archive.take([new])
    assert archive.cursor.events == cursor.events + 1
