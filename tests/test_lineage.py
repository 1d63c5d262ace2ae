"""What is derived from what: which edges a share makes, and the graph that they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from coordinator.ancestry import read_ancestry
from coordinator.credit import read_contributions
from coordinator.errors import BadMessage
from coordinator.keys import Kind, RecordKey
from coordinator.lineage import (
    MAX_PARENTS,
    check,
    named_parents,
    read_origins,
    read_parents,
)
from coordinator.lineage_reads import Lineage, read_lineage
from coordinator.reads import read_record
from tests.fleet import FleetUnderTest, changed, python
from tests.lineages import Records


@pytest.fixture
def records(redis: Redis) -> Records:
    """A pattern and a component of a's, and a feature that is called like the component."""
    records = Records(redis)
    records.share("pattern", "p", "a")
    records.share("component", "c", "a")
    records.share("feature", "c", "a")
    return records


def lineage(records: Records, record_id: str, depth: int = 9, limit: int = 99) -> Lineage:
    return read_lineage(records.redis, records.keys, record_id, depth, limit)


def edges(found: Lineage) -> list[str]:
    """Parent > child, >> for a use; the way up first."""
    return [
        f"{e.parent.name} {'>>' if e.is_use else '>'} {e.child.name}"
        for e in (*found.ancestry, *found.progeny)
    ]


# -- derived_from ----------------------------------------------------------------------------------

PATTERN = RecordKey("pattern", "p")
COMPONENT = RecordKey("component", "c")
FEATURE = RecordKey("feature", "c")


@pytest.mark.parametrize(
    ("derived_from", "parents"),
    [
        ("p", [PATTERN]),
        ({"id": "p"}, [PATTERN]),
        ({"pattern_id": "p", "contributor": "z", "measured_gap_closed": 0.5}, [PATTERN]),
        ({"pattern_id": "p", "id": "c"}, [PATTERN]),
        ({"pattern_id": None, "id": "p"}, [PATTERN]),
        ({"component_id": "c"}, [COMPONENT]),
        ("c", [COMPONENT]),
        (["p", {"component_id": "c"}, "p"], [PATTERN, COMPONENT]),
        ({"pattern_id": "c"}, []),
        ({"component_id": "p"}, []),
        ("nobody's", []),
        ([], []),
        (None, []),
    ],
)
def test_what_derived_from_names_lists_the_child(
    records: Records, derived_from: Any, parents: list[RecordKey]
) -> None:
    record = {"id": "new", "derived_from": derived_from}
    check(record, "payload.pattern")
    records.share("pattern", "new", "b", derived_from=derived_from)
    assert set(parents) <= set(named_parents(record))
    for parent in (PATTERN, COMPONENT, FEATURE):
        assert records.uses(*parent) == ({"pattern:new": 1} if parent in parents else {})
    child = RecordKey("pattern", "new")
    assert set(read_origins(records.redis, records.keys, [child])[child]) == set(parents)


@pytest.mark.parametrize(
    "derived_from",
    [
        "",
        " p",
        "p\n",
        "p" * 129,
        7,
        True,
        {},
        {"contributor": "a"},
        {"id": 7},
        {"id": ["p"]},
        {"pattern_id": "", "id": "p"},
        [None],
        [["p"]],
        ["p", 7],
        ["p"] * (MAX_PARENTS + 1),
    ],
)
def test_what_is_malformed_is_refused_and_has_no_effect_where_it_cannot_be(
    records: Records, derived_from: Any
) -> None:
    record = {"id": "new", "derived_from": derived_from}
    with pytest.raises(BadMessage) as raised:
        check(record, "payload.code")
    assert (raised.value.code, raised.value.field) == ("bad_payload", "payload.code.derived_from")
    assert "must be the id of the record" in raised.value.detail
    assert "at most 16" in raised.value.detail
    assert named_parents(record) == []
    records.share("component", "new", "b", derived_from=derived_from)
    assert records.uses("pattern", "p") == {}


