"""Who worked with whom: exact graphs of real histories, and what is read of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from coordinator.history import Line, recent_lines
from coordinator.work import Attempt
from reports.graph.graph import Graph, Label
from reports.graph.pairs import graph_of
from tests.fleet import BEGINNING_MS, FleetUnderTest, python
from tests.runs import event_line, session_line, session_of, unit_line, unit_of

PASSED = {"verdict": "passed", "problem": "disk", "score": 0.5}


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """``a`` and ``b`` have skills, ``c`` has none; ``v`` judges."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", "b", specialization="file_system", skills=["k"])
    fleet.join("c", specialization="audio")
    fleet.enroll("v", role="validator")
    fleet.join("v", specialization="validation")
    return fleet


def graph(fleet: FleetUnderTest) -> Graph:
    return graph_of(recent_lines(fleet.redis, fleet.keys, 0).lines)


def share(fleet: FleetUnderTest, ai: str, pattern_id: str, target: str = "", **own: Any) -> None:
    fleet.say(ai, "pattern_share", {"pattern": {"id": pattern_id, **own}}, target or None)
    fleet.run()


def session(state: str, *participants: str) -> Line:
    """What became of the session ``s`` of these."""
    made = session_of("s", "cross_specialization", *participants, state=state)
    return session_line(made)


def completed(ai: str) -> Line:
    """``ai`` completed a unit of the session ``s``."""
    return unit_line(unit_of("s", "u", Attempt(ai, 0, 1, "completed")))


def test_all_that_two_did_with_each_other(fleet: FleetUnderTest) -> None:
    share(fleet, "a", "p", target="b")
    share(fleet, "b", "q", target="a", derived_from="p")
    share(fleet, "c", "to-all", derived_from=["p", "q"])
    share(fleet, "c", "to-all", derived_from=["p", "q"])  # another revision of it
    plan = [{"name": name, "kind": "k", "participant": n} for n, name in enumerate(("x", "y"))]
    s = fleet.collaborate("a", "b", plan=plan, requirements={"specialization": "file_system"})
    for unit_id in fleet.session(s)["units"]:
        fleet.report(unit_id)
    found = graph(fleet)
    assert found.to_json()["edges"] == [
        {
            "a": "a",
            "b": "b",
            "messages": 2,
            "shared": 1,
            "units": 2,
            "weight": 5,
            "labels": [
                {"type": "feature_development", "feature": "file_system", "count": 2},
                {"type": "message", "count": 2},
                {"type": "lineage", "count": 1},
            ],
            "sessions": [s],
        },
        *(
            {
                "a": other,
                "b": "c",
                "messages": 0,
                "shared": 1,
                "units": 0,
                "weight": 1,
                "labels": [{"type": "lineage", "count": 1}],
                "sessions": [],
            }
            for other in ("a", "b")
        ),
    ]
    assert [(node.id, node.specialization, node.received) for node in found.nodes] == [
        ("a", "file_system", 1),
        ("b", "file_system", 1),
        ("c", "audio", 0),
        ("v", "validation", 0),
    ]
    assert {node.id: node.sent for node in found.nodes}["c"] == 3
    assert {node.joined_ms for node in found.nodes} == {BEGINNING_MS}


def test_a_feature_joins_who_asked_with_who_made_it(fleet: FleetUnderTest) -> None:
    s = fleet.request_feature("c", "file_cache")
    fleet.say("a", "os_component_share", {"component": {"name": "file_cache"}, "session_id": s})
    fleet.run()
    assert fleet.session(s)["state"] == "completed"
    (edge,) = graph(fleet).edges
    assert (edge.a, edge.b, edge.sessions) == ("a", "c", (s,))
    assert edge.labels == (Label("feature", "file_cache", 1),)


def test_contributions_are_those_that_were_credited_last(fleet: FleetUnderTest) -> None:
    fleet.say("a", "code_share", {"code": python("k")})
    fleet.run()
    fleet.judge("v", "k", **PASSED)
    found = graph(fleet)
    assert {node.id: node.contribution for node in found.nodes} == {
        "a": 0.5,
        "b": 0,
        "c": 0,
        "v": 0,
    }
    a, b, *_ = found.known({"b": 2.0}, {"b": "audio"}).nodes
    assert (a.contribution, a.specialization) == (0.5, "file_system")
    assert (b.contribution, b.specialization) == (2.0, "audio")


