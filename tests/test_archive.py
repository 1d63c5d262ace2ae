"""The archive: what happened comes back from it, whatever became of the server and of the file."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis as redis_py
from redis import Redis
from typer.testing import CliRunner

from cli.main import app
from coordinator.archive import file as archive_file
from coordinator.archive.archive import Archive
from coordinator.archive.failures import ArchiveFull, BadArchive
from coordinator.archive.follow import TOLD_AGAIN_S, ProgressReporter, follow
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.schema import APPLICATION_ID, VERSION
from coordinator.errors import CoordError
from coordinator.history import Cursor, Line
from coordinator.keys import Keys
from coordinator.session_reads import read_session
from tests.archives import (
    archive_all,
    contents,
    history,
    knowledge_in,
    knowledge_of,
    take_all,
)
from tests.fleet import BEGINNING_MS, CountingIds, FleetUnderTest, ManualClock, python

KEYS = Keys()
WITH_SURROGATE = (
    b'{"message_id":"\xed\xa0\x80","sender_id":"a","message_type":"t","timestamp":"","payload":{},'
    b'"target_ai":null}'
)
PASSED = {"verdict": "passed", "problem": "disk", "workload": "w1", "cost_unit": "ms"}


@pytest.fixture
def memory() -> Iterator[Redis]:
    """A server in memory: what the archive makes of a history does not depend on whose it is."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as client:
        yield client


@pytest.fixture
def fleet(memory: Redis) -> FleetUnderTest:
    return with_validators(FleetUnderTest(memory))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub data?.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    with Archive.open(path, create=True, ids=CountingIds()) as opened:
        yield opened


def with_validators(fleet: FleetUnderTest) -> FleetUnderTest:
    fleet.join("a", "b", "c", specialization="audio")
    fleet.enroll("v", role="validator")
    fleet.join("v", role="validator", specialization="validation")
    return fleet


def share(fleet: FleetUnderTest, ai: str, kind: str, record: dict[str, Any], **more: Any) -> None:
    types = {
        "pattern": ("pattern_share", "pattern"),
        "component": ("code_share", "code"),
        "feature": ("os_component_share", "component"),
    }
    message_type, field = types[kind]
    fleet.say(ai, message_type, {field: record}, **more)
    fleet.run()


def story(fleet: FleetUnderTest) -> Iterator[str]:
    """All that can happen to records, a step at a time."""
    share(fleet, "a", "pattern", {"id": "p", "confidence": 0.9})
    yield "a pattern"
    share(fleet, "b", "pattern", {"id": "q", "derived_from": "p"}, target="a")
    yield "one begun from it, told to one AI"
    share(fleet, "a", "pattern", {"id": "own", "derived_from": {"pattern_id": "p"}})
    yield "one of the same AI, which is no use"
    share(fleet, "b", "component", python("k", derived_from=["p", "q"]))
    yield "a component that waits"
    fleet.judge("v", "k", **PASSED, score=0.5, costs={"baseline": 2.0, "achieved": 1.5})
    yield "it passed"
    share(fleet, "c", "feature", python("f", derived_from={"id": "k"}))
    share(fleet, "c", "component", python("m", derived_from="k"))
    yield "two that are begun from it"
    fleet.judge("v", "f", "feature", **PASSED, score=0.75)
    fleet.judge("v", "m", reason="it raised ValueError")
    yield "one passed and one failed"
    share(fleet, "b", "component", python("k", description="new words"))
    yield "shared again, and what its verdict is of is the same"
    share(fleet, "b", "component", python("k", "x = 2", derived_from="q"))
    yield "a revision, which has no verdict, other origins, and for now no uses"
    fleet.judge("v", "k", **PASSED, score=0.9)
    yield "that passed too"
    share(fleet, "a", "component", {"id": "words", "description": "no source"})
    share(fleet, "a", "component", {"id": "words", "description": "still none"})
    yield "what cannot be validated"
    fleet.say("c", "performance_report", {"component_id": "k", "performance": {"x": 1.5}})
    fleet.say("c", "performance_report", {"component_id": "m", "performance": {"x": 2}}, "b")
    fleet.run()
    yield "reports, to all and to one"
    fleet.order("retract", id="q")
    yield "one is taken back, with its edges"
    fleet.order("retract", id="m")
    yield "one with a report"
    share(fleet, "c", "pattern", {"id": "q"})
    yield "somebody else uses that id, and inherits nothing"


