"""training_sync: bounded however much the fleet knows, and a cursor to read on from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.clock import iso
from coordinator.specializations import CAPABILITIES, SEEKS, fits
from coordinator.sync import MAX_BYTES_PER_KIND
from tests.fleet import BEGINNING_MS, FleetUnderTest


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis)


def share(fleet: FleetUnderTest, count: int, **own: Any) -> None:
    for n in range(count):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n:03}", **own}})
        fleet.say("a", "code_share", {"code": {"id": f"c{n:03}", **own}})
        fleet.say("a", "os_component_share", {"component": {"id": f"f{n:03}", **own}})
        fleet.run()
        fleet.clock.wall_ms += 1


def test_the_first_one_gets_an_empty_one(fleet: FleetUnderTest) -> None:
    fleet.say("a", "hello", {"specialization": "audio"}, message_id="7")
    fleet.run()
    (message,) = fleet.inbox("a")
    assert message == {
        "message_id": message["message_id"],
        "sender_id": "hub",
        "message_type": "training_sync",
        "timestamp": iso(BEGINNING_MS),
        "target_ai": "a",
        "payload": {
            "in_reply_to": "7",
            "global_knowledge_base": {
                "shared_patterns": {},
                "shared_components": {},
                "collective_features": {},
                "performance_benchmarks": {},
            },
            "active_ais": ["a"],
            "collaboration_opportunities": [],
            "counts": {
                "active_ais": 1,
                "shared_patterns": 0,
                "shared_components": 0,
                "collective_features": 0,
            },
            "cursor": {"epoch": fleet.coordinator._fleet.epoch, "log": 0, "inbox": 0},
            "lease_s": 15.0,
        },
    }


def test_what_is_known_in_its_shapes(fleet: FleetUnderTest) -> None:
    fleet.join("a", specialization="audio")
    share(fleet, 1)
    fleet.say("a", "performance_report", {"component_id": "c000", "performance": {"ms": 1.5}})
    fleet.run()
    fleet.join("b")
    said = {
        "contributor": "a",
        "timestamp": iso(BEGINNING_MS),
        "revision": 1,
        "usage_count": 0,
    }
    not_validated = {"quality_score": None, "integration_tested": False}
    assert fleet.sync("b")["global_knowledge_base"] == {
        "shared_patterns": {"p000": {**said, "pattern": {"id": "p000"}}},
        "shared_components": {"c000": {**said, "code": {"id": "c000"}, **not_validated}},
        "collective_features": {
            "f000": {
                **said,
                "component": {"id": "f000"},
                **not_validated,
                "performance_benchmarks": {},
            }
        },
        "performance_benchmarks": {
            "c000": [{"reporter": "a", "timestamp": iso(BEGINNING_MS + 1), "metrics": {"ms": 1.5}}]
        },
    }


def test_bounded_in_number_the_newest_first(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, sync_keep=3)
    fleet.join("a")
    share(fleet, 5)
    fleet.join("b")
    sync = fleet.sync("b")
    base = sync["global_knowledge_base"]
    assert list(base["shared_patterns"]) == ["p004", "p003", "p002"]
    assert list(base["shared_components"]) == ["c004", "c003", "c002"]
    assert list(base["collective_features"]) == ["f004", "f003", "f002"]
    assert sync["counts"] == {
        "active_ais": 2,
        "shared_patterns": 5,
        "shared_components": 5,
        "collective_features": 5,
    }


@pytest.mark.parametrize("letter", ["x", "字"])
def test_bounded_in_bytes(fleet: FleetUnderTest, letter: str) -> None:
    fleet.join("a")
    share(fleet, 12, text=letter * 10_000)
    fleet.join("b")
    base = fleet.sync("b")["global_knowledge_base"]
    sizes = {
        kind: len(json.dumps(items, ensure_ascii=False).encode()) for kind, items in base.items()
    }
    assert max(sizes.values()) < MAX_BYTES_PER_KIND * 1.1
    assert min(len(base[kind]) for kind in list(base)[:3]) >= 2
    assert "p011" in base["shared_patterns"]


def test_one_that_is_too_large_hides_no_other(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    share(fleet, 2)
    fleet.say("a", "pattern_share", {"pattern": {"id": "huge", "text": "x" * 100_000}})
    fleet.run()
    fleet.join("b")
    sync = fleet.sync("b")
    assert list(sync["global_knowledge_base"]["shared_patterns"]) == ["p001", "p000"]
    assert sync["counts"]["shared_patterns"] == 3


def test_reports_are_bounded_in_number_and_bytes(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    share(fleet, 3)
    wide = {f"a metric with a long name {n}": n for n in range(250)}
    for n in range(8):
        for component in ("c000", "c001", "f002"):
            performance = {"n": n, **wide}
            report = {"component_id": component, "performance": performance}
            fleet.say("a", "performance_report", report)
    fleet.run()
    fleet.join("b")
    reports = fleet.sync("b")["global_knowledge_base"]["performance_benchmarks"]
    assert reports
    assert all(len(kept) <= 5 and kept[0]["metrics"]["n"] == 7 for kept in reports.values())
    assert len(json.dumps(reports)) < MAX_BYTES_PER_KIND * 1.2


def test_the_largest_possible_reports_do_not_make_it_endless(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    share(fleet, 1)
    performance = {f"{n}" + "x" * 900: 1 for n in range(250)}
    for _ in range(3):
        report = {"component_id": "c000", "performance": performance}
        fleet.say("a", "performance_report", report)
    fleet.run()
    fleet.join("b")
    assert len(json.dumps(fleet.sync("b"))) < 256 * 1024


def test_the_cursor_is_where_the_snapshot_was_made(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    fleet.join("b")
    epoch = fleet.coordinator._fleet.epoch
    assert fleet.sync("b")["cursor"] == {"epoch": epoch, "log": 2, "inbox": 0}
    assert "resume" not in fleet.sync("b")
    fleet.say("a", "pattern_share", {"pattern": {"id": "q"}}, "b")
    fleet.join("b")
    assert fleet.sync("b")["cursor"] == {"epoch": epoch, "log": 3, "inbox": 2}


def test_one_that_has_read_goes_on_where_it_was(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    for n in range(5):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n}"}})
    fleet.run()
    epoch = fleet.coordinator._fleet.epoch
    fleet.join("b", cursor={"epoch": epoch, "log": 4, "inbox": 1})
    sync = fleet.sync("b")
    assert sync["resume"] == {"epoch": epoch, "log": 4, "inbox": 1}
    assert sync["forgot"] == {"log": 0, "inbox": 0}
    assert sync["cursor"] == {"epoch": epoch, "log": 7, "inbox": 1}


def test_one_that_is_ahead_of_the_server_is_told_so(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b")
    before = fleet.coordinator._fleet.epoch
    fleet.run_id = "run-2"  # restored from a back-up that ends here
    fleet.replace_coordinator("coordinator-2")
    for n in range(6):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n}"}})
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n}"}}, "b")
    fleet.run()
    fleet.join("b", cursor={"epoch": before, "log": 7, "inbox": 5})
    sync = fleet.sync("b")
    after = fleet.coordinator._fleet.epoch
    assert after != before
    assert sync["resume"] == {"epoch": after, "log": 2, "inbox": 1}
    assert sync["forgot"] == {"log": 5, "inbox": 4}


def test_who_may_be_sought(fleet: FleetUnderTest) -> None:
    fleet.join("near", specialization="networking")
    fleet.join("busy", specialization="networking")
    fleet.join("far", specialization="graphics")
    fleet.join("able", specialization="general", capabilities=["encryption"])
    fleet.join("unready", specialization="networking", collaboration_ready=False)
    fleet.say("busy", "heartbeat", {"load": 0.9})
    fleet.run()
    fleet.clock.advance(0.5)
    fleet.join("newest", specialization="security")
    fleet.join("s", specialization="security")
    offered = fleet.sync("s")["collaboration_opportunities"]
    assert [(o["ai_id"], o["suggested_type"]) for o in offered] == [
        ("newest", "performance_optimization"),
        ("near", "cross_specialization"),
        ("able", "cross_specialization"),
        ("busy", "cross_specialization"),
    ]
    assert offered[2]["capabilities"] == ["encryption"]


def test_at_most_five_are_offered(fleet: FleetUnderTest) -> None:
    fleet.join(*(f"n{i}" for i in range(7)), specialization="networking")
    fleet.join("s", specialization="security")
    assert len(fleet.sync("s")["collaboration_opportunities"]) == 5


def test_at_most_a_thousand_are_listed_and_all_are_counted(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    ais = fleet.coordinator._fleet.ais
    for n in range(1500):
        ais[f"x{n}"] = ais["a"]
    fleet.join("b")
    sync = fleet.sync("b")
    assert len(sync["active_ais"]) == 1000
    assert sync["active_ais"][0] == "b"
    assert sync["counts"]["active_ais"] == 1502


@pytest.mark.parametrize("seeker", CAPABILITIES)
def test_each_of_the_eight_finds_another_kind(seeker: str) -> None:
    others = [s for s in CAPABILITIES if s != seeker and fits(seeker, s, list(CAPABILITIES[s]))]
    assert others
    assert set(SEEKS) == set(CAPABILITIES)
