"""A restored fleet is the archived one: every key of its knowledge, and it goes on."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.main import app
from cli.restore import told_in_lines
from coordinator import CoordError
from coordinator.archive import replay
from coordinator.archive.archive import Archive
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.restore import Restored, RestoreFailed, restore
from coordinator.archive.restore_writer import RestoreMark, RestoreWriter
from coordinator.clock import RandomIds
from coordinator.history import Follower
from coordinator.keys import Keys
from coordinator.lease import Lease
from coordinator.state import RESTORING
from tests.archives import archive_all, take_all
from tests.fleet import FleetUnderTest, ManualClock, Stop, dump, python
from tests.watched import look, queued, take

KEYS = Keys()
KNOWLEDGE = (
    *("pattern", "component", "feature", "benchmarks", "best", "derived", "credit"),
    *("validations", "evaluators", "verdicts", "member"),
)
OPERATIONS = 150


# -- fleets to restore -----------------------------------------------------------------------------


def founded(redis: Redis) -> FleetUnderTest:
    """Three AIs and two validators, which measure by what they say."""
    fleet = FleetUnderTest(redis, lease_s=3600, validations_per_hour=60, benchmarks_keep=5)
    for ai, specialization in (("a", "audio"), ("b", "graphics"), ("c", "audio")):
        fleet.join(ai, specialization=specialization, skills=["k"])
    for validator in ("v", "w"):
        fleet.enroll(validator, role="validator")
    fleet.join("v", evaluators={"sound": "sound-1", "shapes": "shapes-1"})
    return fleet


def share(fleet: FleetUnderTest, ai: str, record: dict[str, Any], kind: str = "component") -> None:
    types = {
        "pattern": ("pattern_share", "pattern"),
        "component": ("code_share", "code"),
        "feature": ("os_component_share", "component"),
    }
    message_type, field = types[kind]
    fleet.say(ai, message_type, {field: record})
    fleet.run()


def passed(fleet: FleetUnderTest, record_id: str, score: float, **own: Any) -> None:
    verdict = {"verdict": "passed", "score": score, "evaluator": "sound-1", "workload": "w1"}
    fleet.judge("v", record_id, **{**verdict, **own})


def lived_in(redis: Redis) -> FleetUnderTest:
    """A fleet in which there was all that can become of a record."""
    fleet = founded(redis)
    share(fleet, "a", {"id": "p", "data": {"x": 1.5}}, "pattern")
    share(fleet, "b", {"id": "q", "derived_from": ["p"], "specialization": "audio"}, "pattern")
    fleet.clock.advance(1.5)
    share(fleet, "b", {"id": "q", "specialization": "graphics"}, "pattern")
    share(fleet, "a", python("c"))
    passed(fleet, "c", 0.5, costs={"baseline": 9.0, "bound": 1.0}, timings={"measure": 0.1})
    fleet.clock.advance(1)
    share(fleet, "b", python("copy", derived_from="c", specialization="audio"))
    passed(fleet, "copy", 0.6)
    share(fleet, "b", python("better", "x = 2", derived_from=["c", "q"]))
    passed(fleet, "better", 0.8)
    share(fleet, "c", python("best", "x = 3", derived_from="better"))
    passed(fleet, "best", 0.9, problem="shapes", evaluator="shapes-1")
    share(fleet, "a", python("c", "x = 4", derived_from="best"))
    passed(fleet, "c", 0.95)
    share(fleet, "a", python("failed", "raise"))
    fleet.judge("v", "failed", reason="it raises")
    share(fleet, "a", python("compiled", "int f();", language="cpp"))
    fleet.judge("v", "compiled", verdict="compiled", problem="")
    share(fleet, "b", {"id": "words", "description": "no source"})
    share(fleet, "b", python("lost_all", "x = 5"))
    passed(fleet, "lost_all", 0.7)
    share(fleet, "b", {"id": "lost_all", "description": "source no more"})
    share(fleet, "c", python("f", "x = 6", derived_from={"component_id": "c"}), "feature")
    fleet.judge("v", "f", "feature", verdict="passed", score=0.3, evaluator="sound-1")
    share(fleet, "c", {"id": "c", "data": 1}, "pattern")
    share(fleet, "a", python("gone", "x = 7", derived_from="c"))
    passed(fleet, "gone", 0.99)
    report(fleet, "b", "gone")
    share(fleet, "c", python("orphan", "x = 8", derived_from="gone"))
    passed(fleet, "orphan", 0.4)
    look(fleet, 9)
    fleet.order("retract", id="gone")
    report(fleet, "b", "c", 8)
    report(fleet, "b", "f", target="a")
    with_several_contributors(fleet)
    share(fleet, "operator", python("by_hand", "x = 9"))
    share(fleet, "operator", python("better", "x = 10"))
    share(fleet, "a", python("lost", "x = 11"))
    take_all_jobs(fleet)
    look(fleet, 30)
    fleet.join("v", evaluators={"sound": "sound-2", "shapes": "shapes-1"})
    look(fleet, 75)
    passed(fleet, "c", 0.94, evaluator="sound-2")
    fleet.judge("v", "copy", verdict="not_validated", reason="no sandbox")
    share(fleet, "a", python("late", "x = 12", derived_from="copy"))
    return fleet


def report(fleet: FleetUnderTest, ai: str, record_id: str, count: int = 1, **to: Any) -> None:
    for n in range(count):
        performance = {"latency_ms": 1.25 + n}
        payload = {"component_id": record_id, "performance": performance}
        fleet.say(ai, "performance_report", payload, **to)
    fleet.run()


def with_several_contributors(fleet: FleetUnderTest) -> None:
    """A component that two made together, and which one of them has shared again."""
    plan = [{"name": f"u{n}", "kind": "k", "participant": n} for n in (0, 1)]
    session_id = fleet.collaborate("a", "b", plan=plan)
    fleet.report(f"{session_id}-1")
    fleet.report(f"{session_id}-2", output={"component": python("joint", derived_from="best")})
    fleet.judge("v", "joint", "feature", verdict="passed", score=0.65, evaluator="sound-1")
    share(fleet, "b", python("joint", "x = 21"), "feature")
    fleet.judge("v", "joint", "feature", verdict="passed", score=0.66, evaluator="sound-1")


def take_all_jobs(fleet: FleetUnderTest) -> None:
    while queued(fleet):
        take(fleet)


def at_random(redis: Redis, seed: int) -> FleetUnderTest:
    """A fleet that shares, judges, retracts and reports whatever comes."""
    fleet, choose = founded(redis), random.Random(seed)
    ids = [f"r{n}" for n in range(6)]
    for _ in range(OPERATIONS):
        one = choose.choice(ids)
        match choose.choices(["share", "judge", "retract", "report", "time"], [9, 9, 1, 2, 4])[0]:
            case "share":
                kind = choose.choice(["pattern", "component", "component", "feature"])
                ai = choose.choice(["a", "b", "c", "operator"])
                share(fleet, ai, some_record(choose, one, ids, kind), kind)
            case "judge":
                kind = choose.choice(["component", "component", "feature"])
                judge_somehow(fleet, choose, one, kind)
            case "retract":
                fleet.order("retract", id=one)
            case "report":
                report(fleet, choose.choice("abc"), one, choose.randrange(1, 4))
            case "time":
                look(fleet, choose.choice([3, 6, 30]))
    look(fleet, 60)
    return fleet


def some_record(choose: random.Random, own: str, ids: list[str], kind: str) -> dict[str, Any]:
    record: dict[str, Any] = {"id": own}
    if kind != "pattern" and choose.random() < 0.85:
        record |= {"language": "python", "code": f"x = {choose.randrange(4)}"}
    if choose.random() < 0.6:
        parents = choose.sample(ids, choose.randrange(1, 4))
        record["derived_from"] = [{choose.choice(["id", "pattern_id"]): one} for one in parents]
    if choose.random() < 0.3:
        record["specialization"] = choose.choice(["audio", "graphics"])
    return record


def judge_somehow(fleet: FleetUnderTest, choose: random.Random, one: str, kind: str) -> None:
    word = choose.choice(["passed", "passed", "failed", "compiled", "not_validated"])
    problem = choose.choice(["sound", "shapes"])
    verdict = {"verdict": word, "problem": problem, "evaluator": f"{problem}-1"}
    if word == "passed":
        verdict |= {"score": round(choose.uniform(-0.2, 1), 3)}  # type: ignore[dict-item]
    fleet.judge("v", one, kind, **verdict)


# -- what is compared ------------------------------------------------------------------------------


def knowledge(redis: Redis) -> dict[str, Any]:
    """Every key of a fleet's knowledge. Of reports the ids are the server's, and differ; of members
    it is their contribution alone."""
    found = {}
    for name, (value, expires) in dump(redis).items():
        family = name.split(":")[1].removesuffix("s") if name.startswith("coord:") else ""
        if family not in {one.removesuffix("s") for one in KNOWLEDGE}:
            continue
        if family == "benchmark":
            value = [fields for _, fields in value]
        if family == "member":
            value = float(value.get("contribution_score", 0))
            if not value:
                continue
        found[name] = (value, expires)
    found["queue"] = (sorted(queued_in(redis)), "stays")
    return found


def queued_in(redis: Redis) -> list[str]:
    listed: Any = redis.lrange("rq:queue:coord.validation", 0, -1)
    return [name.decode() for name in listed]


def restored(redis: Redis, path: Path, fleet: FleetUnderTest, **own: Any) -> Restored:
    with ArchiveReader.read(path) as archive:
        return restore(
            archive,
            redis,
            fleet.settings,
            fleet.clock,
            RandomIds(),
            "test",
            "run-9",
            own.get("on_progress", lambda n, total: None),
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub_data.db"


@pytest.fixture
def memory() -> Iterator[Callable[[], Redis]]:
    """Makes an empty server in memory."""
    clients: list[Redis] = []

    def make() -> Redis:
        server = fakeredis.FakeServer()
        clients.append(fakeredis.FakeRedis(server=server, protocol=2))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


# -- it is equal -----------------------------------------------------------------------------------


def test_a_restored_fleet_is_the_archived_one(redis: Redis, path: Path) -> None:
    fleet = lived_in(redis)
    archive_all(redis, path)
    before = knowledge(redis)
    redis.flushall()
    done = restored(redis, path, fleet)
    assert knowledge(redis) == before
    assert (done.bad, done.unknown, done.forgotten, done.missing, done.differing) == (
        0,
        0,
        0,
        0,
        {},
    )
    kinds = ("pattern", "component", "feature")
    assert done[:3] == tuple(len(fleet.ids_in(kind)) for kind in kinds)
    assert done.reports == 6


def test_the_story_has_all_there_is(memory: Callable[[], Redis]) -> None:
    """Else it would prove less than it seems to."""
    fleet = lived_in(memory())
    kinds = {event["kind"] for event in fleet.events()}
    assert kinds >= {
        *("shared", "validated", "credited", "retracted", "evaluator_changed"),
        *("validation_lost", "validation_kept"),
    }
    verdicts = {e["data"]["verdict"] for e in fleet.events() if e["kind"] == "validated"}
    assert verdicts == {"passed", "failed", "compiled", "not_validated"}
    assert "contributors" in fleet.record("feature", "joint")
    open_ones = [fleet.record("component", one) for one in fleet.ids_in("component")]
    assert any("evaluator" in record.get("validating", "") for record in open_ones)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happened(memory: Callable[[], Redis], path: Path, seed: int) -> None:
    redis = memory()
    fleet = at_random(redis, seed)
    archive_all(redis, path)
    empty = memory()
    done = restored(empty, path, fleet)
    assert knowledge(empty) == knowledge(redis)
    assert (done.bad, done.differing) == (0, {})


def test_the_limits_of_the_machine_that_restores_do_not_matter(
    memory: Callable[[], Redis], path: Path
) -> None:
    """Neither what it would not have queued, nor what the archived one did not."""
    redis, empty = memory(), memory()
    fleet = founded(redis)
    fleet.settings = fleet.settings.model_copy(update={"validations_open_max": 3})
    fleet.replace_coordinator("coordinator-2")
    for n in range(6):
        share(fleet, "a", python(f"c{n}", f"x = {n}"))
    archive_all(redis, path)
    fleet.settings = fleet.settings.model_copy(update={"validations_open_max": 1})
    done = restored(empty, path, fleet)
    assert knowledge(empty) == knowledge(redis)
    assert done.waiting == 3


# -- it goes on ------------------------------------------------------------------------------------


def gone_on(redis: Redis, archived: FleetUnderTest) -> FleetUnderTest:
    """The restored fleet with a coordinator, on the same server that it was restored on."""
    fleet = FleetUnderTest(redis, clock=archived.clock, lease_s=3600)
    fleet.run_id = "run-9"
    fleet.ids.made = 5000
    return fleet


def test_a_coordinator_goes_on_and_so_does_the_archive(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = lived_in(redis)
    archive_all(redis, path)
    restored(empty, path, fleet)
    other = gone_on(empty, fleet)
    other.join("b", "n", specialization="audio")
    known = other.sync("n")["global_knowledge_base"]
    assert set(known["shared_patterns"]) == set(fleet.ids_in("pattern"))
    assert known["shared_components"]["best"]["quality_score"] == 0.9
    share(other, "n", python("new", "x = 30", derived_from="best"))
    share(other, "b", python("best", "x = 31"))
    assert other.error("b")["code"] == "forbidden"
    other.enroll("v", role="validator")
    other.judge("v", "new", verdict="passed", score=0.97)
    assert float(other.record("component", "new")["quality_score"]) == 0.97
    other.check_memory()
    with Archive.open(path, create=False) as archive:
        before = archive.cursor
        take_all(empty, archive)
        assert list(archive.rows("gaps")) == []
        assert archive.cursor.log == before.log + other.redis.xlen("coord:log")
        assert archive.cursor.events == before.events + other.redis.xlen("coord:events")
        assert {row["component_id"] for row in archive.records("component")} >= {"new", "best"}


def test_the_restored_one_can_be_restored_again(memory: Callable[[], Redis], path: Path) -> None:
    redis, second, third = memory(), memory(), memory()
    fleet = at_random(redis, 3)
    archive_all(redis, path)
    restored(second, path, fleet)
    other = gone_on(second, fleet)
    other.join("a", "b")
    share(other, "a", python("r1", "x = 77", derived_from="r2"))
    archive_all(second, path)
    restored(third, path, fleet)
    third.delete("coord:evaluators")  # no validator is there that measures by any
    assert knowledge(third) == knowledge(second)


def test_who_has_read_the_archived_fleet_goes_on_where_it_was(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = lived_in(redis)
    archive_all(redis, path)
    restored(empty, path, fleet)
    with ArchiveReader.read(path) as archive:
        cursor = archive.cursor
    follower = Follower(empty, KEYS)
    follower.resume(cursor)
    (line,) = follower.read(0)
    assert (line.kind, line.n, line.data["events_n"]) == ("epoch", cursor.log, cursor.events)
    assert line.data["forgot"] == 0


# -- what the server had forgotten, and what was never archived ------------------------------------


def test_what_the_server_had_forgotten_stays_so(memory: Callable[[], Redis], path: Path) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", {"id": "p"}, "pattern")
    archive_all(redis, path)
    saved = {key: redis.dump(key) for key in redis.keys("*")}  # type: ignore[union-attr]
    for record_id in ("lost", "p", "too"):
        share(fleet, "a", {"id": record_id, "n": 1}, "pattern")
    report(fleet, "a", "lost")
    archive_all(redis, path)
    redis.flushall()
    for key, value in saved.items():
        redis.restore(key, 0, value)
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    share(fleet, "b", {"id": "new"}, "pattern")
    archive_all(redis, path)
    done = restored(empty, path, fleet)
    assert knowledge(empty) == knowledge(redis)
    assert (done.patterns, done.forgotten) == (2, 3)


def test_what_was_cut_before_it_was_archived_is_told(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    passed(fleet, "c", 0.5)
    share(fleet, "b", python("d", "x = 2", derived_from="c"))
    first = next(
        n for n, (_, e) in enumerate(fleet.stream("coord:events")) if e["kind"] == "shared"
    )
    redis.xtrim("coord:events", minid=f"{first + 2}-0", approximate=False)
    passed(fleet, "d", 0.75)
    fleet.order("retract", id="c")
    archive_all(redis, path)
    done = restored(empty, path, fleet)
    assert (done.components, done.unknown) == (1, 2)
    assert done.missing == first + 1
    assert json.loads(empty.hget("coord:component:d", "validation") or "")["score"] == 0.75
    assert done.differing == {}


# -- what is bad -----------------------------------------------------------------------------------


def spoil(path: Path, command: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(command, values).rowcount == 1


@pytest.mark.parametrize(
    "data",
    [
        "{",
        "[]",
        "null",
        '{"kind": "pattern", "id": "p"}',
        '{"kind": "virus", "id": "p", "specialization": "s", "contributors": ["a"], "record": {}}',
        '{"kind": "pattern", "id": "p", "specialization": "s", "contributors": ["a"], "record": 1}',
        '{"kind": "pattern", "id": "p", "specialization": "s", "contributors": [], "record":'
        ' {"id": "p"}}',
        '{"kind": "pattern", "id": "p", "specialization": "s s", "contributors": ["a"], "record":'
        ' {"id": "p"}}',
        '{"kind": "pattern", "id": "p", "specialization": "s", "contributors": ["a"], "record":'
        ' {"id": "other"}}',
        '{"kind": "pattern", "id": "p", "specialization": "s", "contributors": ["a"], "record":'
        ' {"id": "p", "x": NaN}}',
        '{"kind": "pattern", "id": "p", "specialization": "s", "contributors": ["a"], "record":'
        ' {"id": "p", "x": "\\ud800"}}',
        "[" * 100_000,
    ],
    ids=range(12),
)
def test_what_somebody_has_spoiled_is_named_and_left_out(
    memory: Callable[[], Redis], path: Path, data: str
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    for record_id in ("p", "q"):
        share(fleet, "a", {"id": record_id}, "pattern")
    archive_all(redis, path)
    where = "kind = 'shared' AND text LIKE '%pattern p %'"
    spoil(path, f"UPDATE events SET data = ? WHERE {where}", data)
    done = restored(empty, path, fleet)
    assert (done.patterns, done.bad) == (1, 1)
    assert "a shared pattern p (audio)" in done.named_bad[0]
    assert empty.exists("coord:pattern:q") == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("metrics", "{"),
        ("metrics", '{"x": "fast"}'),
        ("metrics", '{"x": 1e999}'),
        ("reporter", "a b"),
        ("ms", "soon"),
        ("component_id", "\n"),
    ],
)
def test_a_report_that_is_spoiled_is_left_out(
    memory: Callable[[], Redis], path: Path, column: str, value: str
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    report(fleet, "a", "c", 2)
    archive_all(redis, path)
    spoil(path, f"UPDATE benchmarks SET {column} = ? WHERE rowid = 1", value)
    done = restored(empty, path, fleet)
    assert (done.reports, done.bad) == (1, 1)
    assert empty.xlen("coord:benchmarks:c") == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("UPDATE events SET n = 'x' WHERE n = ?", "row {} of the table events, n is 'x', not a"),
        ("UPDATE events SET n = 5.5 WHERE n = ?", "row {} of the table events, n is 5.5, not a"),
        ("UPDATE events SET epoch = x'ff' WHERE n = ?", "row {} of the table events, epoch is b'"),
    ],
)
def test_an_event_without_a_place_is_named_and_left_out(
    memory: Callable[[], Redis], path: Path, command: str, told: str
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    for record_id in ("p", "q", "r"):
        share(fleet, "a", {"id": record_id}, "pattern")
    archive_all(redis, path)
    with closing(sqlite3.connect(path)) as database:
        where = "text LIKE '%shared pattern q %'"
        row, n = database.execute(f"SELECT rowid, n FROM events WHERE {where}").fetchone()
    spoil(path, command, n)
    done = restored(empty, path, fleet)
    assert (done.patterns, done.bad, done.forgotten) == (2, 1, 0)
    assert done.named_bad[0].startswith(told.format(row))
    assert empty.exists("coord:pattern:q") == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [("n", "x"), ("n", 1.5), ("source", b"\xff"), ("epoch", b"\xff"), ("component_id", b"\xff")],
)
def test_a_report_without_a_place_is_left_out(
    memory: Callable[[], Redis], path: Path, column: str, value: Any
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    report(fleet, "a", "c", 2)
    archive_all(redis, path)
    spoil(path, f"UPDATE benchmarks SET {column} = ? WHERE rowid = 1", value)
    done = restored(empty, path, fleet)
    assert (done.reports, done.bad) == (1, 1)
    assert done.named_bad[0].startswith(f"row 1 of the table benchmarks, {column} is {value!r}")


@pytest.mark.parametrize("values", ["('A', 'abc', 5)", "('A', 9e999, 5)", "(x'00', 1.5, 5)"])
def test_a_contribution_that_is_spoiled_is_named(
    archived: Path, real_url: str, values: str
) -> None:
    spoil(archived, f"INSERT OR REPLACE INTO contributions VALUES {values}")
    done = command(archived, "--redis", real_url)
    assert done.exit_code == 1
    assert "1 pattern, 1 component, 0 features" in done.stdout
    assert "row 2 of the table contributions" in done.stderr


def test_a_verdict_that_is_spoiled_leaves_the_record_waiting(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    passed(fleet, "c", 0.5)
    archive_all(redis, path)
    event = "UPDATE events SET data = replace(data, '0.5', '50') WHERE kind = 'validated'"
    spoil(path, event)
    done = restored(empty, path, fleet)
    assert (done.components, done.waiting, done.bad) == (1, 1, 1)
    assert done.differing == {"a": (0.5, 0.0)}


# -- who else is there -----------------------------------------------------------------------------


def test_an_active_coordinator_is_in_the_way(memory: Callable[[], Redis], path: Path) -> None:
    redis, other = memory(), memory()
    fleet = founded(redis)
    archive_all(redis, path)
    running = FleetUnderTest(other)
    assert running.coordinator.take_over()
    with pytest.raises(RestoreFailed, match=r"^coordinator coordinator-1 is active: end it"):
        restored(other, path, fleet)


def test_the_lease_of_one_that_was_killed_is_waited_for(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    empty.set("coord:leader", "restore-host.1/token", px=300)
    assert restored(empty, path, fleet).components == 1


def test_a_fleet_that_knows_something_is_left_as_it_is(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis = memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    fleet.coordinator.leave()
    before = fleet.state()
    with pytest.raises(RestoreFailed, match="is not empty, it has components"):
        restored(redis, path, fleet)
    assert fleet.state() == before


def test_the_history_of_another_fleet_is_left_as_it_is(
    memory: Callable[[], Redis], path: Path
) -> None:
    """Though that fleet has no records: the archive would take its history for its own."""
    redis, other = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    running = founded(other)
    running.coordinator.leave()
    other.hset("coord:fleet", "epoch", "another.e1")
    before = running.state()
    with pytest.raises(RestoreFailed, match=r"has a history of its own \(\d+ messages, \d+ events"):
        restored(other, path, fleet)
    assert running.state() == before


def test_a_coordinator_that_nobody_joined_is_not_in_the_way(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    running = FleetUnderTest(empty)
    assert running.coordinator.take_over()
    running.coordinator.leave()
    assert restored(empty, path, fleet).components == 1


def test_what_was_restored_before_is_said_again(memory: Callable[[], Redis], path: Path) -> None:
    """As when it was killed after its last commit, before it could say so."""
    redis, empty = memory(), memory()
    fleet = lived_in(redis)
    archive_all(redis, path)
    first = restored(empty, path, fleet)
    before = dump(empty)
    again = restored(empty, path, fleet)
    assert (first.is_again, again) == (False, first._replace(is_again=True, replayed=0, reports=0))
    assert dump(empty) == before


def test_what_was_archived_since_is_not_restored_too(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    restored(empty, path, fleet)
    share(fleet, "a", python("d"))
    archive_all(redis, path)
    with pytest.raises(RestoreFailed, match="is not empty, it has components"):
        restored(empty, path, fleet)


def test_an_archive_of_nothing_restores_nothing(memory: Callable[[], Redis], path: Path) -> None:
    Archive.open(path, create=True).close()
    empty = memory()
    with pytest.raises(RestoreFailed, match="nothing was archived"):
        restored(empty, path, FleetUnderTest(empty))
    assert empty.dbsize() == 0


class Killed(Exception):
    """Stands for the end of the process."""


def broken_off(redis: Redis, path: Path, fleet: FleetUnderTest, after: int) -> None:
    """A restore that ends after so many transactions without a word, as one that is killed."""
    commits = 0
    commit, release = RestoreWriter._send, Lease.release

    def counted(writer: RestoreWriter) -> None:
        nonlocal commits
        commits += 1
        if commits > after:
            raise Killed
        commit(writer)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RestoreWriter, "_send", counted)
        patched.setattr(Lease, "release", lambda lease: None)
        with pytest.raises(Killed):
            restored(redis, path, fleet)
    assert release is Lease.release
    redis.delete("coord:leader")  # its lease ends


@pytest.mark.parametrize("after", [1, 2, 3, 7, 20])
def test_one_that_was_killed_goes_on(memory: Callable[[], Redis], path: Path, after: int) -> None:
    redis, empty = memory(), memory()
    fleet = lived_in(redis)
    archive_all(redis, path)
    broken_off(empty, path, fleet, after)
    broken_off(empty, path, fleet, 2)
    done = restored(empty, path, fleet)
    assert knowledge(empty) == knowledge(redis)
    assert (done.bad, done.differing) == (0, {})
    assert not empty.hexists("coord:fleet", RESTORING)


def test_what_was_bad_before_it_was_killed_is_counted(
    memory: Callable[[], Redis], path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    for n in range(3):
        share(fleet, "a", python(f"c{n}", f"x = {n}"))
        passed(fleet, f"c{n}", 0.5)
    archive_all(redis, path)
    where = "kind = 'shared' AND text LIKE '%component c0 %'"
    spoil(path, f"UPDATE events SET data = '' WHERE {where}")
    broken_off(empty, path, fleet, 4)
    done = restored(empty, path, fleet)
    assert (done.components, done.bad) == (2, 1)


def test_a_coordinator_stands_aside_until_it_is_whole(
    memory: Callable[[], Redis], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    broken_off(empty, path, fleet, 1)
    other = FleetUnderTest(empty)
    other.coordinator.run(Stop(lambda: "restored in part" in caplog.text))
    assert not other.coordinator.active
    assert empty.get("coord:leader") is None
    assert "not active: the fleet coord is restored in part: give `coord restore`" in caplog.text
    restored(empty, path, fleet)
    assert other.another("coordinator-2").take_over()


def test_another_archive_cannot_go_on(
    memory: Callable[[], Redis], path: Path, tmp_path: Path
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)
    archive_all(redis, tmp_path / "other.db")
    broken_off(empty, path, fleet, 1)
    with pytest.raises(RestoreFailed, match="restored in part from the archive"):
        restored(empty, tmp_path / "other.db", fleet)
    empty.hset("coord:fleet", RESTORING, "junk")
    with pytest.raises(RestoreFailed, match="cannot be read"):
        restored(empty, path, fleet)


def test_who_takes_the_lease_meanwhile_ends_it(memory: Callable[[], Redis], path: Path) -> None:
    """As after a pause that was longer than the lease."""
    redis, empty = memory(), memory()
    fleet = founded(redis)
    share(fleet, "a", python("c"))
    archive_all(redis, path)

    def taken(n: int, total: int) -> None:
        empty.set("coord:leader", "another/1")

    with pytest.raises(RestoreFailed, match="give the command again, and it goes on") as raised:
        restored(empty, path, fleet, on_progress=taken)
    assert isinstance(raised.value, CoordError)
    assert RestoreMark.model_validate_json(empty.hget("coord:fleet", RESTORING) or "").n == 0
    assert empty.get("coord:leader") == b"another/1"


# -- the command -----------------------------------------------------------------------------------


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["restore", *map(str, arguments)])


@pytest.fixture
def archived(memory: Callable[[], Redis], path: Path) -> Path:
    fleet = founded(memory())
    share(fleet, "a", {"id": "p"}, "pattern")
    share(fleet, "a", python("c", derived_from="p"))
    passed(fleet, "c", 0.5)
    report(fleet, "b", "c")
    archive_all(fleet.redis, path)
    return path


def test_the_command_says_what_it_restored(archived: Path, real_url: str) -> None:
    done = command(archived, "--redis", real_url, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "patterns": 1,
        "components": 1,
        "features": 0,
        "waiting": 0,
        "reports": 1,
        "replayed": 3,
        "is_again": False,
        "unknown": 0,
        "forgotten": 0,
        "missing": 0,
        "bad": 0,
        "named_bad": [],
        "differing": {},
    }
    again = command(archived, "--redis", real_url)
    assert again.exit_code == 0
    assert "it was restored from this archive before: nothing was left to do" in again.stdout
    elsewhere = command(archived, "--redis", real_url, "--namespace", "other")
    assert "1 pattern, 1 component, 0 features" in elsewhere.stdout
    assert "before" not in elsewhere.stdout
    assert list(archived.parent.iterdir()) == [archived]


def test_the_command_names_what_is_bad(archived: Path, real_url: str) -> None:
    spoil(archived, "UPDATE events SET data = '{', text = '\x1b[2J' WHERE text LIKE '%pattern p%'")
    done = command(archived, "--redis", real_url)
    assert done.exit_code == 1
    assert "1 row of the archive cannot be read, and was left out; if" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_where_there_is_no_terminal_it_tells_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock()
    told = told_in_lines(Path("hub_data.db"), clock)
    for n in range(0, 2400, 200):
        told(n, 2400)
        clock.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "restoring hub_data.db: 1,000 of 2,400 events",
        "restoring hub_data.db: 2,000 of 2,400 events",
    ]


def test_events_that_are_long_are_read_a_few_at_a_time(
    memory: Callable[[], Redis], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, empty = memory(), memory()
    fleet = founded(redis)
    for n in range(6):
        share(fleet, "a", {"id": f"p{n}", "words": "w" * 1000}, "pattern")
    archive_all(redis, path)
    monkeypatch.setattr(replay, "MOST_BYTES", 2000)
    heard: list[int] = []
    assert restored(empty, path, fleet, on_progress=lambda n, _: heard.append(n)).patterns == 6
    assert heard == [0, 2, 4, 6]


def test_without_a_server_the_embedded_one_is_started(archived: Path, state_dir: Path) -> None:
    done = command(archived, "--state-dir", state_dir)
    assert done.exit_code == 0, done.stderr
    assert "embedded server at unix://" in done.stderr
    assert "1 pattern," in done.stdout


@pytest.mark.parametrize(("name", "told"), [("missing.db", "no archive at"), ("", "directory")])
def test_a_file_that_is_no_archive_starts_no_server(
    tmp_path: Path, state_dir: Path, name: str, told: str
) -> None:
    done = command(tmp_path / name, "--state-dir", state_dir)
    assert (done.exit_code, done.stdout) == (1, "")
    assert told in done.stderr
    assert "embedded" not in done.stderr