# -- what happened comes back ----------------------------------------------------------------------


def test_records_are_at_every_step_what_clients_are_shown(
    fleet: FleetUnderTest, archive: Archive
) -> None:
    for step in story(fleet):
        fleet.clock.advance(1)
        take_all(fleet.redis, archive)
        assert knowledge_in(archive) == knowledge_of(fleet), step


def test_credit_is_as_the_fleet_has_it(fleet: FleetUnderTest, archive: Archive) -> None:
    for _ in story(fleet):
        pass
    take_all(fleet.redis, archive)
    scores = {
        ai: float(fleet.redis.hget(KEYS.member(ai), "contribution_score") or 0) for ai in "abc"
    }
    assert archive.contributions() | {"c": 0.0} == scores
    assert scores["b"] > 0


def test_the_history_comes_back_as_it_was(redis: Redis, path: Path) -> None:
    fleet = with_validators(FleetUnderTest(redis))
    for _ in story(fleet):
        fleet.clock.advance(1)
    fleet.collaborate("a", "b")
    with Archive.open(path, create=True) as archive:
        taken = take_all(redis, archive)
        told = list(archive.lines())
    assert [line.kind for line in taken].count("epoch") == 1
    assert told[1:] == taken[1:] == history(redis)
    assert told[0] == Line("epoch", "log", 0, 0, 0, taken[0].epoch, {"events_n": 0, "forgot": 0})


def test_a_span_of_it(fleet: FleetUnderTest, archive: Archive) -> None:
    for n in range(4):
        fleet.clock.advance(1)
        share(fleet, "a", "pattern", {"id": f"p{n}"})
    take_all(fleet.redis, archive)
    span = list(archive.lines(BEGINNING_MS + 2000, BEGINNING_MS + 4000))
    shared = [line.data["data"]["id"] for line in span if line.data.get("event") == "shared"]
    assert shared == ["p1", "p2"]
    assert {line.ms for line in span} == {BEGINNING_MS + 2000, BEGINNING_MS + 3000}


def test_every_verdict_is_a_row(fleet: FleetUnderTest, archive: Archive) -> None:
    share(fleet, "a", "component", python("k"))
    fleet.judge("v", "k", **PASSED, score=0.5, costs={"baseline": 2.0})
    share(fleet, "a", "component", python("k", "x = 2"))
    fleet.judge("v", "k", reason="too slow")
    take_all(fleet.redis, archive)
    rows = list(archive.rows("validations"))
    told = ("component_id", "contributor", "validator", "verdict", "score", "problem", "reason")
    assert [tuple(row[name] for name in told) for row in rows] == [
        ("k", "a", "v", "passed", 0.5, "disk", ""),
        ("k", "a", "v", "failed", None, "sound", "too slow"),
    ]
    assert json.loads(rows[0]["costs"]) == {"baseline": 2.0}
    assert rows[0]["cost_unit"] == "ms"


def test_sessions_and_units_are_as_they_were_last(fleet: FleetUnderTest, archive: Archive) -> None:
    fleet.join("w", "x", specialization="audio", skills=["k"])
    plan = [{"name": "first", "kind": "k"}]
    session_id = fleet.collaborate("w", "x", plan=plan)
    (unit_id,) = fleet.session(session_id)["units"]
    fleet.report(unit_id, "failed", reason="it broke")
    fleet.report(unit_id, output={"lines": 3})
    take_all(fleet.redis, archive)
    known = read_session(fleet.redis, KEYS, session_id)
    assert known is not None
    (session,) = archive.sessions()
    same = ("type", "initiator", "target", "state", "participants", "created_ms", "began_ms")
    assert {name: session[name] for name in same} == {name: known[name] for name in same}
    attempts = [unit for unit in archive.units(session_id) if unit["unit_id"] == unit_id]
    told = [(u["attempt"], u["ai"], u["outcome"], u["reason"], u["output"]) for u in attempts]
    stored = fleet.unit(unit_id)["attempts"]
    assert told == [
        (1, stored[0]["ai"], "failed", "it broke", None),
        (2, stored[1]["ai"], "completed", "", {"lines": 3}),
    ]