@pytest.mark.parametrize("record", [None, [], "p", {}, {"id": "new"}])
def test_what_is_no_record_names_no_parents(record: Any) -> None:
    assert named_parents(record) == []


# -- uses ------------------------------------------------------------------------------------------


def test_ones_own_is_no_use_nor_is_a_persons(records: Records) -> None:
    records.share("pattern", "pair", "a", "b")
    for number, (makers, parent) in enumerate(
        [(["a"], "p"), (["b", "a"], "p"), (["operator"], "p"), (["b"], "pair"), (["c"], "pair")]
    ):
        records.share("component", f"n{number}", *makers, derived_from=parent)
    assert records.uses("pattern", "p") == {"component:n0": 0, "component:n1": 0, "component:n2": 0}
    assert records.uses("pattern", "pair") == {"component:n3": 0, "component:n4": 1}


def test_repeats_count_once_and_who_names_no_parents_keeps_them(records: Records) -> None:
    for derived_from in ("p", ["p", "p"], None, [], "unknown"):
        records.share("pattern", "new", "b", derived_from=derived_from)
    assert records.uses("pattern", "p") == {"pattern:new": 1}
    nodes = lineage(records, "new").nodes
    assert nodes[PATTERN]["usage_count"] == 1


def test_a_revision_that_names_parents_replaces_those_it_had(records: Records) -> None:
    for derived_from in ("p", ["p", "c"], "c"):
        records.share("pattern", "new", "b", derived_from=derived_from)
    assert records.uses("pattern", "p") == {}
    assert records.uses("component", "c") == {"pattern:new": 1}
    assert edges(lineage(records, "new")) == ["component:c >> pattern:new"]


def test_however_much_revisions_name_few_pairs_are_read(records: Records) -> None:
    """Neither do the fields of a record grow, nor what a verdict on it has to look at."""
    for number in range(200):
        records.share("pattern", f"n{number}", "a")
    for number in range(0, 200, MAX_PARENTS):
        names = [f"n{n}" for n in range(number, min(200, number + MAX_PARENTS))]
        records.share("component", "new", "b", derived_from=names)
    key = RecordKey("component", "new")
    assert len(read_parents(records.redis, records.keys, [key])) == 200 % MAX_PARENTS
    records.redis.hset(records.keys.record(*key), "origins", strangers_origins(200))
    assert len(read_origins(records.redis, records.keys, [key])[key]) == MAX_PARENTS


def strangers_origins(count: int) -> str:
    return json.dumps([f"pattern:n{number}" for number in range(count)])


@pytest.mark.parametrize("spoiled", ["junk", "{}", "[7]", '["pattern:\\ud800"]', '["x:y"]', "[[]]"])
def test_spoiled_origins_are_none(records: Records, spoiled: str) -> None:
    records.redis.hset(records.keys.record("component", "c"), "origins", spoiled)
    assert read_parents(records.redis, records.keys, [COMPONENT]) == []
    assert lineage(records, "c").roots == [COMPONENT, FEATURE]


@pytest.mark.parametrize("prefix", ["derived:pattern:p", "pattern:p", "derived:component:c"])
def test_a_lineage_is_shown_around_what_is_of_a_wrong_type(records: Records, prefix: str) -> None:
    records.share("component", "new", "b", derived_from=["p", "c"])
    records.redis.delete(f"coord:{prefix}")
    records.redis.set(f"coord:{prefix}", "junk")
    found = lineage(records, "new")
    assert {key.name for key in found.nodes} >= {"component:new"}
    assert origins(records, "new").keys() <= {"a"}


