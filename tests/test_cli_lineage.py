"""`coord lineage`, and how uses, verdicts and contributions are shown beside what is claimed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from cli.evaluation import measure
from cli.main import app
from cli.output import ExitCode, moment
from coordinator.keys import RecordKey
from tests.lineages import SHARED, Records
from tests.test_cli import pretend_ai

THEN = moment(SHARED)
HOSTILE = "x\x1b[2J\n12:00:00  forged\u202e\r"


@pytest.fixture
def records(real_redis: Redis) -> Records:
    """b's component from b's pattern from a's, and c's from that; it passed."""
    records = Records(real_redis)
    records.share("pattern", "p", "a")
    records.share("pattern", "q", "b", derived_from="p")
    records.share("component", "q.code", "b", derived_from=["q", "p"])
    records.share("feature", "f", "c", derived_from={"component_id": "q.code"})
    records.judge("q.code", 0.5)
    return records


@pytest.fixture
def coord(real_url: str) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--redis", real_url])


def test_the_tree_has_the_origins_above_and_the_offspring_below(
    records: Records, coord: Callable[..., Result]
) -> None:
    result = coord("lineage", "q.code")
    assert result.exit_code == ExitCode.OK
    assert [line.strip(" │├└─") for line in result.stdout.splitlines()] == [
        f"component q.code, of b, {THEN}, passed, 50.0% of the gap closed, 1 use",
        "begun from:",
        f"pattern p, of a, {THEN}, 2 uses",
        f"pattern q, of b, {THEN}",
        f"pattern p, of a, {THEN}, 2 uses (as above)",
        "begun from it:",
        f"feature f, of c, {THEN}",
    ]


def test_the_end_of_a_lineage_is_told(records: Records, coord: Callable[..., Result]) -> None:
    lines = coord("lineage", "p", "--depth", "1").stdout.splitlines()
    assert lines[1].endswith("begun from: nothing that is known")
    assert len([line for line in lines if " component q.code" in line]) == 1
    assert not [line for line in lines if " feature f" in line]


def test_parents_that_are_no_parents_are_told(
    records: Records, coord: Callable[..., Result]
) -> None:
    records.share("pattern", "r", "a", derived_from=["r", "late", "p", {"component_id": "none"}])
    records.share("pattern", "late", "a")
    assert [line.strip(" │├└─") for line in coord("lineage", "r").stdout.splitlines()] == [
        f"pattern r, of a, {THEN}",
        "begun from:",
        f"pattern p, of a, {THEN}, 2 uses",
        "r, which is this record itself",
        "late, which was shared later",
        "none, which is not here",
        "begun from it: nothing that is known",
    ]


def test_a_cycle_and_what_was_taken_back(records: Records, coord: Callable[..., Result]) -> None:
    records.share("pattern", "p", "a", derived_from="q")
    assert "(as above)" in coord("lineage", "p").stdout
    records.retract(RecordKey("pattern", "p"))
    lines = coord("lineage", "q").stdout.splitlines()
    assert lines[2].endswith("── pattern p, taken back")


def test_the_lineage_as_json(records: Records, coord: Callable[..., Result]) -> None:
    found = json.loads(coord("lineage", "q.code", "--json").stdout)
    assert (found["id"], found["roots"], found["is_cut"]) == ("q.code", ["component:q.code"], False)
    assert sorted(found["nodes"]) == ["component:q.code", "feature:f", "pattern:p", "pattern:q"]
    assert found["nodes"]["component:q.code"]["quality_score"] == 0.5
    assert found["edges"] == [
        {"parent": "pattern:p", "child": "component:q.code", "is_use": True},
        {"parent": "pattern:q", "child": "component:q.code", "is_use": False},
        {"parent": "pattern:p", "child": "pattern:q", "is_use": True},
        {"parent": "component:q.code", "child": "feature:f", "is_use": True},
    ]


def test_of_an_unknown_record_one_clear_line(
    records: Records, coord: Callable[..., Result]
) -> None:
    result = coord("lineage", HOSTILE)
    assert result.exit_code == ExitCode.FAILED
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("coord: there is no pattern, component or feature x\\x1b[2J\\n12:00:00")
    assert line.endswith("`coord patterns` and `coord components` list them")


def test_hostile_records_cannot_forge_lines(records: Records, coord: Callable[..., Result]) -> None:
    for record_id in ("r", HOSTILE):
        records.share("pattern", record_id, HOSTILE, derived_from="p")
        records.redis.hset(records.keys.record("pattern", record_id), "timestamp", HOSTILE)
        records.redis.zadd(records.keys.derived("pattern", "p"), {f"pattern:{record_id}": 1})
    for as_json in ([], ["--json"]):
        lines = coord("lineage", "p", *as_json).stdout.split("\n")
        assert any("forged" in line for line in lines)
        assert all(line.isprintable() for line in lines)


# -- beside what is claimed ------------------------------------------------------------------------


def rows(result: Result) -> dict[str, list[str]]:
    """The tables of a command: what stands in a line, by its first cell."""
    assert result.exit_code == ExitCode.OK
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}


def test_what_an_ai_contributed_is_shown(records: Records, coord: Callable[..., Result]) -> None:
    for ai in ("a", "b", "c"):
        pretend_ai(records.redis, ai)
    shown = rows(coord("ais"))
    at = shown["AI"].index("contribution")
    assert {ai: shown[ai][at] for ai in "abc"} == {"a": "0.125", "b": "0.5", "c": "0"}
    listed = json.loads(coord("ais", "--json").stdout)["ais"]
    assert [ai["contribution_score"] for ai in listed] == [0.125, 0.5, 0.0]


def test_what_patterns_are_used_for_is_shown(
    records: Records, coord: Callable[..., Result]
) -> None:
    named = {"id": "p", "contributor": "a"}
    records.share("pattern", "r", "a", derived_from=[named, "nowhere"])
    shown = rows(coord("patterns"))
    assert shown["pattern"] == [
        *("made by", "uses", "age", "claimed gap closed", "begun from"),
        *("claimed confidence", "type", "specialization"),
    ]
    assert (shown["p"][:2], shown["p"][-1]) == (["a", "2"], "audio")
    assert shown["q"][3:] == ["p", "audio"]
    assert shown["r"][3:] == ["p, nowhere", "audio"]


def test_what_validators_found_is_shown(records: Records, coord: Callable[..., Result]) -> None:
    records.share("component", "bad", "a")
    records.judge("bad", None)
    shown = rows(coord("components"))
    assert shown["component"][:4] == ["made by", "verdict, quality", "uses", "age"]
    assert shown["q.code"][:3] == ["b", "passed 0.5", "1"]
    assert shown["bad"][:3] == ["a", "failed", "0"]
    assert shown["f"][:3] == ["c", "not validated", "0"]


LONG = "buffer_cache.AI_Node_1.5d2f3d61.52.policy"


@pytest.mark.parametrize("columns", ["80", "120", ""])
def test_ids_and_verdicts_are_shown_in_one_line(
    records: Records, coord: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    records.share("component", LONG, "AI_Node_1", derived_from="p")
    records.judge(LONG, 0.654)
    pattern = LONG.removesuffix(".policy")
    records.share("pattern", pattern, "AI_Node_1", derived_from="p")
    monkeypatch.setenv("COLUMNS", columns)
    components = coord("components").stdout.splitlines()
    patterns = coord("patterns").stdout.splitlines()
    for line in components + patterns:
        assert len(line) <= int(columns or 150)
        assert line == line.rstrip()
    assert any(line.startswith(f"{LONG}  AI_Node_1  passed 0.654 ") for line in components)
    assert any(line.startswith(f"{pattern}  AI_Node_1  0 ") for line in patterns)
    left_out = [line for line in components if line.startswith("no room for: name, specialization")]
    assert len(left_out) == (columns == "80")


def test_a_validation_is_shown_whole(records: Records, coord: Callable[..., Result]) -> None:
    lines = coord("components", "q.code").stdout.splitlines()
    assert lines[lines.index("validation: passed") :] == [
        "validation: passed",
        "    problem: disk",
        "    sandbox: bubblewrap 0.11.0",
        "    limits: wall_s 20, memory_bytes 268435456",
        "    tests: test_one, test_two",
        "    validator: v",
        "code:",
        "    id: q.code",
        '    derived_from: ["q", "p"]',
    ]
    assert "quality_score: 0.5" in lines
    assert "usage_count: 1" in lines
    assert "validation: not validated" in coord("components", "f").stdout.splitlines()
    assert json.loads(coord("components", "q.code", "--json").stdout)["validation"]["tests"] == [
        *("test_one", "test_two")
    ]


def test_what_one_began_from_ones_own_is_no_use_of_others() -> None:
    def item(number: int, contributor: str) -> dict[str, Any]:
        pattern = {"derived_from": {"id": "q", "contributor": contributor}}
        about = {"specialization": "audio", "contributor": "a", "timestamp": SHARED}
        return {"id": f"p{number}", **about, "pattern": pattern}

    found = measure([item(1, "a"), item(2, "b"), item(3, "a")])["trainers"]["a"]
    assert found["built_on"] == [{"id": "q", "contributor": "b", "for": "p2"}]