def test_who_was_there(fleet: FleetUnderTest, archive: Archive) -> None:
    fleet.clock.advance(1)
    fleet.say("a", "goodbye")
    fleet.run()
    fleet.clock.advance(1)
    fleet.join("a", specialization="graphics")
    fleet.join("b", specialization="audio", capabilities=["more"])
    take_all(fleet.redis, archive)
    there = {item["ai"]: item for item in archive.ais()}
    told = {ai: (item["specialization"], item["joins"]) for ai, item in there.items()}
    assert told == {
        "a": ("graphics", 2),
        "b": ("audio", 1),
        "c": ("audio", 1),
        "v": ("validation", 1),
    }
    a = there["a"]
    assert (a["first_joined_ms"], a["last_joined_ms"]) == (BEGINNING_MS, BEGINNING_MS + 2000)
    assert there["b"]["capabilities"] == ["more"]
    assert [item["left_ms"] for item in there.values()] == [None] * 4


def test_the_audit_has_what_operators_did(fleet: FleetUnderTest, archive: Archive) -> None:
    share(fleet, "a", "pattern", {"id": "p"})
    share(fleet, "b", "pattern", {"id": "p"})
    fleet.order("retract", id="p")
    fleet.order("kick", ai="c")
    take_all(fleet.redis, archive)
    kinds = [row["kind"] for row in archive.rows("audit")]
    assert kinds == ["enrolled", "refused", "retracted", "kicked"]


def test_scripts_find_the_columns_where_they_expect_them(archive: Archive, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        columns = {
            table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for table in ("shared_patterns", "shared_components", "shared_features")
        }
        marks = [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        ]
    begin = ["contributor", "timestamp"]
    assert columns["shared_patterns"][:5] == ["pattern_id", "pattern_data", *begin, "usage_count"]
    for table, kind in (("shared_components", "component"), ("shared_features", "feature")):
        named = [f"{kind}_id", f"{kind}_data", *begin, "quality_score", "usage_count"]
        assert columns[table][:6] == named
    assert marks == [APPLICATION_ID, VERSION, "wal"]


def test_hostile_text_is_stored_as_it_is(fleet: FleetUnderTest, archive: Archive) -> None:
    text = "'; DROP TABLE messages; --\x00\x1b[31m\u2028 \U0001f600"
    share(fleet, "a", "pattern", {"id": "'; --", "name": text})
    fleet.say("a", "message", {"text": text}, "b")
    fleet.run()
    take_all(fleet.redis, archive)
    (pattern,) = archive.records("pattern")
    assert pattern["pattern_data"] == {"id": "'; --", "name": text}
    assert list(archive.lines())[1:] == history(fleet.redis)


# -- by cursor -------------------------------------------------------------------------------------


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


# -- the file --------------------------------------------------------------------------------------


def spoil(path: Path, what: str) -> None:
    if what == "a directory":
        path.mkdir()
        return
    if what in ("no database", "cut"):
        Archive.open(path, create=True).close()
        path.write_bytes(
            b"dear diary\n" * 1000 if what == "no database" else path.read_bytes()[:5000]
        )
        return
    with closing(sqlite3.connect(path)) as database:
        if what == "foreign":
            database.execute("CREATE TABLE diary (day, words)")
    if what in ("newer", "without a table"):
        path.unlink()
        Archive.open(path, create=True).close()
        change = f"PRAGMA user_version = {VERSION + 1}" if what == "newer" else "DROP TABLE units"
        with closing(sqlite3.connect(path)) as database:
            database.execute(change)


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("a directory", "is a directory"),
        ("no database", "cannot be read as an archive"),
        ("cut", "cannot be read as an archive"),
        ("foreign", "another program's database"),
        ("newer", "made by a newer coord"),
        ("without a table", "has no table units"),
    ],
)
@pytest.mark.parametrize(
    "opened", [lambda path: Archive.open(path, create=True), ArchiveReader.read]
)
def test_a_file_that_is_none_of_ours(
    path: Path, what: str, word: str, opened: Callable[[Path], ArchiveReader]
) -> None:
    spoil(path, what)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BadArchive, match=word) as told:
        opened(path).close()
    assert told.value.path == path
    assert told.value.code == "bad_archive"
    assert str(path) in told.value.detail
    assert not before or path.read_bytes() == before