def test_a_component_counts_its_uses_while_it_is_passed(records: Records) -> None:
    records.share("pattern", "new", "b", derived_from={"component_id": "c"})
    counts = []
    for quality in (None, 0.5, 0.25, None):
        records.judge("c", quality)
        node = lineage(records, "new").nodes[COMPONENT]
        counts.append((node["verdict"], node["quality_score"], node["usage_count"]))
    assert counts == [
        ("failed", None, 0),
        ("passed", 0.5, 1),
        ("passed", 0.25, 1),
        ("failed", None, 0),
    ]


# -- the graph -------------------------------------------------------------------------------------


def test_the_graph_has_what_a_record_came_from_and_what_came_of_it(records: Records) -> None:
    records.share("pattern", "q", "b", derived_from="p")
    records.share("component", "q.code", "b", derived_from="q")
    records.share("feature", "f", "a", derived_from=["q.code", "c"])
    records.share("pattern", "aside", "c", derived_from="p")
    records.judge("q.code", 0.5)
    found = lineage(records, "q.code")
    assert found.roots == [("component", "q.code")]
    assert edges(found) == [
        "pattern:q > component:q.code",
        "pattern:p >> pattern:q",
        "component:q.code >> feature:f",
    ]
    assert {key.name for key in found.nodes} == {
        *("component:q.code", "pattern:q", "pattern:p", "feature:f")
    }
    assert found.nodes["component", "q.code"] == {
        "kind": "component",
        "id": "q.code",
        "contributor": "b",
        "specialization": "audio",
        "timestamp": "2025-06-15T15:06:40.000Z",
        "verdict": "passed",
        "quality_score": 0.5,
        "usage_count": 1,
        "is_gone": False,
    }
    assert not found.is_cut
    assert found.to_json()["edges"][1] == {
        "parent": "pattern:p",
        "child": "pattern:q",
        "is_use": True,
    }


def test_an_id_of_several_kinds_has_as_many_roots(records: Records) -> None:
    assert lineage(records, "c").roots == [COMPONENT, FEATURE]


def test_a_lineage_is_of_the_kinds_asked_for(records: Records) -> None:
    one = read_lineage(records.redis, records.keys, "c", 8, 100, kinds=["feature"])
    assert one.roots == [FEATURE]


def test_of_an_unknown_id_there_are_no_roots(records: Records) -> None:
    assert lineage(records, "unknown") == Lineage([], {}, [], [], is_cut=False)


def test_a_record_is_not_derived_from_itself(records: Records) -> None:
    records.share("pattern", "p", "a", derived_from={"pattern_id": "p"})
    records.share("component", "p", "a", derived_from="p")
    assert records.uses("pattern", "p") == {"component:p": 0}
    assert edges(lineage(records, "p")) == ["pattern:p > component:p"] * 2


def test_a_cycle_is_shown_once(records: Records) -> None:
    records.share("pattern", "q", "b", derived_from="p")
    records.share("pattern", "p", "a", derived_from="q")
    found = lineage(records, "p")
    assert set(found.nodes) == {PATTERN, ("pattern", "q")}
    assert sorted(edges(found)) == [
        *["pattern:p >> pattern:q"] * 2,
        *["pattern:q >> pattern:p"] * 2,
    ]
    assert len(found.to_json()["edges"]) == 2


def test_depth_and_number_are_bounded(records: Records) -> None:
    records.share("pattern", "n0", "b", derived_from="p")
    for number in range(6):
        records.share("pattern", f"n{number + 1}", "b", derived_from=f"n{number}")
    for number in range(6):
        records.share("pattern", f"m{number}", "c", derived_from="n3")
    near = lineage(records, "n3", depth=2)
    assert {name for _, name in near.nodes} == {
        *("n1", "n2", "n3", "n4", "n5", "m0", "m1", "m2", "m3", "m4", "m5")
    }
    few = lineage(records, "n3", limit=6)
    assert len(few.nodes) == 6
    assert few.is_cut
    assert {name for edge in few.progeny for _, name in edge[:2]} <= {n for _, n in few.nodes}
    assert not lineage(records, "n3").is_cut


