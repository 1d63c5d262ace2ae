"""What happened comes back from an archive as it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from redis import Redis

from coordinator.archive.archive import Archive
from coordinator.archive.schema import APPLICATION_ID, VERSION
from coordinator.history import Line
from coordinator.keys import Keys
from coordinator.session_reads import read_session
from tests.archives import (
    PASSED,
    history,
    knowledge_in,
    knowledge_of,
    share,
    story,
    take_all,
    with_validators,
)
from tests.fleet import BEGINNING_MS, FleetUnderTest, python

KEYS = Keys()


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