def test_a_file_that_is_not_there(path: Path) -> None:
    for opened in (ArchiveReader.read, lambda path: Archive.open(path, create=False)):
        with pytest.raises(BadArchive, match="there is no archive at"):
            opened(path)
    with pytest.raises(BadArchive, match=r"the directory of .* is missing"):
        Archive.open(path / "deeper" / "hub.db", create=True)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_an_empty_file_is_no_archive(path: Path, create: bool) -> None:
    """Something has become of it: what was in it is not silently begun anew."""
    path.touch()
    with pytest.raises(BadArchive, match="is empty: remove it to begin a new archive"):
        Archive.open(path, create)


def test_a_new_one_has_its_name_once_it_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "write_values", lambda *values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Archive.open(path, create=True)
    monkeypatch.undo()
    assert list(path.parent.iterdir()) == []
    with Archive.open(path, create=True) as archive:
        assert archive.cursor == Cursor()
        assert len(archive.archive_id) == 12


def test_only_a_regular_file_is_one(path: Path) -> None:
    os.mkfifo(path)
    for place in (path, Path("/dev/null")):
        for opened in (ArchiveReader.read, lambda place: Archive.open(place, create=True)):
            with pytest.raises(BadArchive, match="is no regular file"):
                opened(place)


def test_one_that_is_cut_while_it_is_written_is_noticed(fleet: FleetUnderTest, path: Path) -> None:
    archive_all(fleet.redis, path)
    with Archive.open(path, create=False) as archive:
        archive.check_file()
        os.truncate(path, 8192)
        with pytest.raises(BadArchive, match="was cut short while it was written"):
            archive.check_file()


def test_only_one_writes_it(archive: Archive, path: Path) -> None:
    with pytest.raises(BadArchive, match="being written by another `coord archive`"):
        Archive.open(path, create=True)
    archive.close()
    Archive.open(path, create=False).close()


def test_a_writer_that_another_program_keeps_waiting(
    fleet: FleetUnderTest, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "BUSY_S", 0.01)
    with (
        Archive.open(path, create=True) as archive,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BadArchive, match="being written by another program"):
            take_all(fleet.redis, archive)
        other.execute("ROLLBACK")
        take_all(fleet.redis, archive)
        assert archive.counts()["ais"] == 4


def test_it_is_read_while_it_is_written(
    fleet: FleetUnderTest, archive: Archive, path: Path
) -> None:
    take_all(fleet.redis, archive)
    with ArchiveReader.read(path) as reader:
        before = reader.counts()
        share(fleet, "a", "pattern", {"id": "p"})
        take_all(fleet.redis, archive)
        assert reader.counts()["shared_patterns"] == before["shared_patterns"] + 1
        assert list(reader.lines()) == list(archive.lines())