def test_the_operator_and_the_hub_are_no_ais(fleet: FleetUnderTest) -> None:
    fleet.say("operator", "pattern_share", {"pattern": {"id": "p"}}, "a")
    fleet.run()
    share(fleet, "b", "q", derived_from="p")
    found = graph(fleet)
    assert [node.id for node in found.nodes] == ["a", "b", "c", "v"]
    assert found.edges == ()


def test_only_what_happened_since(fleet: FleetUnderTest) -> None:
    share(fleet, "a", "p", target="b")
    fleet.clock.advance(60)
    share(fleet, "a", "q", target="c")
    recent = recent_lines(fleet.redis, fleet.keys, BEGINNING_MS + 30_000)
    found = graph_of(recent.lines).known({}, {"a": "file_system"})
    assert recent.complete_ms == BEGINNING_MS + 30_000
    assert [(edge.a, edge.b) for edge in found.edges] == [("a", "c")]
    told = [(node.id, node.specialization, node.joined_ms) for node in found.nodes]
    assert told == [("a", "file_system", None), ("c", "", None)]


def test_what_retention_cut_is_told(fleet: FleetUnderTest) -> None:
    share(fleet, "a", "p", target="b")
    fleet.clock.advance(60)
    share(fleet, "a", "q", target="c")
    fleet.redis.xtrim(fleet.keys.events, maxlen=1, approximate=False)
    recent = recent_lines(fleet.redis, fleet.keys, 0)
    assert recent.complete_ms == BEGINNING_MS + 60_000
    assert [line.source for line in recent.lines][-1] == "events"


def test_a_history_of_many_pages_is_read_in_order(fleet: FleetUnderTest) -> None:
    for n in range(1200):
        fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "b" if n % 3 else None)
        fleet.clock.advance(0.01)
        if n % 100 == 99:
            fleet.run()
    lines = list(recent_lines(fleet.redis, fleet.keys, 0).lines)
    assert [line.ms for line in lines] == sorted(line.ms for line in lines)
    for source in ("log", "events"):
        numbers = [line.n for line in lines if line.source == source]
        assert numbers == list(range(1, len(numbers) + 1))
    assert graph_of(lines).edges[0].messages == 800


def test_a_session_that_began_before_the_history_has_no_type() -> None:
    lines = [completed(ai) for ai in ("b", "a", "b")]
    (edge,) = graph_of(lines).edges
    assert (edge.a, edge.b, edge.labels) == ("a", "b", (Label("unknown", "", 3),))


def test_only_those_who_took_part_to_the_end_or_did_a_unit_are_joined() -> None:
    lines = [
        session("active", "a", "b", "c", "d"),
        completed("c"),
        session("completed", "a", "b"),
    ]
    found = graph_of(lines)
    assert [(edge.a, edge.b, edge.units) for edge in found.edges] == [("a", "c", 1), ("b", "c", 1)]
    assert [node.id for node in found.nodes] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("state", "edges"), [("completed", 1), ("failed", 0), ("active", 0)])
def test_a_session_without_units_counts_if_it_was_completed(state: str, edges: int) -> None:
    assert len(graph_of([session(state, "a", "b")]).edges) == edges


def test_around_one_ai(fleet: FleetUnderTest) -> None:
    for sender, target in (("a", "b"), ("b", "c"), ("c", "v")):
        share(fleet, sender, f"of-{sender}", target=target)
    found = graph(fleet).around("b")
    assert [node.id for node in found.nodes] == ["a", "b", "c"]
    assert [(edge.a, edge.b) for edge in found.edges] == [("a", "b"), ("b", "c")]


def test_what_is_malformed_counts_for_nothing() -> None:
    shared = {"kind": "pattern", "id": "p", "specialization": "", "record": {}}
    lines = [
        event_line("joined", "a", {"specialization": "audio"}),
        event_line("shared", "a", shared | {"contributors": 7, "origins": "x"}),
        event_line("shared", "a", shared | {"contributors": ["a"], "origins": [7]}),
        event_line("session_completed", "a", {"session_id": "s", "session": [1]}),
        event_line("credited", "a", {"contribution_score": "much"}),
        event_line("joined", "", {"specialization": "audio"}),
        event_line("message", "a", {"message": "[1]"}),
        replace(completed("b"), data={"event": "unit_completed", "ai": "b", "data": None}),
        Line("gap", "log", 1, 9, 0, "e"),
        Line("epoch", "log", 1, 1, 0, "e", {"forgot": 1}),
    ]
    found = graph_of(lines)
    assert found.edges == ()
    assert [(node.id, node.contribution) for node in found.nodes] == [("a", 0.0)]
    assert json.loads(json.dumps(found.to_json()))["nodes"][0]["id"] == "a"
