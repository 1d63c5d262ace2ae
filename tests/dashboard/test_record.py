"""The page of one record."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis
from starlette.testclient import TestClient

from tests.dashboards import shown, words_of
from tests.fleet import FleetUnderTest, ManualClock, python

PASSED: dict[str, Any] = {
    "verdict": "passed",
    "problem": "buffer_cache",
    "evaluator": "buffer_cache-0123",
    "workload": "4567",
    "score": 0.5,
    "costs": {"baseline": 0.75, "bound": 0.5},
    "cost_unit": "miss ratio",
    "sandbox": "bubblewrap 0.11.0",
    "limits": {"wall_s": 20.0, "memory_bytes": 268435456.0},
    "timings": {"parse_ms": 3.25},
    "tests": ["test_one"],
    "not_run": ["by hand"],
    "dropped": ["idle"],
}
HOSTILE = "\"><img src=x onerror=alert(1)>'{{ 7 * 7 }}\u202e"
SHAPES: list[Any] = [None, True, 7, float("nan"), HOSTILE, [], [HOSTILE, [1]], {HOSTILE: HOSTILE}]


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, clock=ManualClock(), lease_s=3600)
    fleet.enroll("V", role="validator")
    fleet.join("AI_1", "AI_2", specialization="file_system")
    fleet.join("V")
    return fleet


def share_code(fleet: FleetUnderTest, ai: str, record_id: str, **own: Any) -> None:
    fleet.say(ai, "code_share", {"code": python(record_id, **own)})
    fleet.run()


def store(fleet: FleetUnderTest, kind: Any, record_id: str, **fields: Any) -> None:
    """A record that strangers wrote."""
    stored: Any = {"contributor": "x", "record": json.dumps({"id": record_id}), **fields}
    fleet.redis.hset(fleet.keys.record(kind, record_id), mapping=stored)


def test_a_pattern_is_told_whole_its_own_numbers_as_claims(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    given = {"type": "policy_parameters", "confidence": 0.875, "data": {"gap_closed": 0.25}}
    fleet.share_pattern("AI_1", "p", **given)
    fleet.share_pattern("AI_1", "p", **given)
    page = client.get("/knowledge/pattern/p").text
    words = words_of(page)
    assert "made by AI_1 specialization file_system shared 2025-06-15 15:06:40 UTC, rev" in words
    assert "revision 2 used by others no record of another AI began from it" in words
    assert shown(page, "claims") == (
        "What its maker claims Nobody measured this."
        " claimed gap closed 25.0 % claimed confidence 0.875"
    )
    assert 'href="/api/v1/patterns/p"' in page
    assert "&#34;confidence&#34;: 0.875,\n  &#34;data&#34;: {&#34;gap_closed&#34;: 0.25}" in page
    assert 'id="verdict"' not in page


def test_what_passed_has_its_score_and_by_what_it_was_measured(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    share_code(fleet, "AI_1", "c")
    fleet.judge("V", "c", **PASSED)
    page = client.get("/knowledge/component/c").text
    assert shown(page, "verdict") == (
        "What was measured passed 50.0 % of the gap between baseline and bound closed"
        " baseline 0.75 miss ratio bound 0.5 miss ratio"
        " found 2025-06-15 15:06:40 UTC validator V problem buffer_cache"
        " evaluator buffer_cache-0123 workload 4567 sandbox bubblewrap 0.11.0"
        " limits wall 20 s, memory 256.0 MiB time taken parse 3.25 ms"
        " own tests passed test_one own tests not run by hand scenarios without gap idle"
    )
    assert 'href="/knowledge/problem/buffer_cache"' in page


def test_what_failed_says_why_and_what_it_was_before(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    verdict: dict[str, Any] = {
        "verdict": "failed",
        "reason": "it raised ValueError",
        "problem": "own",
    }
    verdict |= {"previous_score": 0.5, "regression": True}
    store(fleet, "component", "c", validation=json.dumps(verdict))
    page = client.get("/knowledge/component/c").text
    assert shown(page, "verdict") == (
        "What was measured failed it raised ValueError"
        " problem own score before 50.0 %: it has become worse"
    )


def test_what_waits_says_since_when(fleet: FleetUnderTest, client: TestClient) -> None:
    share_code(fleet, "AI_1", "c")
    page = client.get("/knowledge/component/c").text
    waiting = "What was measured waiting waits since 2025-06-15 15:06:40 UTC"
    assert shown(page, "verdict") == waiting


def test_what_nobody_judged_says_so(fleet: FleetUnderTest, client: TestClient) -> None:
    store(fleet, "feature", "f")
    page = client.get("/knowledge/feature/f").text
    assert shown(page, "verdict") == "What was measured No validator was asked for a verdict on it."
    assert "It began from no record that the fleet knows" in shown(page, "lineage")


def test_who_built_on_whom_is_drawn_and_told(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.share_pattern("AI_1", "first/1")
    fleet.share_pattern("AI_1", "middle", derived_from="first/1")
    share_code(fleet, "AI_2", "last", derived_from="middle")
    fleet.judge("V", "last", **PASSED)
    fleet.share_pattern("AI_2", "aside", derived_from="first/1")
    fleet.order("retract", id="first/1")
    page = client.get("/knowledge/pattern/middle").text
    assert shown(page, "lineage-table") == (
        "The same as a table record kind made by verdict or score where began from"
        " first/1 pattern taken back it began from this"
        " last component AI_2 50.0 % this began from it middle"
    )
    assert re.findall(r'<path class="(use|own)"', page) == ["own", "use"]
    (box,) = re.findall(r'<a id="box-[^>]*>', page)
    assert 'href="/knowledge/component/last"' in box
    assert 'aria-label="component last of AI_2: 50.0\u202f%"' in box


def test_a_record_of_another_kind_with_the_same_id_is_another(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.share_pattern("AI_1", "same")
    share_code(fleet, "AI_2", "same", derived_from={"pattern_id": "same"})
    page = client.get("/knowledge/component/same").text
    assert "same pattern AI_1 it began from this" in shown(page, "lineage-table")


def test_a_large_family_is_bounded_and_goes_deeper_on_demand(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.share_pattern("AI_1", "0")
    for n in range(1, 5):
        fleet.share_pattern("AI_1", str(n), derived_from=str(n - 1))
    for n in range(40):
        fleet.share_pattern("AI_2", f"child{n}", derived_from="4")
    near = client.get("/knowledge/pattern/4").text
    assert near.count('<a id="box-') == 24
    assert "There are more: these are the nearest." in shown(near, "lineage")
    assert 'id="box-pattern-0"' not in near
    far = client.get("/knowledge/pattern/4?depth=8").text
    assert 'id="box-pattern-0"' in far
    assert "4 generations before" in shown(far, "lineage-table")


def test_a_circle_that_strangers_wrote_is_borne(fleet: FleetUnderTest, client: TestClient) -> None:
    for child, parent in (("a", "b"), ("b", "a"), ("c", "b")):
        store(fleet, "pattern", child, origins=json.dumps([f"pattern:{parent}"]))
        fleet.redis.zadd(fleet.keys.derived("pattern", parent), {f"pattern:{child}": 0})
    fleet.redis.zadd(fleet.keys.derived("pattern", "a"), {"pattern:a": 1, "x": 1})
    page = client.get("/knowledge/pattern/a").text
    boxes = re.findall(r'<a id="box-pattern-(\w)"', page)
    assert sorted(boxes) == ["b", "c"]


def test_code_is_text_and_bounded(fleet: FleetUnderTest, client: TestClient) -> None:
    code = "if 1 < 2:\n\tprint('</code>\u202e')\n" + "x = 1\n" * 100_000
    store(fleet, "component", "c", record=json.dumps({"id": "c", "language": "x", "code": code}))
    page = client.get("/knowledge/component/c").text
    assert "if 1 &lt; 2:\n    print(&#39;&lt;/code&gt;\\u202e&#39;)\nx = 1\n" in page
    assert "The first 240 of its 100,003 lines: the rest is in the whole record." in words_of(page)
    assert len(page) < 20_000
    assert "code" not in shown(page, "said")


def test_each_program_of_several_is_shown(fleet: FleetUnderTest, client: TestClient) -> None:
    programs = {"audio": "a = 1", HOSTILE: "b = 1"}
    record = {"id": "c", "language": "python", "implementation": programs}
    store(fleet, "feature", "c", record=json.dumps(record))
    page = client.get("/knowledge/feature/c").text
    assert re.findall(r"<h3>(.*?)</h3>", page)[0] == "audio (python)"
    assert "a = 1" in shown(page, "code")
    assert "b = 1" in shown(page, "code")
    assert "<img" not in page


def test_what_ais_reported_is_their_word(fleet: FleetUnderTest, client: TestClient) -> None:
    share_code(fleet, "AI_1", "c")
    performance = {f"m{n}": float(n) for n in range(20)}
    fleet.say("AI_2", "performance_report", {"component_id": "c", "performance": performance})
    fleet.run()
    page = client.get("/knowledge/component/c").text
    assert "Their word, which ranks nothing" in shown(page, "reports")
    assert "AI_2 2025-06-15 15:06:40 UTC m0 0, m1 1" in shown(page, "reports")
    assert shown(page, "reports").endswith("and 8 more")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: json.dumps(shape)[:12])
def test_any_json_is_borne_and_is_text(
    fleet: FleetUnderTest, client: TestClient, shape: Any
) -> None:
    names = ("type", "name", "description", "language", "code", "implementation", "data")
    record = dict.fromkeys((*names, "confidence", "derived_from"), shape) | {"id": HOSTILE}
    told = ("reason", "problem", "costs", "limits", "tests", "validator", "timestamp")
    verdict = dict.fromkeys(told, shape) | {"verdict": HOSTILE}
    fields = {"record": json.dumps(record), "contributors": json.dumps(shape)}
    fields |= {"validation": json.dumps(verdict), "specialization": HOSTILE, "contributor": HOSTILE}
    store(fleet, "component", HOSTILE, **fields)
    entry: Any = {"reporter": HOSTILE, "ms": 1, "metrics": json.dumps({HOSTILE: shape})}
    fleet.redis.xadd(fleet.keys.benchmarks(HOSTILE), entry)
    answer = client.get(f"/knowledge/component/{quote(HOSTILE, safe='')}")
    assert answer.status_code == 200
    assert "<img" not in answer.text
    assert "\u202e" not in answer.text


def test_a_large_record_makes_a_small_page(fleet: FleetUnderTest, client: TestClient) -> None:
    data = {str(n): [n, {"x": "y" * 500}] for n in range(2000)}
    store(fleet, "pattern", "p", record=json.dumps({"id": "p", "data": data}))
    page = client.get("/knowledge/pattern/p").text
    assert "The rest of it is left out here." in page
    assert len(page) < 40_000


@pytest.mark.parametrize("record_id", ["gone", "spoilt", "string", "x" * 200, "<b>"])
def test_what_is_not_there_is_named(
    fleet: FleetUnderTest, client: TestClient, record_id: str
) -> None:
    store(fleet, "pattern", "spoilt", record="[1]")
    fleet.redis.set(fleet.keys.record("pattern", "string"), "x")
    answer = client.get(f"/knowledge/pattern/{quote(record_id)}")
    assert answer.status_code == 404
    assert f"'{record_id}'" in words_of(answer.text) or len(record_id) > 128
    assert "<b>" not in answer.text


def test_there_are_three_kinds(client: TestClient) -> None:
    answer = client.get("/knowledge/thing/x")
    assert answer.status_code == 404
    rule = "kind should be 'pattern', 'component' or 'feature'"
    assert rule in words_of(answer.text).lower()
