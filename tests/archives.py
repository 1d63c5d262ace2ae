"""Archives under test: filled from a fleet, and compared with it and with each other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import redis

from coordinator.archive.archive import Archive
from coordinator.archive.follow import catch_up
from coordinator.archive.schema import TABLES
from coordinator.history import AT_ONCE, Follower, Line
from coordinator.keys import KINDS, RECORD_FIELD, Keys
from coordinator.reads import read_benchmarks, read_records
from tests.fleet import FleetUnderTest, python

KEYS = Keys()


PASSED = {"verdict": "passed", "problem": "disk", "workload": "w1", "cost_unit": "ms"}


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


def archive_all(connection: redis.Redis, path: Path, at_once: int = AT_ONCE) -> None:
    """What a fleet's history still has, into the archive at ``path``."""
    with Archive.open(path, create=True) as archive:
        take_all(connection, archive, at_once)


def take_all(connection: redis.Redis, archive: Archive, at_once: int = AT_ONCE) -> list[Line]:
    """What is new; as lines."""
    batches = catch_up(archive, Follower(connection, KEYS, at_once))
    return [line for lines in batches for line in lines]


def history(connection: redis.Redis) -> list[Line]:
    """All that is kept, as a reader of the streams is told it."""
    follower = Follower(connection, KEYS)
    follower.begin_at(0)
    return [line for lines in iter(lambda: follower.read(0), []) for line in lines]


def contents(path: Path) -> dict[str, list[Any]]:
    """All rows of all tables; of the archive's own values all but its id."""
    with closing(sqlite3.connect(path)) as database:
        found = {
            name: sorted(database.execute(f"SELECT * FROM {name}"), key=repr) for name in TABLES
        }
    found["archive"] = [row for row in found["archive"] if row[0] != "archive_id"]
    return found


def knowledge_of(fleet: FleetUnderTest) -> dict[str, Any]:
    """What clients are shown of the fleet's records, and what of it an archive has too."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        items = read_records(fleet.redis, fleet.keys, kind, 1000).items
        found[kind] = {item["id"]: _known(kind, item, fleet) for item in items}
    names = [
        name for kind in KINDS for name in (f"{kind}:{record_id}" for record_id in found[kind])
    ]
    found["edges"] = _edges(fleet, names)
    ids = [record_id for kind in KINDS for record_id in found[kind]]
    reports = read_benchmarks(fleet.redis, fleet.keys, ids, 1000)
    found["benchmarks"] = sorted(
        (component_id, report["reporter"], report["timestamp"], json.dumps(report["metrics"]))
        for component_id, listed in reports.items()
        for report in listed
    )
    return found


def knowledge_in(archive: Archive) -> dict[str, Any]:
    """The same, from the archive."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = {row[f"{kind}_id"]: _kept(kind, row) for row in archive.records(kind)}
    found["edges"] = sorted((r["parent"], r["child"], r["is_use"]) for r in archive.rows("lineage"))
    found["benchmarks"] = sorted(
        (r["component_id"], r["reporter"], r["timestamp"], json.dumps(json.loads(r["metrics"])))
        for r in archive.rows("benchmarks")
    )
    return found


_SAME = ("specialization", "contributor", "timestamp", "revision", "usage_count")


def _known(kind: Any, item: dict[str, Any], fleet: FleetUnderTest) -> dict[str, Any]:
    record: dict[str, Any] = {name: item[name] for name in _SAME}
    record["record"] = item[RECORD_FIELD[kind]]
    stored = fleet.record(kind, item["id"])
    record["contributors"] = json.loads(stored.get("contributors", "[]")) or [item["contributor"]]
    record["origins"] = json.loads(stored.get("origins", "[]"))
    if kind != "pattern":
        record |= {"quality_score": item["quality_score"], "hash": stored["hash"]}
        record["verdict"] = json.loads(stored.get("validation", "null"))
    return record


def _kept(kind: Any, row: dict[str, Any]) -> dict[str, Any]:
    names = (*_SAME, "contributors", "origins")
    names = names if kind == "pattern" else (*names, "quality_score", "hash", "verdict")
    return {name: row[name] for name in names} | {"record": row[f"{kind}_data"]}


def _edges(fleet: FleetUnderTest, parents: Iterable[str]) -> list[tuple[str, str, int]]:
    edges = []
    for parent in parents:
        key = f"{fleet.keys.namespace}:derived:{parent}"
        children = cast("list[Any]", fleet.redis.zrange(key, 0, -1, withscores=True))
        edges += [(parent, child.decode(), int(is_use)) for child, is_use in children]
    return sorted(edges)