def test_a_retracted_parent_is_told_as_gone_and_nobody_inherits_its_children(
    records: Records,
) -> None:
    records.share("pattern", "new", "b", derived_from="p")
    records.retract(PATTERN)
    found = lineage(records, "new")
    assert edges(found) == ["pattern:p > pattern:new"]
    assert found.nodes[PATTERN]["is_gone"]
    assert records.uses("pattern", "p") == {}
    records.share("pattern", "p", "z")
    assert edges(lineage(records, "new")) == edges(lineage(records, "p")) == []


def test_a_retracted_child_is_no_use_any_more(records: Records) -> None:
    records.share("pattern", "new", "b", derived_from=["p", "c"])
    records.share("pattern", "other", "b", derived_from="p")
    records.retract(RecordKey("pattern", "new"))
    assert records.uses("pattern", "p") == {"pattern:other": 1}
    assert records.uses("component", "c") == {}


# -- what others are credited for ------------------------------------------------------------------


def origins(records: Records, record_id: str) -> dict[str, str]:
    ancestry = read_ancestry(records.redis, records.keys, RecordKey("component", record_id))
    return {ai: way[-1].name for ai, way in ancestry.origins.items()}


def test_the_origins_are_the_nearest_records_of_others(records: Records) -> None:
    records.share("pattern", "q", "b", derived_from="p")
    records.share("pattern", "r", "b", derived_from=["q", "c"])
    records.share("component", "r.code", "b", derived_from="r")
    records.share("component", "next", "d", derived_from={"component_id": "r.code"})
    assert origins(records, "r.code") == {"a": "component:c"}
    assert origins(records, "next") == {"b": "component:r.code"}
    assert origins(records, "c") == {}
    assert origins(records, "unknown") == {}


def test_origins_end_in_cycles_and_at_a_depth(records: Records) -> None:
    records.share("pattern", "n0", "b", derived_from="p")
    for number in range(9):
        records.share("pattern", f"n{number + 1}", "b", derived_from=f"n{number}")
    records.share("pattern", "n0", "b", derived_from=["p", "n9"])
    records.share("component", "near", "b", derived_from="n6")
    records.share("component", "far", "b", derived_from="n7")
    assert origins(records, "near") == {"a": "pattern:p"}
    assert origins(records, "far") == {}