def test_a_reader_that_is_left_half_way_says_nothing(
    fleet: FleetUnderTest, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive_all(fleet.redis, path)
    with ArchiveReader.read(path) as reader:
        rows, lines = reader.rows("events"), reader.lines()
        next(rows), next(lines)
    with pytest.raises(BadArchive):
        next(reader.rows("events"))
    del rows, lines
    assert capfd.readouterr() == ("", "")


def test_once_closed_it_is_one_file(fleet: FleetUnderTest, path: Path) -> None:
    archive_all(fleet.redis, path)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_vanishes_is_noticed(fleet: FleetUnderTest, archive: Archive) -> None:
    archive.path.rename(archive.path.with_name("moved"))
    with pytest.raises(BadArchive, match="removed or replaced"):
        take_all(fleet.redis, archive)


def test_a_full_disk_loses_and_doubles_nothing(
    fleet: FleetUnderTest, path: Path, tmp_path: Path
) -> None:
    archive_all(fleet.redis, path)
    share(fleet, "a", "pattern", {"id": "p", "data": "x" * 100_000})
    with Archive.open(path, create=False) as archive:
        (pages,) = archive._database.execute("PRAGMA page_count").fetchone()
        archive._database.execute(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(ArchiveFull, match="make room") as told:
            take_all(fleet.redis, archive)
        assert isinstance(told.value, CoordError)
    archive_all(fleet.redis, path)
    archive_all(fleet.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")


# -- following -------------------------------------------------------------------------------------


class Faulty(fakeredis.FakeRedis):
    """Its server is away for the next ``away`` reads of streams."""

    away = 0

    def xread(self, *arguments: Any) -> Any:
        if self.away:
            self.away -= 1
            raise redis_py.ConnectionError("gone")
        return super().xread(*arguments)


def test_an_outage_is_said_once_and_waited_out(
    archive: Archive, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.following.AWAY_S", 0.01)
    monkeypatch.setattr("coordinator.following.BLOCK_MS", 10)
    caplog.set_level(logging.INFO, "coord.archive")
    stop = threading.Event()
    with Faulty(server=fakeredis.FakeServer(), protocol=2) as client:
        fleet = with_validators(FleetUnderTest(client))
        client.away = 3
        for lines in follow(archive, client, KEYS, ManualClock(), CountingIds(), stop):
            if any(line.data.get("event") == "joined" for line in lines):
                stop.set()
        assert [line for line in archive.lines() if line.kind != "epoch"] == history(fleet.redis)
    told = [record.message for record in caplog.records if record.name == "coord.archive"]
    said = [text for text in told if "epoch" not in text]
    assert len(said) == 2
    assert "waiting for it" in said[0]
    assert said[1] == "the server is back"


def test_the_coordinator_is_told_how_far_it_has_come(
    fleet: FleetUnderTest, archive: Archive
) -> None:
    clock = ManualClock()
    reporter = ProgressReporter(archive, fleet.redis, KEYS, clock, CountingIds())

    def told() -> list[Any]:
        entries = fleet.stream(KEYS.ingress("operator"))
        bodies = [json.loads(fields["body"]) for _, fields in entries]
        return [(body["message_type"], body["payload"]) for body in bodies]

    reporter.report()
    assert told() == []  # nothing was read
    take_all(fleet.redis, archive)
    cursor = archive.cursor
    payload = {"archive": archive.archive_id, **cursor._asdict()}
    reporter.report()
    reporter.report()
    assert told() == [("archived", payload)]
    before = fleet.log(), fleet.events()
    fleet.run()
    assert (fleet.log(), fleet.events()) == before  # else there were always something new
    clock.advance(2)
    reporter.report()
    assert told() == []  # nothing is new
    clock.advance(TOLD_AGAIN_S)
    reporter.report()
    assert told() == [("archived", payload)]


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("logs_restored")
def test_the_command_stores_what_is_there(real_redis: Redis, real_url: str, path: Path) -> None:
    with_validators(FleetUnderTest(real_redis))
    done = CliRunner().invoke(app, ["archive", str(path), "--once", "--json", "--redis", real_url])
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    shown = CliRunner().invoke(app, ["archive", str(path), "--once", "--redis", real_url])
    with ArchiveReader.read(path) as archive:
        assert counts == archive.counts()
        assert [line for line in archive.lines() if line.kind != "epoch"] == history(real_redis)
    assert (counts["ais"], counts["missing"]) == (4, 0)
    assert "ais" in shown.stdout


@pytest.mark.usefixtures("logs_restored")
@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--json"], 2, "--json goes with --once"),
        (["--once"], 1, "is a directory"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    real_url: str, tmp_path: Path, options: list[str], code: int, word: str
) -> None:
    done = CliRunner().invoke(app, ["archive", str(tmp_path), *options, "--redis", real_url])
    assert done.exit_code == code
    assert word in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