def test_so_many_ancestors_are_looked_at_and_no_more(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = "abcde"
    for ai in makers:
        records.share("pattern", f"of-{ai}", ai)
    records.share("component", "new", "z", derived_from=[f"of-{ai}" for ai in makers])
    assert set(origins(records, "new")) == set(makers)
    monkeypatch.setattr("coordinator.ancestry.MAX_ANCESTORS", 4)
    assert set(origins(records, "new")) == set("abc")


# -- through a coordinator -------------------------------------------------------------------------


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    """b's component and its pattern, which stems from a's; v may say what they are worth."""
    fleet = FleetUnderTest(redis)
    fleet.enroll("v", role="validator")
    fleet.join("a", "b", "v", specialization="audio")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.say("b", "pattern_share", {"pattern": {"id": "q", "derived_from": {"pattern_id": "p"}}})
    fleet.say("b", "code_share", {"code": python("c", derived_from="q")})
    fleet.run()
    return fleet


def used(fleet: FleetUnderTest, kind: Kind, record_id: str) -> int:
    (item,) = read_record(fleet.redis, fleet.keys, kind, record_id).items
    return int(item["usage_count"])


def test_shares_make_edges_and_repeats_no_more(fleet: FleetUnderTest) -> None:
    fleet.say("b", "pattern_share", {"pattern": {"id": "q", "derived_from": ["p", "unknown"]}})
    fleet.run()
    found = read_lineage(fleet.redis, fleet.keys, "q", 9, 99)
    assert edges(found) == ["pattern:p >> pattern:q", "pattern:q > component:c"]
    assert [used(fleet, "pattern", record_id) for record_id in "pq"] == [1, 0]


def test_the_history_tells_what_a_record_began_from(fleet: FleetUnderTest) -> None:
    fleet.say("b", "pattern_share", {"pattern": {"id": "q"}})
    fleet.run()
    shared = [event["data"] for event in fleet.events() if event["kind"] == "shared"]
    assert [data.get("origins") for data in shared] == [
        None,
        [{"name": "pattern:p", "contributors": ["a"], "is_use": True}],
        [{"name": "pattern:q", "contributors": ["b"], "is_use": False}],
        None,
    ]


def test_edges_are_made_after_a_takeover_too(fleet: FleetUnderTest) -> None:
    fleet.replace_coordinator("coordinator-2")
    fleet.say("a", "pattern_share", {"pattern": {"id": "r", "derived_from": "q"}})
    fleet.run()
    assert used(fleet, "pattern", "q") == 1


@pytest.mark.parametrize(
    ("message_type", "field"), [("pattern_share", "pattern"), ("code_share", "code")]
)
def test_a_malformed_share_is_refused_and_changes_nothing(
    fleet: FleetUnderTest, message_type: str, field: str
) -> None:
    before = fleet.state()
    fleet.say("b", message_type, {field: {"id": "new", "derived_from": {"contributor": "a"}}})
    fleet.run()
    error = fleet.error("b")
    assert (error["code"], error["field"]) == ("bad_payload", f"payload.{field}.derived_from")
    assert changed(before, fleet.state()) == {
        *("coord:inbox:b", "coord:member:b", "coord:events", "coord:instance:b/b.1")
    }
    fleet.say("a", message_type, {field: {"id": "new"}})
    fleet.run()
    assert fleet.inbox("b")[-1]["message_type"] == "error"


def test_a_component_s_uses_and_credit_come_with_its_verdict(fleet: FleetUnderTest) -> None:
    fleet.say("a", "code_share", {"code": python("next", derived_from={"component_id": "c"})})
    fleet.run()
    told = []
    for verdict in ({"verdict": "passed", "score": 0.8, "problem": "disk"}, {"verdict": "failed"}):
        fleet.judge("v", "c", **verdict)
        told.append(
            (used(fleet, "component", "c"), *read_contributions(fleet.redis, fleet.keys, "abv"))
        )
        fleet.say("b", "code_share", {"code": python("c", "x = 2", derived_from="q")})
        fleet.run()
    assert told == [(1, 0.2, 0.8, 0.0), (0, 0.0, 0.0, 0.0)]


def test_a_retraction_takes_edges_and_credit_along(fleet: FleetUnderTest) -> None:
    fleet.judge("v", "c", verdict="passed", score=0.8, problem="disk")
    fleet.order("retract", id="p")
    assert read_contributions(fleet.redis, fleet.keys, "ab") == [0.0, 0.8]
    fleet.order("retract", id="c")
    assert read_contributions(fleet.redis, fleet.keys, "ab") == [0.0, 0.0]
    state = fleet.state()
    assert not [key for key in state if key.startswith(("coord:derived:", "coord:credit:"))]


def test_the_retraction_of_a_copy_takes_along_what_led_through_it(fleet: FleetUnderTest) -> None:
    fleet.join("x", specialization="audio")
    fleet.say("a", "code_share", {"code": python("orig", "x = 7")})
    fleet.say("x", "code_share", {"code": python("copy", "x = 7", derived_from="orig")})
    fleet.run()
    fleet.say("b", "code_share", {"code": python("new", "x = 8", derived_from="copy")})
    fleet.run()
    fleet.judge("v", "new", verdict="passed", score=0.8, problem="disk")
    assert read_contributions(fleet.redis, fleet.keys, "abx") == [0.2, 0.8, 0.0]
    fleet.order("retract", id="copy")
    assert read_contributions(fleet.redis, fleet.keys, "abx") == [0.0, 0.8, 0.0]
    fleet.check_memory()
